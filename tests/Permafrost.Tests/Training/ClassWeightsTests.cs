using Permafrost.Adaptation;
using Permafrost.Adaptation.Heads;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tests.Models;
using Permafrost.Training;
using Permafrost.Training.Options;

namespace Permafrost.Tests.Training;

/// <summary>Rare classes weigh as much as common ones, where that is asked for, in training and nowhere else.</summary>
public sealed class ClassWeightsTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    [Fact]
    public void A_classes_weight_is_the_mean_count_divided_by_its_own()
    {
        using Tensor weights = ClassWeights.Balanced(new ClassOutput(4), new Noise([0, 0, 0, 0, 0, 0, 1, 1, 3, -100]), torch.CPU, CancellationToken.None);
        Assert.Equal([0.5f, 1.5f, 0, 3], weights.ToArray<float>());
        Refusal.OfUsage("`class_weights`", () => ClassWeights.Balanced(new NumberOutput(), new Noise([0]), torch.CPU, CancellationToken.None));
        Refusal.OfUsage("without end", () => ClassWeights.Balanced(new ClassOutput(2), new Noise([0]) { Count = null }, torch.CPU, CancellationToken.None));
        Refusal.OfUsage("`class_weights` 'some'", () => new OptimizerOptions { ClassWeights = "some" }.Validate());
    }

    [Fact]
    public void The_loss_of_training_weighs_each_answer_by_its_class()
    {
        using Head head = Head.For(new ClassOutput(3), Readout.Parse("last"), 4);
        Tensor outputs = Tensors.From([1f, 2, 3, 0, 0, 0, 3, 1, 1, 5, 5, 5], 4, 1, 3), targets = Tensors.From([2L, 0, 1, -100], 4, 1);
        double[] losses = [.. new[] { (1f, 2f, 3f, 3f), (0, 0, 0, 0), (3, 1, 1, 1) }.Select(row =>
            Math.Log(Math.Exp(row.Item1) + Math.Exp(row.Item2) + Math.Exp(row.Item3)) - row.Item4)];
        Assert.Equal(losses.Average(), head.TrainingLoss(outputs, targets).item<float>(), 1e-6);
        head.ClassWeights = Tensors.From([0.5f, 2f, 0.25f]);
        Assert.Equal((0.25 * losses[0] + 0.5 * losses[1] + 2 * losses[2]) / 3, head.TrainingLoss(outputs, targets).item<float>(), 1e-6);
        Assert.Equal(losses.Average(), head.Loss(outputs, targets).item<float>(), 1e-6);
    }

    [Theory]
    [InlineData("none", 0.02, 0.25)]
    [InlineData("balanced", 0.35, 0.65)]
    public void Where_nothing_tells_the_class_a_rare_one_is_as_likely_as_it_weighs(string weights, double least, double most)
    {
        var train = new Noise([.. Enumerable.Range(0, 100).Select(i => i % 10 == 0 ? 1L : 0)]);
        using AdaptedModel model = Bodies.Adapt(TinyGpt2.Save(folder, TinyGpt2.Json(positions: 3)), new TaskSpec(new VectorInput(2, 3), new ClassOutput(2)), init: "pretrained");
        var options = new TrainerOptions
        {
            Optimizer = new OptimizerOptions { LearningRate = 5e-3, ClassWeights = weights },
            Schedule = new ScheduleOptions { MaxSteps = 60, PerDeviceTrainBatchSize = 50 },
        };
        Trainer.Fit(model, new TrainingData(train), options);
        Assert.Null(model.Head.ClassWeights);
        double rare = Evaluator.Predict(model, train, 100, torch.CPU).Average(prediction => ((ClassPrediction)prediction).Probabilities[0][1]);
        Assert.InRange(rare, least, most);
    }

    private sealed class Noise(long[] classes) : IDataset
    {
        public long? Count { get; init; } = classes.Length;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            long[] chosen = indices.ToArray();
            float[] inputs = [.. chosen.SelectMany(row => Enumerable.Range(0, 6).Select(i => (float)(new CounterRandom("noise", row, i).NextDouble() - 0.5)))];
            return new Batch(Tensors.From(inputs, chosen.Length, 3, 2), Tensors.From([.. chosen.Select(row => classes[row])], chosen.Length, 1));
        }
    }
}
