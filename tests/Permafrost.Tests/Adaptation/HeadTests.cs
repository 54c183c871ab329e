using System.Text.Json.Nodes;
using Permafrost.Adaptation;
using Permafrost.Adaptation.Heads;
using Permafrost.Data;
using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Runs;
using Permafrost.Tasks;
using Permafrost.Tasks.Metrics;
using Permafrost.Tests.Models;
using Permafrost.Training;
using Permafrost.Training.Optimizers;
using Permafrost.Training.Options;

namespace Permafrost.Tests.Adaptation;

/// <summary>Answers other than one class: numbers and a class for each token, trained to the end, scored, written down; and pictures as inputs.</summary>
public sealed class HeadTests : IDisposable
{
    private static readonly TaskSpec Means = new(new VectorInput(1, 6), new NumberOutput()) { Readout = "mean" };
    private static readonly TaskSpec Rises = new(new IdInput(6, 7), new TokenClassOutput(2) { Labels = ["no", "yes"] });

    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    [Fact]
    public void A_regression_is_learned_and_the_best_validation_is_the_lowest_error()
    {
        using AdaptedModel model = Bodies.Adapt("gpt2-tiny", Means);
        (TrainingOutcome outcome, SplitScored[] scored) = Fit(model, new Averages(0, 256), new Averages(1, 64), steps: 120, rate: 1e-2);
        Assert.Equal(12, scored.Length);
        SplitScored best = scored.MinBy(score => score.Scores["rmse"])!;
        Assert.Equal(best.Step, outcome.ScoredStep);
        Assert.Equal(best.Scores["rmse"], outcome.State.BestMetric);
        Assert.Equal(best.Scores["rmse"], Evaluator.Evaluate(model, new Averages(1, 64), 64, torch.CPU)["rmse"], 1e-6);
        Assert.True(best.Scores["rmse"] < scored[0].Scores["rmse"], "it did not learn");

        Scores test = Evaluator.Evaluate(model, new Averages(2, 100), 32, torch.CPU);
        Assert.Equal(["rmse", "mae", "r2"], test.Values.Keys);
        Assert.InRange(test["r2"], 0.8, 1);
        Assert.Equal(test.Loss, test["rmse"] * test["rmse"], 1e-5);
        Assert.InRange(test["mae"], 0, test["rmse"]);
    }

    [Fact]
    public void Predicted_numbers_are_scored_as_the_evaluator_scores_them_and_written_flat()
    {
        using AdaptedModel model = Bodies.Adapt("gpt2-tiny", Means);
        var predictions = new List<NumberPrediction>();
        Scores scores = Evaluator.Evaluate(model, new Averages(2, 50), 16, torch.CPU, prediction => predictions.Add((NumberPrediction)prediction));
        Assert.Equal(50, predictions.Count);
        Assert.Equal(Math.Sqrt(predictions.Average(p => Math.Pow(p.Numbers[0] - p.Targets![0], 2))), scores["rmse"], 1e-5);
        NumberPrediction[] unscored = [.. Evaluator.Predict(model, new Averages(2, 50), 7, torch.CPU).Cast<NumberPrediction>()];
        Assert.All(predictions.Zip(unscored), pair => Assert.Equal(pair.First.Numbers[0], pair.Second.Numbers[0], 1e-5f));
        Assert.All(unscored, prediction => Assert.Null(prediction.Targets));

        Assert.Equal("""{"index":3,"value":0.5,"target":-1.25}""", PredictionJson.Of(new NumberPrediction(3, [0.5f], [-1.25f])).ToJsonString());
        Assert.Equal("""{"index":0,"value":[1,2],"target":[null,2]}""", PredictionJson.Of(new NumberPrediction(0, [1, 2], [float.NaN, 2])).ToJsonString());
        Assert.Equal("""{"index":0,"value":[1,null]}""", PredictionJson.Of(new NumberPrediction(0, [1, float.NaN], null)).ToJsonString());
    }

