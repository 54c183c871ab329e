using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;

namespace Permafrost.Tests.Tasks.Baselines;

/// <summary>Trivial rules on data whose scores are known.</summary>
public class BaselinesTests : IDisposable
{
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void The_majority_rule_takes_the_training_examples_answer_and_scores_on_the_test()
    {
        // Training: class 1 is the most frequent. Test: 3 of 4 counted answers are class 1.
        TaskData data = Data(Examples([0f, 0, 0, 0, 0], [1, 1, 0, 1, 2]), Examples([0f, 0, 0, 0, 0], [1, 1, -100, 1, 0]), classes: 3);
        Assert.Equal(0.75, Measure(data)["majority"]);
        // The test split's own majority is not looked at.
        data = Data(Examples([0f, 0, 0], [0, 0, 1]), Examples([0f, 0, 0, 0], [1, 1, 1, 0]), classes: 2);
        Assert.Equal(0.25, Measure(data)["majority"]);
    }

    [Fact]
    public void A_linear_rule_solves_what_is_linear()
    {
        // The class is the sign of the one number: half of the test's answers by majority, all by the line.
        float[] numbers = [.. Enumerable.Range(0, 2000).Select(i => i % 2 == 0 ? 1f + i % 7 : -1f - i % 5)];
        long[] classes = [.. numbers.Select(number => number > 0 ? 1L : 0)];
        IReadOnlyDictionary<string, double> baselines = Measure(Data(Examples(numbers, classes), Examples(numbers, classes), 2));
        Assert.Equal(0.5, baselines["majority"]);
        Assert.Equal(1, baselines["linear"]);
    }

    [Fact]
    public void Exclusive_or_is_beyond_both()
    {
        IReadOnlyDictionary<string, double> baselines = Measure(new BitXor().Load(new TaskOptions()));
        // 5,000 fair answers: within 5 deviations of 0.007.
        Assert.InRange(baselines["majority"], 0.465, 0.535);
        Assert.InRange(baselines["linear"], 0.45, 0.55);
    }

    [Fact]
    public void Baselines_are_the_same_every_time()
    {
        TaskData Load() => new BitXor().Load(new TaskOptions());
        Assert.Equal(Measure(Load()), Measure(Load()));
    }

    [Fact]
    public void Padded_vectors_and_ids_have_no_linear_baseline_and_no_test_means_none()
    {
        IDataset padded = Examples([0f, 1], [0, 1], mask: true);
        Assert.Equal(["majority"], Measure(Data(padded, padded, 2)).Keys);
        var ids = new Fixed(new Batch(torch.zeros([2, 1], ScalarType.Int64), Tensors.From([0L, 1], 2, 1)));
        Assert.Equal(["majority"], Measure(new TaskData(new TaskSpec(new IdInput(1, 1), new ClassOutput(2)), ids, null, ids)).Keys);
        Assert.Empty(Measure(Data(padded, null, 2)));
    }

    // Bit XOR adds no rules of its own.
    private static IReadOnlyDictionary<string, double> Measure(TaskData data) => TrivialBaselines.Measure(data, new BitXor());

    private static TaskData Data(IDataset train, IDataset? test, int classes) => new(new TaskSpec(new VectorInput(1, 1), new ClassOutput(classes)), train, null, test);

    private static Fixed Examples(float[] numbers, long[] classes, bool mask = false) => new(new Batch(
        Tensors.From(numbers, numbers.Length, 1, 1), Tensors.From(classes, classes.Length, 1), mask ? torch.ones([numbers.Length, 1], ScalarType.Int64) : null));

    private sealed class Fixed(Batch all) : IDataset
    {
        public long? Count => all.Count;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            Tensor rows = Tensors.From(indices, [indices.Length]);
            return new Batch(all.Inputs.index_select(0, rows), all.Targets.index_select(0, rows), all.Mask?.index_select(0, rows));
        }
    }
}
