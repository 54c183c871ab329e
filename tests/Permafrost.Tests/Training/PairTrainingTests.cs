using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Tasks;
using Permafrost.Tests.Tokenizers;
using Permafrost.Training;
using Permafrost.Training.Options;

namespace Permafrost.Tests.Training;

/// <summary>Training on pairs: what is read from examples of one class comes together, and what is frozen, or above, stays.</summary>
[Collection(ProcessWide.Name)]
public sealed class PairTrainingTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    private FrozenWeights Body() => FrozenWeights.Load(SmallBert.Write(folder["body"]), "random", 0);

    private static TaskData Data(int classes = 2) =>
        SmallTokenizer.Data(["a", "b"], [.. Enumerable.Range(0, 12).Select(i => new LabelledText($"{(i % 2 == 0 ? "aaaab" : "abbbb")} {i}", i % classes, ""))], null, null, maxLength: 20);

    private static AdaptedModel Adapt(FrozenWeights weights, TaskData data, string policy = "fpt", double dropout = 0.1) =>
        new(weights, data.Spec, new AdaptationOptions { Policy = Policy.Parse(policy), PretrainedEmbedding = true, Dropout = dropout });

    private static PairOptions Pairs => new() { Pairs = true, PairSteps = 30, PairLearningRate = 0.01 };

    // Mean cosine of what is read from examples of one class, and of two.
    private static (double Same, double Other) Cosines(AdaptedModel model, TaskData data)
    {
        using DisposeScope inner = torch.NewDisposeScope();
        using var noGrad = torch.no_grad();
        Batch batch = data.Train.Get([.. Enumerable.Range(0, 12).Select(i => (long)i)]);
        Tensor read = model.Read(batch.Inputs, batch.Mask).reshape(12, -1);
        float[] cosines = torch.nn.functional.normalize(read, dim: 1).matmul(torch.nn.functional.normalize(read, dim: 1).t()).contiguous().ToArray<float>();
        IEnumerable<(int I, int J)> all = Enumerable.Range(0, 12).SelectMany(i => Enumerable.Range(0, i).Select(j => (i, j)));
        return (all.Where(p => p.I % 2 == p.J % 2).Average(p => cosines[p.I * 12 + p.J]), all.Where(p => p.I % 2 != p.J % 2).Average(p => cosines[p.I * 12 + p.J]));
    }

    [Theory]
    [InlineData("fpt")]
    [InlineData("*")]
    public void Examples_of_one_class_come_together_and_others_part(string policy)
    {
        using FrozenWeights weights = Body();
        using TaskData data = Data();
        using AdaptedModel model = Adapt(weights, data, policy);
        (double same, double other) = Cosines(model, data);
        string frozen = model.FrozenSha256();
        float[] output = model.Adapter()["output_layer.weight"].ToArray<float>();
        PairTraining.Fit(model, data.Train, Pairs, new TrainerOptions(), cancellation: TestContext.Current.CancellationToken);
        (double sameAfter, double otherAfter) = Cosines(model, data);
        Assert.True(sameAfter - otherAfter > same - other + 0.2, $"{same}, {other}: {sameAfter}, {otherAfter}");
        Assert.Equal(frozen, model.FrozenSha256());
        Assert.Equal(output, model.Adapter()["output_layer.weight"].ToArray<float>());
        // From here on the body's states are constants, and the output layer alone learns.
        Assert.True(model.ReadsConstants);
        byte[][] Tuned() => [.. model.Trained.Where(p => p.Group != GroupName.Output).Select(p => p.Parameter.Value.ToBytes())];
        byte[][] before = Tuned();
        Trainer.Fit(
            model, new TrainingData(data.Train), new TrainerOptions { Schedule = new ScheduleOptions { MaxSteps = 20 }, Optimizer = new OptimizerOptions { LearningRate = 0.05 } },
            cancellation: TestContext.Current.CancellationToken);
        Assert.Equal(before, Tuned());
        Assert.NotEqual(output, model.Adapter()["output_layer.weight"].ToArray<float>());
        Assert.Equal(1, Evaluator.Evaluate(model, data.Train, 12, torch.CPU, cancellation: TestContext.Current.CancellationToken)["accuracy"]);
    }

    [Fact]
    public void States_are_then_read_without_dropout_where_they_are_computed_at_every_step_too()
    {
        using FrozenWeights weights = Body();
        using TaskData data = Data();
        float[] Once(bool keeps)
        {
            using AdaptedModel model = Adapt(weights, data, dropout: 0.4);
            PairTraining.Fit(model, data.Train, Pairs, new TrainerOptions());
            using var features = new FrozenFeatures(model, torch.CPU, keeps);
            Assert.Equal(keeps, features.Active);
            byte[][] Below() => [.. model.Trained.Where(p => p.Group != GroupName.Output).Select(p => p.Parameter.Value.ToBytes())];
            byte[][] before = Below();
            var options = new TrainerOptions { Schedule = new ScheduleOptions { MaxSteps = 10 }, Optimizer = new OptimizerOptions { LearningRate = 0.05 }, Features = features };
            Trainer.Fit(model, new TrainingData(data.Train), options, cancellation: TestContext.Current.CancellationToken);
            Assert.Equal(before, Below());
            Assert.All(model.Trained.Where(p => p.Group != GroupName.Output), p => Assert.True(p.Parameter.Value.grad is null || p.Parameter.Value.grad.abs().sum().Number() == 0));
            return model.Adapter()["output_layer.weight"].ToArray<float>();
        }
        float[] kept = Once(keeps: true), computed = Once(keeps: false);
        Assert.All(kept.Zip(computed), pair => Assert.Equal(pair.First, pair.Second, 1e-4f));  // other batches, other rounding
    }

    [Fact]
    public void The_same_seed_gives_the_same_weights_and_no_tensor_is_left()
    {
        using FrozenWeights weights = Body();
        using TaskData data = Data();
        byte[] Once(long seed)
        {
            using AdaptedModel model = Adapt(weights, data);
            PairTraining.Fit(model, data.Train, Pairs, new TrainerOptions { Seed = seed });
            return [.. model.Adapter().OrderBy(pair => pair.Key, StringComparer.Ordinal).SelectMany(pair => pair.Value.ToBytes())];
        }
        byte[] first = Once(0);
        Workspace.Trim();
        long before = Engine.LiveTensors;
        Assert.Equal(first, Once(0));
        Assert.NotEqual(first, Once(1));
        Workspace.Trim();
        Assert.InRange(Engine.LiveTensors, 0, before);
    }

    [Fact]
    public void What_cannot_learn_from_pairs_is_refused()
    {
        using FrozenWeights weights = Body();
        using TaskData data = Data(), one = Data(classes: 1);
        using AdaptedModel probe = Adapt(weights, data, "output"), model = Adapt(weights, one), headless = Adapt(weights, data, "ln");
        Refusal.OfUsage("`policy` output trains nothing there", () => PairTraining.Fit(probe, data.Train, Pairs, new TrainerOptions()));
        Refusal.OfUsage("at least two", () => PairTraining.Fit(model, one.Train, Pairs, new TrainerOptions()));
        Refusal.OfUsage("add output to it", () => PairTraining.Fit(headless, data.Train, Pairs, new TrainerOptions()));
        Refusal.OfUsage("`pairs` is off", () => new PairOptions { PairSteps = 3 }.Validate());
        using var stopped = new CancellationTokenSource();
        stopped.Cancel();
        using AdaptedModel again = Adapt(weights, data);
        Assert.ThrowsAny<OperationCanceledException>(() => PairTraining.Fit(again, data.Train, Pairs, new TrainerOptions(), cancellation: stopped.Token));
    }
}