    [Fact]
    public void An_answer_for_each_token_is_learned_with_padding_that_does_not_count()
    {
        using AdaptedModel model = Bodies.Adapt("gpt2-tiny", Rises, "*");
        (TrainingOutcome outcome, SplitScored[] scored) = Fit(model, new Comparisons(0, 256), new Comparisons(1, 64), steps: 150, rate: 3e-3);
        SplitScored best = scored.OrderByDescending(score => score.Scores["accuracy"]).ThenBy(score => score.Scores.Loss).First();
        Assert.Equal(best.Step, outcome.ScoredStep);
        var predictions = new List<ClassPrediction>();
        var examples = new Comparisons(2, 60);
        Scores test = Evaluator.Evaluate(model, examples, 16, torch.CPU, prediction => predictions.Add((ClassPrediction)prediction));
        Assert.InRange(test["accuracy"], 0.9, 1);  // the token alone tells 0.8 at most
        Assert.Equal(60, test.Count);

        (long right, long all) = (0, 0);
        foreach (ClassPrediction prediction in predictions)
        {
            Assert.Equal(Head.NoAnswer, prediction.Targets![0]);
            int length = examples.Lengths[(int)prediction.Index];
            Assert.All(prediction.Targets.Skip(length), target => Assert.Equal(Head.NoAnswer, target));
            foreach ((long answer, long target) in prediction.Classes.Zip(prediction.Targets).Where(pair => pair.Second != Head.NoAnswer)) (right, all) = (right + (answer == target ? 1 : 0), all + 1);
        }
        Assert.Equal((double)right / all, test["accuracy"], 1e-12);
        Assert.Equal(examples.Lengths.Sum(length => length - 1), all);
    }

    [Fact]
    public void Padding_changes_no_tokens_answer_and_no_gradient()
    {
        using AdaptedModel model = Bodies.Adapt("gpt2-tiny", Rises, "input,output,ln");
        long[] ids = [3, 1, 4, 2];
        Tensor Loss(int padded)
        {
            int T = ids.Length + padded;
            Tensor outputs = model.Forward(Tensors.From([.. ids, .. Enumerable.Repeat(0L, padded)], 1, T), padded == 0 ? null : Tensors.From([1L, 1, 1, 1, .. Enumerable.Repeat(0L, padded)], 1, T));
            Assert.Equal([1, T, 2], outputs.shape);
            return model.Head.Loss(outputs, Tensors.From([-100L, 0, 1, 0, .. Enumerable.Repeat(Head.NoAnswer, padded)], 1, T));
        }
        Tensor alone = Loss(0);
        alone.backward();
        float[][] gradients = [.. model.parameters().Select(parameter => parameter.grad!.ToArray<float>())];
        model.zero_grad();
        Tensor with = Loss(3);
        with.backward();
        Assert.Equal(alone.Number(), with.Number(), 1e-5);
        foreach ((float[] one, TorchSharp.Modules.Parameter parameter) in gradients.Zip(model.parameters()))
            Assert.All(one.Zip(parameter.grad!.ToArray<float>()), pair => Assert.Equal(pair.First, pair.Second, 1e-4f));
    }

    [Fact]
    public void Answers_of_tokens_are_written_as_lists_with_names()
    {
        var prediction = new ClassPrediction(2, [1, 0], [[0.25f, 0.75f], [1, 0]], [-100, 0], ["no", "yes"]);
        Assert.Equal("""{"index":2,"label":["yes","no"],"probabilities":[[0.25,0.75],[1,0]],"target":[null,"no"]}""", PredictionJson.Of(prediction).ToJsonString());
    }

    [Fact]
    public void Targets_that_are_NaN_do_not_count()
    {
        using Head head = Head.For(new NumberOutput(2), Readout.Parse("last"), 4);
        Tensor outputs = Tensors.From([1f, 2, 3, 4], 2, 2).requires_grad_(true), targets = Tensors.From([0f, float.NaN, float.NaN, 1], 2, 2);
        Tensor loss = head.Loss(outputs, targets);
        Assert.Equal((1 + 9) / 2.0, loss.Number(), 1e-6);
        loss.backward();
        Assert.Equal([1f, 0, 0, 3], outputs.grad!.ToArray<float>());
        Assert.Equal(2, head.CountAnswers(targets));
        Assert.Equal([true, false, false, true], head.Counted(targets).ToArray<bool>());
    }

