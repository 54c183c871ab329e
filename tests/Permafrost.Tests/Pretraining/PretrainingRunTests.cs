using System.Text.Json.Nodes;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Pretraining;
using Permafrost.Pretraining.Objectives;
using Permafrost.Runs;
using Permafrost.Tokenizers;

namespace Permafrost.Tests.Pretraining;

/// <summary>Whole pretrainings of tiny models: what they leave, how they go on, what they refuse.</summary>
[Collection(ProcessWide.Name)]
public sealed class PretrainingRunTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private static JsonObject Train(PretrainingOptions options, StopRequest? stop = null)
    {
        using var own = new StopRequest();
        using PretrainingRun run = PretrainingRun.Begin(options, "test");
        return run.Train(stop ?? own);
    }

    private static JsonObject Resume(string path, Func<PretrainingOptions, PretrainingOptions>? change = null)
    {
        using var stop = new StopRequest();
        using PretrainingRun run = PretrainingRun.Resume(path, change ?? (options => options), "test again");
        return run.Train(stop);
    }

    [Theory]
    [InlineData("gpt2", "causal", "adamw")]
    [InlineData("gpt2", "causal", "adafactor")]
    [InlineData("bert", "masked", "adamw")]
    [InlineData("t5", "span-corruption", "adafactor")]
    [InlineData("t5", "mask-spans", "adamw")]
    [InlineData("conv-seq2seq", "span-corruption", "adafactor")]
    public void A_model_learns_and_its_folder_is_one_that_other_verbs_read(string style, string objective, string optimizer)
    {
        PretrainingOptions options = SmallCorpus.Make(folder, style == "conv-seq2seq" ? "t5" : style, style is "gpt2" or "bert" ? 400 : 500) with { Architecture = style, Objective = objective, Optim = optimizer, MaxSteps = 40, LearningRate = optimizer == "adafactor" ? 0.1 : 3e-3 };
        JsonObject results = Train(options);
        Assert.Equal(40, (long)results["steps"]!);
        double[] losses = [.. MetricsLog.Read(folder["run", "metrics.jsonl"]).Where(line => line["train/loss"] is not null).Select(line => (double)line["train/loss"]!)];
        Assert.True(losses[^5..].Average() < losses[..5].Average() - 0.3, $"{losses[..5].Average()} to {losses[^5..].Average()}");
        JsonNode score = results["held_out"]!["test.txt"]!;
        Assert.Equal(style == "gpt2", score["bits_per_byte"] is not null);
        Assert.InRange((double)score["loss"]!, 0.5, 7);

        string model = folder["run", "model"];
        using FrozenWeights weights = FrozenWeights.Load(model);
        using Backbone backbone = weights.CreateBackbone();
        Assert.Equal(TokenizerFiles.Load(options.Tokenizer).VocabularySize, weights.LoadTokenizer()!.VocabularySize);
        Assert.Contains("test.txt", File.ReadAllText(folder["run", "model", "README.md"]), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_pretraining_that_goes_on_ends_in_the_same_bits(bool crossDocuments)
    {
        PretrainingOptions options = SmallCorpus.Make(folder) with { SaveSteps = 5, Dropout = 0.1, SaveDtype = "float32", CrossDocuments = crossDocuments };
        Train(options);
        byte[] expected = File.ReadAllBytes(folder["run", "model", "model.safetensors"]);
        double[] losses = [.. MetricsLog.Read(folder["run", "metrics.jsonl"]).Where(line => line["train/loss"] is not null).Select(line => (double)line["train/loss"]!)];
        // As kill -9 would leave it: the newest checkpoint torn, the model not there.
        File.WriteAllText(folder["run", "checkpoint-12", "model.safetensors"], "torn");
        Directory.Delete(folder["run", "model"], recursive: true);
        File.Delete(folder["run", "results.json"]);
        Resume(folder["run"]);
        Assert.Equal(expected, File.ReadAllBytes(folder["run", "model", "model.safetensors"]));
        Assert.Equal(losses, MetricsLog.Read(folder["run", "metrics.jsonl"]).Where(line => line["train/loss"] is not null).Select(line => (double)line["train/loss"]!));
    }

    [Fact]
    public void One_that_is_asked_to_stop_leaves_a_checkpoint()
    {
        PretrainingOptions options = SmallCorpus.Make(folder);
        using var stop = new StopRequest();
        stop.Ask(StopReason.Preempted);
        StoppedException stopped = Assert.Throws<StoppedException>(() => Train(options, stop));
        Assert.Equal(75, stopped.ExitCode);
        Assert.Single(Directory.GetDirectories(folder["run"], "checkpoint-0"));
        Assert.Equal(12, (long)Resume(folder["run"])["steps"]!);
    }

    [Fact]
    public void Changed_text_tokenizer_or_options_are_refused_with_the_difference()
    {
        PretrainingOptions options = SmallCorpus.Make(folder) with { SaveSteps = 5 };
        Train(options);
        Refusal.OfUsage("learning_rate was 0.003, is 0.001", () => Resume(folder["run"], saved => saved with { LearningRate = 1e-3 }));
        string text = File.ReadAllText(folder["text", "train.txt"]);
        File.AppendAllText(folder["text", "train.txt"], "One line more.\n");
        string refusal = Refusal.OfUsage("data train.txt was", () => Resume(folder["run"]));
        Assert.Contains("training_tokens was", refusal, StringComparison.Ordinal);
        File.WriteAllText(folder["text", "train.txt"], text);
        File.AppendAllText(folder["tokenizer", "merges.txt"], "\n");
        Refusal.OfUsage("tokenizer_sha256 was", () => Resume(folder["run"]));
    }

    [Fact]
    public void What_cannot_be_is_refused_before_anything_is_made()
    {
        PretrainingOptions options = SmallCorpus.Make(folder);
        Refusal.OfUsage("`objective` masked does not go with `architecture` gpt2", () => Train(options with { Objective = "masked" }));
        Refusal.OfUsage("`preset` t5-mini is a t5", () => Train(options with { Preset = "t5-mini" }));
        Refusal.OfUsage("`data` names no text", () => Train(options with { Data = "" }));
        Refusal.OfUsage("`context` is 2", () => Train(options with { Context = 2 }));
        Refusal.Of("no mask token", () => Train(options with { Architecture = "bert" }));
        Refusal.Of("sentinels", () => Train(options with { Architecture = "t5" }));
        Refusal.Of("windows of 100001", () => Train(options with { Context = 100_000 }));
        Refusal.Of("does not exist", () => Train(options with { Tokenizer = folder["none"] }));
        Assert.False(Directory.Exists(folder["run"]));
    }

    [Theory]
    [InlineData("skip", 12)]
    [InlineData("stop", 3)]
    public void Updates_that_are_not_finite_are_passed_over_or_stop_it(string what, int code)
    {
        // A rate that throws the weights beyond float32.
        PretrainingOptions options = SmallCorpus.Make(folder) with { LearningRate = 1000, WarmupSteps = 0, WeightDecay = 1000, OnNonFinite = what, MaxGradNorm = 0, MaxSteps = 12, Dtype = "float32" };
        if (what == "stop")
        {
            DivergedException error = Assert.Throws<DivergedException>(() => Train(options));
            Assert.Equal(code, error.ExitCode);
            return;
        }
        JsonObject results = Train(options);
        Assert.Equal(code, (long)results["steps"]!);
        Assert.InRange((long)results["skipped"]!, 1, 12);
    }

    [Theory]
    [InlineData("gpt2")]
    [InlineData("bert")]
    [InlineData("t5")]
    public void Updates_and_scores_leave_no_tensors(string style)
    {
        PretrainingOptions options = SmallCorpus.Make(folder, style, style == "t5" ? 500 : 400) with { MaxSteps = 40, Dropout = 0.1 };
        Tokenizer tokenizer = TokenizerFiles.Load(options.Tokenizer);
        ObjectiveTokens tokens = PretrainingConfig.Tokens(options, tokenizer);
        Objective objective = PretrainingConfig.Objective(options, tokens);
        using PretrainingData data = SmallCorpus.Open(options, folder);
        using var model = new LanguageModel(PretrainingConfig.Create(options, tokenizer), 0, 0.1);
        using var trainer = new Pretrainer(options, model, objective, data.Train);
        long After(int steps)
        {
            for (int i = 0; i < steps; i++) trainer.Step();
            HeldOutScore.Of(model, objective, data.HeldOut[0].Documents, options.Context, tokens.Padding, 4);
            return Engine.LiveTensors;
        }
        // Handles that the garbage collector has not come to yet may be fewer later, never more.
        long before = After(3);
        Assert.InRange(After(10), 0, before);
    }

    [Fact]
    public void Options_are_the_same_as_YAML()
    {
        PretrainingOptions options = SmallCorpus.Make(folder) with { HeldOut = "it's*,b:5%", Seed = 7, CrossDocuments = false };
        string path = folder.Write("options.yaml", PretrainingOptionTable.ToYaml(options, "a header"));
        Assert.Equal(options, PretrainingOptionTable.Load(path, new PretrainingOptions()));
        Refusal.OfUsage("options2.yaml:1", () => PretrainingOptionTable.Load(folder.Write("options2.yaml", "learning_rat: 1\n"), new PretrainingOptions()));
        Refusal.OfUsage("not a whole number", () => PretrainingOptionTable.With(options, "context", "1.5", "here"));
    }
}
