using Permafrost.Baselines;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;

namespace Permafrost.Tests.Baselines;

/// <summary>Boosted trees learn what no linear rule does, and the same every time.</summary>
[Trait("tier", "long")]
public class BoostedTreesBaselineTests : IDisposable
{
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    // Two numbers between -1 and 1 and one that tells nothing, as a sequence of three.
    private static float[] Row(string stream, int i)
    {
        var random = new CounterRandom(stream, 0, i);
        return [.. Enumerable.Range(0, 3).Select(_ => (float)(2 * random.NextDouble() - 1))];
    }

    private static Rows Split(string stream, int count, Func<float[], float> answer, bool classes = true) => new([.. Enumerable.Range(0, count).Select(i => Row(stream, i))], answer, classes);

    private static TaskData Data(OutputSpec output, Func<float[], float> answer, bool classes = true) => new(
        new TaskSpec(new VectorInput(1, 3), output), Split("train", 1500, answer, classes), Split("validation", 300, answer, classes), Split("test", 500, answer, classes));

    private static float Quadrant(float[] row) => (row[0] > 0) == (row[1] > 0) ? 1 : 0;

    private static float Third(float[] row) => row[0] * row[1] > 0.1 ? 2 : row[0] * row[1] < -0.1 ? 0 : 1;

    [Fact]
    public void They_learn_exclusive_or()
    {
        BaselineScore score = new BoostedTreesBaseline().Score(Data(new ClassOutput(2), Quadrant), 0, TestContext.Current.CancellationToken)!;
        Assert.InRange(score.Test!.Value, 0.95, 1);
        Assert.InRange(TrivialBaselines.Measure(Data(new ClassOutput(2), Quadrant))["linear"], 0.4, 0.65);
    }

    [Fact]
    public void They_learn_several_classes_of_which_one_may_not_occur()
    {
        BaselineScore score = new BoostedTreesBaseline().Score(Data(new ClassOutput(5), row => 1 + Third(row)), 0, TestContext.Current.CancellationToken)!;
        Assert.InRange(score.Test!.Value, 0.9, 1);
    }

    [Fact]
    public void They_learn_numbers_scored_by_the_tasks_first_metric()
    {
        // The root of the mean squared error: of always 0 it would be 1/3, the deviation of a product of two numbers between -1 and 1.
        BaselineScore score = new BoostedTreesBaseline().Score(Data(new NumberOutput(), row => row[0] * row[1], classes: false), 0, TestContext.Current.CancellationToken)!;
        Assert.InRange(score.Test!.Value, 0, 0.1);
    }

    [Fact]
    public void The_same_seed_gives_the_same_scores()
    {
        TaskData data = Data(new ClassOutput(3), Third);
        BaselineScore first = new BoostedTreesBaseline().Score(data, 3, TestContext.Current.CancellationToken)!;
        Assert.Equal(first, new BoostedTreesBaseline().Score(data, 3, TestContext.Current.CancellationToken));
    }

    [Fact]
    public void Padded_examples_and_a_single_class_have_none()
    {
        var spec = new TaskSpec(new VectorInput(1, 3), new ClassOutput(2));
        Rows padded = Split("train", 20, Quadrant), one = Split("train", 20, _ => 1);
        padded.Mask = true;
        Assert.Null(new BoostedTreesBaseline().Score(new TaskData(spec, padded, null, padded), 0, TestContext.Current.CancellationToken));
        Assert.Null(new BoostedTreesBaseline().Score(new TaskData(spec, one, null, one), 0, TestContext.Current.CancellationToken));
    }

    [Fact]
    public void A_few_rows_are_enough()
    {
        Rows few = Split("train", 4, Quadrant);
        var spec = new TaskSpec(new VectorInput(1, 3), new ClassOutput(2));
        Assert.InRange(new BoostedTreesBaseline().Score(new TaskData(spec, few, few, few), 0, TestContext.Current.CancellationToken)!.Test!.Value, 0, 1);
    }

    [Fact]
    public void They_stop_when_they_are_told()
    {
        using var stopped = new CancellationTokenSource();
        stopped.Cancel();
        Assert.ThrowsAny<OperationCanceledException>(() => new BoostedTreesBaseline().Score(Data(new ClassOutput(2), Quadrant), 0, stopped.Token));
    }

    private sealed class Rows(float[][] rows, Func<float[], float> answer, bool classes) : IDataset
    {
        public bool Mask { get; set; }

        public long? Count => rows.Length;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            float[][] chosen = [.. indices.ToArray().Select(i => rows[i])];
            Tensor targets = classes ? Tensors.From([.. chosen.Select(row => (long)answer(row))], chosen.Length, 1) : Tensors.From([.. chosen.Select(answer)], chosen.Length, 1);
            return new Batch(Tensors.From([.. chosen.SelectMany(row => row)], chosen.Length, 3, 1), targets, Mask ? torch.ones([chosen.Length, 3], ScalarType.Int64) : null);
        }
    }
}