    [Fact]
    public void A_batch_in_which_no_number_counts_changes_nothing()
    {
        using AdaptedModel model = Bodies.Adapt("gpt2-tiny", Means);
        using var optimizer = new Sgd([new ParameterGroup([.. model.Trained.Select(parameter => (parameter.Name, parameter.Parameter.Value))])]);
        byte[] Bytes() => [.. model.Adapter().Values.SelectMany(tensor => tensor.ToBytes())];
        byte[] before = Bytes();
        model.train();
        Tensor inputs = torch.ones([3, 6, 1]);
        StepResult idle = TrainStep.Run(model, optimizer, [new Batch(inputs, torch.full([3, 1], float.NaN))], 0.1, 1);
        Assert.Equal((0, 0), (idle.Answers, idle.Loss));
        Assert.Equal(before, Bytes());
        StepResult busy = TrainStep.Run(model, optimizer, [new Batch(inputs, Tensors.From([float.NaN, 5, float.NaN], 3, 1))], 0.1, 1);
        Assert.Equal(1, busy.Answers);
        Assert.True(double.IsFinite(busy.Loss) && busy.GradientNorm > 0);
        Assert.NotEqual(before, Bytes());
    }

    [Fact]
    public void Metrics_are_the_plain_formulas_over_what_counts()
    {
        float[] answers = [1, 2.5f, -3, 4, 7], targets = [0, 2, -1, 5, 99];
        bool[] counted = [true, true, true, true, false];
        double Measure(MetricInfo info)
        {
            var metric = Metric.Create(info);
            Assert.True(double.IsNaN(metric.Value) || metric.Count == 0);
            foreach (Range part in new[] { ..2, 2..5 }) metric.Add(Tensors.From(answers[part]), Tensors.From(targets[part]), Tensors.From(counted[part]));
            Assert.Equal(4, metric.Count);
            return metric.Value;
        }
        double[] errors = [1, 0.5, -2, -1];
        double mean = (0 + 2 - 1 + 5) / 4.0, squares = errors.Sum(error => error * error), variance = targets[..4].Sum(target => (target - mean) * (target - mean));
        Assert.Equal(Math.Sqrt(squares / 4), Measure(MetricInfo.RootMeanSquaredError), 1e-6);
        Assert.Equal(errors.Average(Math.Abs), Measure(MetricInfo.MeanAbsoluteError), 1e-6);
        Assert.Equal(1 - squares / variance, Measure(MetricInfo.R2), 1e-6);

        var accuracy = Metric.Create(MetricInfo.Accuracy);
        accuracy.Add(Tensors.From([1L, 2, 3, 0]), Tensors.From([1L, 2, 0, 0]), Tensors.From([true, true, true, false]));
        Assert.Equal(2 / 3.0, accuracy.Value, 1e-12);
        Assert.Throws<ArgumentException>(() => Metric.Create(new MetricInfo("g7", "g7", HigherIsBetter: true)));
        Assert.True(MetricInfo.RootMeanSquaredError.IsBetter(1, 2) && !MetricInfo.RootMeanSquaredError.IsBetter(2, 1) && !MetricInfo.RootMeanSquaredError.IsBetter(double.NaN, 1));
        Assert.True(MetricInfo.R2.IsBetter(2, 1) && !MetricInfo.R2.IsBetter(1, 1));
    }

