using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;

namespace Permafrost.Studies;

/// <summary>A strong baseline that knows nothing of the body: on the same data it scores the same beside every arm, so it is trained once.</summary>
/// <param name="baseline">The baseline.</param>
/// <param name="data">What data it is given, by the hash of its options.</param>
/// <param name="known">What it has scored before, by data and baseline; added to.</param>
internal sealed class RememberedBaseline(IStrongBaseline baseline, string data, Dictionary<(string Data, string Baseline, long Seed), BaselineScore?> known) : IStrongBaseline
{
    public string Name => baseline.Name;

    public bool AppliesTo(TaskSpec spec) => baseline.AppliesTo(spec);

    public BaselineScore? Score(TaskData examples, long seed, CancellationToken cancellation)
    {
        if (known.TryGetValue((data, Name, seed), out BaselineScore? before)) return before;
        return known[(data, Name, seed)] = baseline.Score(examples, seed, cancellation);
    }
}
