using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tasks.Metrics;
using Permafrost.Tests.Models;
using Permafrost.Training;

namespace Permafrost.Tests.Training;

/// <summary>Scores, on a model whose output layer is set so that every answer is known: class 1 with probability 3/4, always.</summary>
public class EvaluatorTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();
    private readonly AdaptedModel model;

    public EvaluatorTests()
    {
        var shape = new TaskSpec(new VectorInput(1, 2), new ClassOutput(2) { Count = 2 }) { Readout = "last:2" };
        model = Bodies.Adapt(TinyGpt2.Configure(folder, TinyGpt2.Json()), shape, dropout: 0.5);
        model.LoadAdapter(new Dictionary<string, Tensor> { ["output_layer.weight"] = torch.zeros([2, 8]), ["output_layer.bias"] = Tensors.From([0, MathF.Log(3)]) }, "test", complete: false);
    }

    public void Dispose()
    {
        model.Dispose();
        scope.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(100)]
    public void Answers_count_one_by_one_whatever_the_batch(int batchSize)
    {
        // Six answers count, five of them are class 1: -100 does not count, not even a whole batch of it.
        IDataset examples = new Targets([1, 1], [-100, -100], [1, 0], [1, -100], [-100, 1]);
        Scores metrics = Evaluator.Evaluate(model, examples, batchSize, torch.CPU);
        Assert.Equal(5 / 6.0, metrics["accuracy"], 12);
        Assert.Equal(-(5 * Math.Log(0.75) + Math.Log(0.25)) / 6, metrics.Loss, 6);
        Assert.Equal(5, metrics.Count);
    }

    [Fact]
    public void Predictions_carry_number_answers_probabilities_and_targets()
    {
        var predictions = new List<ClassPrediction>();
        Evaluator.Evaluate(model, new Targets([1, 0], [0, -100], [1, 1]), 2, torch.CPU, prediction => predictions.Add((ClassPrediction)prediction));
        Assert.Equal([0L, 1, 2], predictions.Select(prediction => prediction.Index));
        Assert.All(predictions, prediction => Assert.Equal([1L, 1], prediction.Classes));
        Assert.All(predictions.SelectMany(prediction => prediction.Probabilities), row => Assert.Equal(0.75, row[1], 5));
        Assert.Equal([0L, -100], predictions[1].Targets!);
        Assert.All(Evaluator.Predict(model, new Targets([1, 0], [1, 1]), 1, torch.CPU), prediction => Assert.Null(((ClassPrediction)prediction).Targets));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(100)]
    public void Examples_of_many_lengths_are_computed_by_length_and_given_out_in_order(int batchSize)
    {
        var examples = new Lengths([.. Enumerable.Range(0, 400).Select(i => 1 + i * 7 % 11)]);
        using AdaptedModel reader = Reader();
        ClassPrediction[] predictions = [.. Evaluator.Predict(reader, examples, batchSize, torch.CPU).Cast<ClassPrediction>()];
        Assert.Equal(Enumerable.Range(0, 400).Select(i => (long)i), predictions.Select(prediction => prediction.Index));
        Assert.Equal(Enumerable.Range(0, 400).Select(i => (long)i), examples.Asked.Order());
        if (batchSize == 3) Assert.True(examples.Padded < 100, $"{examples.Padded} padded tokens");
        foreach (int i in new[] { 0, 1, 10, 149, 150, 399 })
            Assert.Equal(Evaluator.Predict(reader, new Subset(examples, [i]), 1, torch.CPU).Cast<ClassPrediction>().Single().Probabilities[0][0], predictions[i].Probabilities[0][0], 5);
    }

    [Fact]
    public void Dropout_is_off_meanwhile_and_back_after()
    {
        model.train();
        Scores first = Evaluator.Evaluate(model, new Targets([1, 0]), 1, torch.CPU);
        Scores second = Evaluator.Evaluate(model, new Targets([1, 0]), 1, torch.CPU);
        Assert.Equal((first.Loss, first.Count, first["accuracy"]), (second.Loss, second.Count, second["accuracy"]));
        Assert.True(model.training && model.Backbone.training);
        model.eval();
        Evaluator.Evaluate(model, new Targets([1, 0]), 1, torch.CPU);
        Assert.False(model.training || model.Backbone.training);
    }

    [Fact]
    public void Nothing_that_counts_scores_zero_and_endless_examples_are_refused()
    {
        Scores none = Evaluator.Evaluate(model, new Targets([-100, -100]), 4, torch.CPU);
        Assert.Equal((0, 0, 1), (none["accuracy"], none.Loss, none.Count));
        Assert.Throws<ArgumentException>(() => Evaluator.Evaluate(model, new BitXor().Load(new TaskOptions()).Train, 4, torch.CPU));
        using var stop = new CancellationTokenSource();
        stop.Cancel();
        Assert.Throws<OperationCanceledException>(() => Evaluator.Evaluate(model, new Targets([1, 1]), 4, torch.CPU, cancellation: stop.Token));
        Assert.True(torch.is_grad_enabled());
    }

    // Untrained, so that the answer depends on the whole input.
    private AdaptedModel Reader() => Bodies.Adapt(TinyGpt2.Configure(folder, TinyGpt2.Json()), new TaskSpec(new VectorInput(1, 11), new ClassOutput(2)));

    // Example i holds i as often as its length says, padded on the right.
    private sealed class Lengths(int[] lengths) : IDataset
    {
        public List<long> Asked { get; } = [];

        public int Padded { get; private set; }

        public long? Count => lengths.Length;

        IReadOnlyList<int>? IDataset.Lengths => lengths;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            int longest = indices.ToArray().Max(index => lengths[index]);
            var (inputs, mask) = (new List<float>(), new List<long>());
            foreach (long index in indices)
            {
                Asked.Add(index);
                Padded += longest - lengths[index];
                inputs.AddRange(Enumerable.Range(0, longest).Select(t => t < lengths[index] ? index / 400f : 0));
                mask.AddRange(Enumerable.Range(0, longest).Select(t => t < lengths[index] ? 1L : 0));
            }
            return new Batch(Tensors.From([.. inputs], indices.Length, longest, 1), torch.zeros([indices.Length, 1], ScalarType.Int64), Tensors.From([.. mask], indices.Length, longest));
        }
    }

    private sealed class Targets(params long[][] rows) : IDataset
    {
        public long? Count => rows.Length;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            var chosen = new List<long>();
            foreach (long index in indices) chosen.AddRange(rows[index]);
            return new Batch(torch.ones([indices.Length, 2, 1]), Tensors.From([.. chosen], indices.Length, 2));
        }
    }
}