    [Fact]
    public void F1_and_the_area_under_the_curve_are_those_of_a_hand_count()
    {
        var f1 = Metric.Create(MetricInfo.F1(1));
        f1.Add(Tensors.From([1L, 1, 0, 0, 1, 1], 6, 1), Tensors.From([1L, 0, 0, 1, 1, 0], 6, 1), Tensors.From([true, true, true, true, true, false], 6, 1));
        Assert.Equal(2 * 2 / 6.0, f1.Value, 1e-12);
        var never = Metric.Create(MetricInfo.F1(2));
        never.Add(Tensors.From([1L]), Tensors.From([0L]), Tensors.From([true]));
        Assert.Equal(0, never.Value);

        // Of the four pairs of a wanted and another, three are in order; the tie counts a half.
        var auc = Metric.Create(MetricInfo.AreaUnderCurve(1));
        Assert.True(auc.IsOfOutputs);
        Tensor Logits(params float[] scores) => torch.stack([torch.zeros([scores.Length, 1]), Tensors.From(scores, scores.Length, 1)], 2);
        auc.Add(Logits(0.1f, 0.4f), Tensors.From([0L, 0], 2, 1), Tensors.From([true, true], 2, 1));
        auc.Add(Logits(0.35f, 0.8f, 9), Tensors.From([1L, 1, 0], 3, 1), Tensors.From([true, true, false], 3, 1));
        Assert.Equal((4, 0.75), (auc.Count, auc.Value));
        auc.Add(Logits(0.8f), Tensors.From([0L], 1, 1), Tensors.From([true], 1, 1));
        Assert.Equal((1 + 0 + 0 + 1 + 1 + 0.5) / 6, auc.Value, 1e-12);
    }

    [Fact]
    public void A_metric_over_a_subset_sees_only_that_and_is_missing_where_it_does_not_occur()
    {
        MetricInfo late = MetricInfo.MeanAbsoluteError with { Name = "late_mae", Over = "late" }, never = MetricInfo.MeanAbsoluteError with { Name = "never", Over = "nothing" };
        using AdaptedModel model = Bodies.Adapt("gpt2-tiny", Means with { Metrics = [MetricInfo.RootMeanSquaredError, late, never] });
        var predictions = new List<NumberPrediction>();
        Scores scores = Evaluator.Evaluate(model, new Averages(0, 40), 16, torch.CPU, prediction => predictions.Add((NumberPrediction)prediction));
        Assert.Equal(["rmse", "late_mae"], scores.Values.Keys);
        Assert.Equal(predictions.Where(p => p.Index >= 30).Average(p => Math.Abs(p.Numbers[0] - p.Targets![0])), scores["late_mae"], 1e-5);
    }

    [Theory]
    [InlineData(2, 6, 9, 3)]
    [InlineData(3, 7, 8, 3)]
    [InlineData(1, 4, 4, 4)]
    [InlineData(1, 3, 2, 1)]
    public void Pictures_are_cut_as_a_plain_loop_cuts_them(int channels, int height, int width, int patch)
    {
        const int B = 2;
        var spec = new PixelInput(channels, height, width, patch);
        float[] pixels = [.. Enumerable.Range(0, B * channels * height * width).Select(i => (float)i)];
        var expected = new List<float>();
        for (int b = 0; b < B; b++)
            for (int row = 0; row + patch <= height; row += patch)
                for (int column = 0; column + patch <= width; column += patch)
                    for (int channel = 0; channel < channels; channel++)
                        for (int y = row; y < row + patch; y++)
                            for (int x = column; x < column + patch; x++) expected.Add(pixels[((b * channels + channel) * height + y) * width + x]);
        Tensor cut = spec.Cut(Tensors.From(pixels, B, channels, height, width));
        Assert.Equal([B, spec.Length, spec.PatchSize], cut.shape);
        Assert.Equal(expected, cut.contiguous().ToArray<float>());
    }

