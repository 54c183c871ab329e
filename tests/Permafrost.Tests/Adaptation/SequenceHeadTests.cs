using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Runs;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;
using Permafrost.Tasks.Metrics;
using Permafrost.Training;
using Permafrost.Training.Options;

namespace Permafrost.Tests.Adaptation;

/// <summary>Answers that are sequences: taught by feeding the right ones, scored by what is generated.</summary>
public sealed class SequenceHeadTests : IDisposable
{
    private const int End = 5;

    private const string T5 = """
        {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4,
         "vocab_size": 11, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12, "decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
        """;

    private const string Bart = """
        {"model_type": "bart", "architectures": ["BartForConditionalGeneration"], "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
         "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 16, "vocab_size": 11, "pad_token_id": 1, "eos_token_id": 2,
         "decoder_start_token_id": 2, "init_std": 0.1}
        """;

    private static readonly TaskSpec Reversed = new(new IdInput(5, 6), new SequenceOutput(6, 7, End));

    private readonly DisposeScope scope = torch.NewDisposeScope();

    public static TheoryData<string, bool> Bodies => new() { { T5, false }, { T5, true }, { Bart, false }, { Bart, true } };

    public void Dispose() => scope.Dispose();

    [Trait("tier", "long")]
    [Theory]
    [InlineData(T5)]
    [InlineData(Bart)]
    public void Reversing_a_list_is_learned_and_scored_by_what_is_generated(string config)
    {
        using AdaptedModel model = Adapt(config, ownTokens: false);
        Trainer.Fit(
            model, new TrainingData(new Reversals(0, 20_000), new Reversals(1, 64)), new TrainerOptions
            {
                Optimizer = new OptimizerOptions { LearningRate = 5e-3 },
                Schedule = new ScheduleOptions { MaxSteps = 700, PerDeviceTrainBatchSize = 32 },
                Evaluation = new EvaluationOptions { EvalSteps = 100 },
            },
            cancellation: TestContext.Current.CancellationToken);
        var test = new Reversals(2, 100);
        var predictions = new List<SequencePrediction>();
        Scores scores = Evaluator.Evaluate(model, test, 32, torch.CPU, prediction => predictions.Add((SequencePrediction)prediction));
        Assert.Equal(["exact_match", "token_accuracy"], scores.Values.Keys);
        Assert.InRange(scores["exact_match"], 0.7, 1);
        Assert.Equal(scores["exact_match"], predictions.Average(p => p.Ended && p.Tokens.SequenceEqual(p.Targets!) ? 1.0 : 0), 1e-9);
        Assert.All(predictions, p => Assert.Equal(Reversals.Answer(2, p.Index), p.Targets!));

        SequencePrediction[] unscored = [.. Evaluator.Predict(model, test, 7, torch.CPU).Cast<SequencePrediction>()];
        Assert.All(predictions.Zip(unscored), pair => Assert.Equal((pair.First.Ended, string.Join(' ', pair.First.Tokens)), (pair.Second.Ended, string.Join(' ', pair.Second.Tokens))));
        Assert.All(unscored, p => Assert.Null(p.Targets));
    }

    [Theory]
    [MemberData(nameof(Bodies))]
    public void What_is_generated_is_what_the_outputs_say_where_it_is_fed(string config, bool ownTokens)
    {
        using AdaptedModel model = Adapt(config, ownTokens);
        model.eval();
        Batch batch = new Reversals(3, 9).Get([0, 1, 2, 3, 4, 5, 6, 7, 8]);
        Tensor generated = model.Generate(batch.Inputs, batch.Mask, 7);
        using var noGrad = torch.no_grad();
        long[] fed = model.Forward(batch with { Targets = generated }).argmax(-1).ToArray<long>(), tokens = generated.ToArray<long>();
        int S = (int)generated.size(1);
        for (int row = 0; row < 9; row++)
        {
            int end = Array.IndexOf(tokens, End, row * S, S);
            for (int at = row * S; at < (end < 0 ? (row + 1) * S : end + 1); at++) Assert.Equal(fed[at], tokens[at]);
        }
    }

