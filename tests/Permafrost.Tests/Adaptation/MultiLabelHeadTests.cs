using System.Text.Json.Nodes;
using Permafrost.Adaptation;
using Permafrost.Adaptation.Heads;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Runs;
using Permafrost.Tasks;
using Permafrost.Tasks.Metrics;
using Permafrost.Tests.Models;
using Permafrost.Training;
using Permafrost.Training.Options;

namespace Permafrost.Tests.Adaptation;

/// <summary>Answers that are any number of labels: loss, scores and what is written down.</summary>
public sealed class MultiLabelHeadTests : IDisposable
{
    private static readonly MultiLabelOutput Three = new(3) { Labels = ["a", "b", "c"] };
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose() => scope.Dispose();

    [Fact]
    public void The_loss_is_binary_cross_entropy_over_what_counts()
    {
        using var head = Head.For(Three, Readout.Parse("mean"), 4);
        float[] logits = [2, -1, 0.5f, -3, 0, 1];
        long[] targets = [1, 0, -100, 0, 1, 1];
        Tensor outputs = Tensors.From(logits, 2, 3), wanted = Tensors.From(targets, 2, 3);
        double expected = logits.Zip(targets).Where(pair => pair.Second >= 0).Average(pair => Math.Log(1 + Math.Exp(pair.Second == 1 ? -pair.First : pair.First)));
        Assert.Equal(expected, head.Loss(outputs, wanted).Number(), 1e-6);
        Assert.Equal(5, head.CountAnswers(wanted));
        Assert.Equal([1, 0, 1, 0, 0, 1], head.Answers(outputs).ToArray<long>());
        var predictions = head.Predict(outputs, [7, 8], wanted).Cast<LabelsPrediction>().ToArray();
        Assert.Equal([0, 2], predictions[0].Given);
        Assert.Equal([1, 2], predictions[1].Targets!);
        Assert.Equal("a, c", predictions[0].ToString());
        Assert.Equal(1 / (1 + Math.Exp(-2)), predictions[0].Probabilities[0], 1e-6);
        JsonObject json = PredictionJson.Of(predictions[0]);
        Assert.Equal("""["a","c"]""", json["labels"]!.ToJsonString());
        Assert.Equal("""["a"]""", json["target"]!.ToJsonString());
        Assert.Equal(3, json["probabilities"]!.AsArray().Count);
    }

    [Fact]
    public void Scores_are_those_counted_by_hand_however_the_batches_come()
    {
        long[][] given = [[1, 0, 1], [0, 0, 1], [1, 1, 0]], wanted = [[1, 0, 0], [0, 0, 1], [1, 0, 0]];
        // a: 2 right of 2 and 2; b: 0 of 1 and 0; c: 1 of 2 and 1.
        (MetricInfo Info, double Score)[] expected = [(MetricInfo.MicroF1, 2.0 * 3 / (5 + 3)), (MetricInfo.MacroF1, (1 + 0 + 2.0 / 3) / 3), (MetricInfo.ExactMatch, 1.0 / 3)];
        foreach ((MetricInfo info, double score) in expected)
        {
            foreach (int size in new[] { 1, 2, 3 })
            {
                var metric = Metric.Create(info);
                foreach (int[] rows in Enumerable.Range(0, 3).Chunk(size))
                {
                    Tensor Of(long[][] all) => Tensors.From([.. rows.SelectMany(row => all[row])], rows.Length, 3);
                    metric.Add(Of(given), Of(wanted), Of(wanted).ge(0));
                }
                Assert.Equal(score, metric.Value, 1e-9);
            }
            Assert.True(MetricInfo.IsShare(info.Name));
        }
    }

    [Fact]
    public void A_sequence_is_labelled_with_what_occurs_in_it()
    {
        var spec = new TaskSpec(new IdInput(4, 5), Three) { Readout = "mean" };
        using AdaptedModel model = Bodies.Adapt("gpt2-tiny", spec);
        var options = new TrainerOptions
        {
            Schedule = new ScheduleOptions { MaxSteps = 150, PerDeviceTrainBatchSize = 32 },
            Optimizer = new OptimizerOptions { LearningRate = 1e-2 },
        };
        Trainer.Fit(model, new TrainingData(new Occurring(0), new Occurring(1)), options, cancellation: TestContext.Current.CancellationToken);
        Scores scores = Evaluator.Evaluate(model, new Occurring(2), 64, torch.CPU);
        Assert.InRange(scores["micro_f1"], 0.9, 1);
        Assert.InRange(scores["macro_f1"], 0.9, 1);
        Assert.InRange(scores["exact_match"], 0.7, 1);
    }

    // Which of the ids 1, 2 and 3 are there.
    private sealed class Occurring(long seed) : IDataset
    {
        public long? Count => 256;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            (var ids, var targets) = (new long[indices.Length * 5], new long[indices.Length * 3]);
            for (int row = 0; row < indices.Length; row++)
            {
                var random = new CounterRandom("occurring", seed, indices[row]);
                for (int t = 0; t < 5; t++)
                {
                    int id = random.Next(4);
                    ids[row * 5 + t] = id;
                    if (id > 0) targets[row * 3 + id - 1] = 1;
                }
            }
            return new Batch(Tensors.From(ids, indices.Length, 5), Tensors.From(targets, indices.Length, 3));
        }
    }
}
