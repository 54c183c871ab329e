using Permafrost.Adaptation;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;
using Permafrost.Tests.Tokenizers;
using Permafrost.Training;
using Permafrost.Training.Options;

namespace Permafrost.Tests.Training;

/// <summary>A linear classifier on a body's frozen embedding: what it reaches, and that it leaves nothing behind.</summary>
[Trait("tier", "long")]
[Collection(ProcessWide.Name)]
public sealed class LinearProbeTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    private FrozenWeights Body(long seed = 0) => FrozenWeights.Load(SmallBert.Write(folder["body"]), "random", seed);

    // The class is whether there are more a than b: the mean over letters tells.
    private static LabelledText[] Texts(int first, int count) => [.. Enumerable.Range(first, count).Select(i => new LabelledText($"{(i % 2 == 0 ? "aaaab" : "abbbb")} {i}", i % 2, ""))];

    private static TaskData Data(bool validation = true, bool test = true) =>
        SmallTokenizer.Data(["a", "b"], Texts(0, 120), validation ? Texts(200, 40) : null, test ? Texts(300, 40) : null, maxLength: 20);

    [Fact]
    public void It_learns_what_the_mean_over_tokens_tells()
    {
        using FrozenWeights weights = Body();
        using TaskData data = Data();
        BaselineScore score = new LinearProbe(weights).Score(data, 0, TestContext.Current.CancellationToken)!;
        Assert.Equal("linear-probe", score.Name);
        Assert.InRange(score.Test!.Value, 0.95, 1);
        Assert.InRange(score.Validation!.Value, 0.95, 1);
        Assert.StartsWith("learning rate 0.", score.Settings, StringComparison.Ordinal);
        Assert.Equal(score, new LinearProbe(weights).Score(data, 0, TestContext.Current.CancellationToken));
    }

    [Fact]
    public void It_is_a_run_that_trains_the_output_layer_alone_at_the_rate_that_it_chose()
    {
        using FrozenWeights weights = Body();
        using TaskData data = Data(validation: false);
        BaselineScore score = new LinearProbe(weights, frozenType: ScalarType.Float32).Score(data, 5, TestContext.Current.CancellationToken)!;
        Assert.Equal((null, "learning rate 0.01"), (score.Validation, score.Settings));
        using var model = new AdaptedModel(
            weights, data.Spec, new AdaptationOptions { Policy = Policy.Parse("output"), PretrainedEmbedding = true, Dropout = 0, Seed = 5, FrozenType = ScalarType.Float32 });
        Trainer.Fit(model, new TrainingData(data.Train), new TrainerOptions
        {
            Seed = 5,
            Optimizer = new OptimizerOptions { LearningRate = 0.01 },
            Schedule = new ScheduleOptions { MaxSteps = 300, PerDeviceTrainBatchSize = 32 },
        }, cancellation: TestContext.Current.CancellationToken);
        Assert.Equal(Evaluator.Evaluate(model, data.Test!, 64, torch.CPU, cancellation: TestContext.Current.CancellationToken)["accuracy"], score.Test);
    }

    [Fact]
    public void It_applies_to_texts_that_the_body_reads()
    {
        using FrozenWeights weights = Body();
        var probe = new LinearProbe(weights);
        int vocabulary = SmallBert.Vocabulary.Count;
        Assert.True(probe.AppliesTo(new TaskSpec(new TextInput(vocabulary, 64), new ClassOutput(2))));
        Assert.False(probe.AppliesTo(new TaskSpec(new TextInput(vocabulary + 1, 64), new ClassOutput(2))));
        Assert.False(probe.AppliesTo(new TaskSpec(new TextInput(vocabulary, 65), new ClassOutput(2))));
        Assert.False(probe.AppliesTo(new TaskSpec(new TextInput(vocabulary, 64), new NumberOutput())));
        Assert.False(probe.AppliesTo(new TaskSpec(new VectorInput(1, 10), new ClassOutput(2))));
    }

    [Fact]
    public void It_leaves_no_tensor_and_stops_when_it_is_told()
    {
        using FrozenWeights weights = Body();
        using TaskData data = Data();
        void Once() => new LinearProbe(weights).Score(data, 0, TestContext.Current.CancellationToken);
        Once();
        Workspace.Trim();
        long before = Engine.LiveTensors;
        Once();
        using var stopped = new CancellationTokenSource();
        stopped.Cancel();
        Assert.ThrowsAny<OperationCanceledException>(() => new LinearProbe(weights).Score(data, 0, stopped.Token));
        Workspace.Trim();
        Assert.InRange(Engine.LiveTensors, 0, before);
    }
}