    [Fact]
    public void The_loss_is_that_of_the_decoder_fed_by_hand()
    {
        using AdaptedModel model = Adapt(T5, ownTokens: true);
        model.eval();
        var decoder = (EncoderDecoder)model.Backbone;
        Batch batch = new Reversals(4, 3).Get([0, 1, 2]);
        using var noGrad = torch.no_grad();
        Tensor loss = model.Head.Loss(model.Forward(batch), batch.Targets);

        Tensor weight = model.Parameters.Single(p => p.Name == "output_layer.weight").Parameter.Value, bias = model.Parameters.Single(p => p.Name == "output_layer.bias").Parameter.Value;
        double sum = 0;
        int count = 0;
        for (int row = 0; row < 3; row++)
        {
            long[] ids = [.. batch.Inputs.select(0, row).ToArray<long>().Zip(batch.Mask!.select(0, row).ToArray<long>()).Where(pair => pair.Second == 1).Select(pair => pair.First)];
            long[] answer = [.. batch.Targets.select(0, row).ToArray<long>().Where(token => token >= 0)], fed = [0, .. answer[..^1]];
            Tensor hidden = decoder.Forward(new ModelInputs(Tensors.From(ids, 1, ids.Length)) { DecoderInputIds = Tensors.From(fed, 1, fed.Length) }).LastHiddenState;
            Tensor logits = torch.nn.functional.linear(hidden.select(0, 0), weight, bias).log_softmax(-1);
            for (int s = 0; s < answer.Length; s++, count++) sum -= logits[s, answer[s]].Number();
        }
        Assert.Equal(sum / count, loss.Number(), 1e-5);
    }

    [Theory]
    [MemberData(nameof(Bodies))]
    public void Everything_that_is_reached_trains_the_answers_table_among_it(string config, bool ownTokens)
    {
        using AdaptedModel model = Adapt(config, ownTokens);
        Assert.Equal(ownTokens, !model.Parameters.Any(p => p.Name is "input_layer.weight" or "decoder_input_layer.weight"));
        Assert.Equal(ownTokens, !model.Parameters.Any(p => p.Unused));
        Assert.All(model.Parameters.Where(p => !p.Trained), p => Assert.True(p.Unused && p.Name == "shared.weight", p.Name));
        TrainStep.AddGradients(model, [new Reversals(0, 8).Get([0, 1, 2, 3, 4, 5, 6, 7])]);
        Assert.All(model.Trained, p => Assert.True(p.Parameter.Value.grad is { } gradient && Golden.Largest(gradient) > 0, p.Name));
    }

    [Fact]
    public void Padding_and_other_rows_change_no_answer()
    {
        using AdaptedModel model = Adapt(Bart, ownTokens: false);
        model.eval();
        var data = new Reversals(5, 6);
        Batch all = data.Get([0, 1, 2, 3, 4, 5]);
        using var noGrad = torch.no_grad();
        long[][] together = [.. model.Generate(all.Inputs, all.Mask, 7).ToArray<long>().Chunk(7)];
        for (int row = 0; row < 6; row++)
        {
            Batch own = data.Get([row]);
            long tokens = own.Mask!.sum().Integer();
            long[] alone = model.Generate(own.Inputs.narrow(1, 0, tokens).contiguous(), null, 7).ToArray<long>();
            Assert.Equal(together[row].Take(alone.Length), alone);
        }
    }

    [Fact]
    public void Whole_answers_match_or_not()
    {
        var metric = Metric.Create(MetricInfo.ExactMatch);
        Tensor targets = Tensors.From([1L, 5, -100, 2, 3, 5, 1, 1, 5, -100, -100, -100], 4, 3), counted = targets.ne((-100).Hold());
        metric.Add(Tensors.From([1L, 5, 9, 2, 3, 4, 1, 1, 5, 0, 0, 0], 4, 3), targets, counted);
        Assert.Equal((3, 2 / 3.0), (metric.Count, metric.Value));
        metric.Add(Tensors.From([7L, 5], 1, 2), Tensors.From([8L, 5], 1, 2), Tensors.From([true, true], 1, 2));
        Assert.Equal((4, 0.5), (metric.Count, metric.Value));
    }

