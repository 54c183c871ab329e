using Permafrost.Studies;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;

namespace Permafrost.Tests.Studies;

public sealed class RememberedBaselineTests
{
    [Fact]
    public void It_is_trained_once_for_the_same_data_and_seed_and_anew_for_others()
    {
        var known = new Dictionary<(string, string, long), BaselineScore?>();
        var counted = new Counted();
        double? Score(string data, long seed) => new RememberedBaseline(counted, data, known).Score(null!, seed, TestContext.Current.CancellationToken)?.Shown;
        Assert.Equal([1, 1, 2, 3, 1], new[] { Score("a", 0), Score("a", 0), Score("b", 0), Score("a", 1), Score("a", 0) });
    }

    private sealed class Counted : IStrongBaseline
    {
        private int times;

        public string Name => "counted";

        public bool AppliesTo(TaskSpec spec) => true;

        public BaselineScore? Score(TaskData data, long seed, CancellationToken cancellation) => new(Name, null, ++times, "");
    }
}