    [Fact]
    public void Pictures_are_answered_as_their_patches_are()
    {
        var pixels = new PixelInput(2, 6, 9, 3);
        using AdaptedModel pictures = Bodies.Adapt("gpt2-tiny", new TaskSpec(pixels, new ClassOutput(3)));
        using AdaptedModel patches = Bodies.Adapt("gpt2-tiny", new TaskSpec(new VectorInput(18, 6), new ClassOutput(3)));
        using var random = new Generator(3);
        Tensor input = torch.empty([4, 2, 6, 9]).normal_(0, 1, random);
        using var noGrad = torch.no_grad();
        Assert.Equal(patches.Forward(pixels.Cut(input).contiguous(), null).ToBytes(), pictures.Forward(input, null).ToBytes());
        Assert.Equal(4 * 6, pictures.CountTokens(new Batch(input, torch.zeros([4, 1], ScalarType.Int64))));
        Refusal.Of("PixelInput", () => pictures.Forward(torch.zeros([4, 2, 9, 6]), null));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    public void Every_kind_of_spec_survives_an_adapters_configuration(int kind)
    {
        TaskSpec[] specs =
        [
            Means, Rises,
            new(new PixelInput(3, 8, 12, 4), new ClassOutput(2) { Labels = ["a", "b"] }) { Readout = "first" },
            new(new IdInput(9, 5), new NumberOutput(3)) { Metrics = [MetricInfo.R2, MetricInfo.MeanAbsoluteError with { Name = "late", Over = "late" }] },
            new(new VectorInput(2, 4), new ClassOutput(3) { Count = 2 }) { Readout = "last:2" },
            new(new IdInput(9, 5), new SequenceOutput(7, 4, 6)),
        ];
        TaskSpec spec = specs[kind], read = AdapterConfig.Read(Write(spec)).Spec;
        Assert.Equal((spec.Input, spec.Readout), (read.Input, read.Readout));
        Assert.Equal(spec.Metrics, read.Metrics);
        Assert.Equal(spec.Output.GetType(), read.Output.GetType());
        Assert.Equal(AdapterConfig.Labels(spec.Output), AdapterConfig.Labels(read.Output));
        Assert.Equal(spec.Output.Answers, read.Output.Answers);
        Assert.True(read.FitsModelOf(spec) && spec.FitsModelOf(read));
    }

    [Theory]
    [InlineData("pixels", "[3, 8, 12, 0]")]
    [InlineData("pixels", "[3, 8, 12, null]")]
    [InlineData("pixels", "[3, 8, 12, -4]")]
    [InlineData("pixels", "[3, 8, 12, 16]")]
    [InlineData("pixels", "[3, 8, 12, 2]")]
    [InlineData("pixels", "[3, 8, 12, \"four\"]")]
    [InlineData("sequence_length", "0")]
    [InlineData("numbers", "0")]
    [InlineData("numbers", "-1")]
    [InlineData("token_classes", "0")]
    [InlineData("metrics", "[{}]")]
    [InlineData("metrics", "[null]")]
    [InlineData("metrics", """[{"name": "g7", "measure": "g7", "higher_is_better": true}]""")]
    public void A_configuration_that_makes_no_sense_is_refused(string key, string value)
    {
        string path = Write(new TaskSpec(new PixelInput(3, 8, 12, 4), new ClassOutput(2)));
        JsonObject config = JsonNode.Parse(File.ReadAllText(Path.Combine(path, "adapter_config.json")))!.AsObject();
        config["shape"]![key] = JsonNode.Parse(value);
        File.WriteAllText(Path.Combine(path, "adapter_config.json"), config.ToJsonString());
        Refusal.Of(path, () => AdapterConfig.Read(path));
    }

    [Theory]
    [InlineData("[null]")]
    [InlineData("3")]
    [InlineData("""[{"text": null, "tokens": [1]}]""")]
    [InlineData("""[{"text": "a", "tokens": null}]""")]
    [InlineData("""[{"text": "a", "tokens": [null]}]""")]
    [InlineData("""[{"text": "a", "tokens": [7]}]""")]
    [InlineData("""[{"text": "a", "tokens": [-1]}]""")]
    [InlineData("""[{"text": "a", "tokens": [1.5]}]""")]
    [InlineData("""["a"]""")]
    public void Labels_that_a_decoder_cannot_write_are_refused(string labels)
    {
        string path = Write(new(new IdInput(9, 5), new SequenceOutput(7, 4, 6) { Labels = [new WrittenLabel("a", [1, 2]), new WrittenLabel("b", [6])] }));
        Assert.Equal([1, 2], ((SequenceOutput)AdapterConfig.Read(path).Spec.Output).Labels[0].Tokens);
        string file = Path.Combine(path, "adapter_config.json");
        JsonObject config = JsonNode.Parse(File.ReadAllText(file))!.AsObject();
        config["shape"]!["sequence"]!["labels"] = JsonNode.Parse(labels);
        File.WriteAllText(file, config.ToJsonString());
        Refusal.Of(path, () => AdapterConfig.Read(path));
        config["shape"]!["sequence"]!.AsObject().Remove("labels");
        config["labels"] = JsonNode.Parse("[null]");
        File.WriteAllText(file, config.ToJsonString());
        Refusal.Of(path, () => AdapterConfig.Read(path));
    }

    private string Write(TaskSpec spec)
    {
        AdapterFolder.Write(
            folder["adapter"],
            new JsonObject { ["readout"] = spec.Readout, ["shape"] = AdapterConfig.Shape(spec), ["labels"] = new JsonArray([.. AdapterConfig.Labels(spec.Output).Select(label => (JsonNode)label)]) },
            new Dictionary<string, Tensor>());
        return folder["adapter"];
    }

    private static (TrainingOutcome Outcome, SplitScored[] Scored) Fit(AdaptedModel model, IDataset train, IDataset validation, int steps, double rate)
    {
        var told = new Events();
        var options = new TrainerOptions
        {
            Optimizer = new OptimizerOptions { LearningRate = rate },
            Schedule = new ScheduleOptions { MaxSteps = steps, PerDeviceTrainBatchSize = 32 },
            Evaluation = new EvaluationOptions { EvalSteps = 10 },
        };
        TrainingOutcome outcome = Trainer.Fit(model, new TrainingData(train, validation), options, progress: told, cancellation: TestContext.Current.CancellationToken);
        return (outcome, [.. told.OfType<SplitScored>()]);
    }

    private sealed class Events : List<TrainingEvent>, IProgress<TrainingEvent>
    {
        public void Report(TrainingEvent value) => Add(value);
    }

    // Six numbers from -1 to 1; the answer is their mean. Those from 30 on are "late".
    private sealed class Averages(long seed, int count) : IDataset
    {
        public long? Count => count;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            (var inputs, var targets, var late) = (new float[indices.Length * 6], new float[indices.Length], new long[indices.Length]);
            for (int row = 0; row < indices.Length; row++)
            {
                var random = new CounterRandom("averages", seed, indices[row]);
                for (int t = 0; t < 6; t++) inputs[row * 6 + t] = random.Next(2001) / 1000f - 1;
                targets[row] = inputs.AsSpan(row * 6, 6).ToArray().Average();
                late[row] = indices[row] >= 30 ? 1 : 0;
            }
            return new Batch(Tensors.From(inputs, indices.Length, 6, 1), Tensors.From(targets, indices.Length, 1)) { Subsets = new Dictionary<string, Tensor> { ["late"] = Tensors.From(late, indices.Length, 1) } };
        }
    }

    // Three to seven tokens from 1 to 5, padded with 0; the answer at each but the first is whether it is larger than the one before it.
    private sealed class Comparisons(long seed, int count) : IDataset
    {
        public long? Count => count;

        public IReadOnlyList<int> Lengths { get; } = [.. Enumerable.Range(0, count).Select(i => 3 + i % 5)];

        public Batch Get(ReadOnlySpan<long> indices)
        {
            const int T = 7;
            (var ids, var targets, var mask) = (new long[indices.Length * T], new long[indices.Length * T], new long[indices.Length * T]);
            Array.Fill(targets, Head.NoAnswer);
            for (int row = 0; row < indices.Length; row++)
            {
                var random = new CounterRandom("comparisons", seed, indices[row]);
                for (int t = 0; t < Lengths[(int)indices[row]]; t++)
                {
                    int at = row * T + t;
                    (ids[at], mask[at]) = (1 + random.Next(5), 1);
                    if (t > 0) targets[at] = ids[at] > ids[at - 1] ? 1 : 0;
                }
            }
            return new Batch(Tensors.From(ids, indices.Length, T), Tensors.From(targets, indices.Length, T), Tensors.From(mask, indices.Length, T));
        }
    }
}