    [Fact]
    public void The_rule_to_beat_is_the_commonest_whole_answer()
    {
        var data = new TaskData(Reversed, new Fixed([1L, 2, 5], [1L, 2, 5], [2L, 5, -100]), null, new Fixed([1L, 2, 5], [2L, 5, -100], [2L, 1, 5], [1L, 2, 5]));
        Assert.Equal(0.5, TrivialBaselines.Measure(data)["majority"]);
    }

    [Fact]
    public void What_cannot_be_is_refused()
    {
        Refusal.OfUsage("decoder", () => Adapt(T5, false, Reversed with { Readout = "last" }));
        Refusal.OfUsage("gpt2 has no decoder", () => Models.Bodies.Adapt("gpt2-tiny", Reversed));
        Refusal.Of("answers of 17 tokens", () => Adapt(Bart, false, Reversed with { Output = new SequenceOutput(6, 17, End) }));
        Refusal.Of("ids up to 11", () => Adapt(T5, true, Reversed with { Output = new SequenceOutput(12, 7, End) }));
        using AdaptedModel model = Adapt(T5, false);
        Batch batch = new Reversals(0, 1).Get([0]);
        Assert.Throws<InvalidOperationException>(() => model.Forward(batch.Inputs, batch.Mask));
        Assert.Throws<InvalidOperationException>(() => model.Read(batch.Inputs, batch.Mask));
        using AdaptedModel classes = Adapt(T5, false, Reversed with { Output = new ClassOutput(3) });
        Assert.Throws<InvalidOperationException>(() => classes.Generate(batch.Inputs, batch.Mask, 3));
    }

    [Fact]
    public void Predictions_are_written_as_lists_of_tokens()
    {
        Assert.Equal("""{"index":3,"tokens":[4,2],"ended":true,"target":[4]}""", PredictionJson.Of(new SequencePrediction(3, [4, 2], true, [4], [])).ToJsonString());
        Assert.Equal("""{"index":1,"tokens":["b"],"ended":true}""", PredictionJson.Of(new SequencePrediction(1, [1], true, null, ["a", "b"])).ToJsonString());
        Assert.Equal("""{"index":0,"tokens":[],"ended":false}""", PredictionJson.Of(new SequencePrediction(0, [], false, null, [])).ToJsonString());
    }

    private static AdaptedModel Adapt(string config, bool ownTokens, TaskSpec? spec = null)
    {
        HfConfig parsed = HfConfig.Parse(config, "config");
        using FrozenWeights weights = FrozenWeights.Draw(ModelRegistry.Find(parsed), parsed, 5);
        return Models.Bodies.Adapt(weights, spec ?? Reversed, "*", ownTokens);
    }

    // Two to six of the ids 0 to 4, and the same backwards.
    private sealed class Reversals(long seed, int count) : IDataset
    {
        private const int T = 6, S = 7;

        public long? Count => count;

        public static long[] Answer(long seed, long index)
        {
            var random = new CounterRandom("reversals", seed, index);
            long[] ids = new long[2 + random.Next(5)];
            for (int t = 0; t < ids.Length; t++) ids[t] = random.Next(5);
            return ids;
        }

        public Batch Get(ReadOnlySpan<long> indices)
        {
            (var inputs, var mask, var targets) = (new long[indices.Length * T], new long[indices.Length * T], new long[indices.Length * S]);
            Array.Fill(targets, -100);
            for (int row = 0; row < indices.Length; row++)
            {
                long[] answer = Answer(seed, indices[row]);
                answer.CopyTo(targets, row * S);
                targets[row * S + answer.Length] = End;
                answer.Reverse().ToArray().CopyTo(inputs, row * T);
                Array.Fill(mask, 1, row * T, answer.Length);
            }
            return new Batch(Tensors.From(inputs, indices.Length, T), Tensors.From(targets, indices.Length, S), Tensors.From(mask, indices.Length, T));
        }
    }

    private sealed class Fixed(params long[][] targets) : IDataset
    {
        public long? Count => targets.Length;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            var rows = new List<long>();
            foreach (long index in indices) rows.AddRange(targets[index]);
            return new Batch(torch.zeros([indices.Length, 6], ScalarType.Int64), Tensors.From([.. rows], indices.Length, 3));
        }
    }
}
