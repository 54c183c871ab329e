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

    private static PretrainingResult Train(PretrainingOptions options, StopRequest? stop = null, IProgress<PretrainingEvent>? progress = null)
    {
        using var own = new StopRequest();
        using PretrainingRun run = PretrainingRun.Begin(options, "test", progress);
        return run.Train(stop ?? own);
    }

    private static PretrainingResult Resume(string path, Func<PretrainingOptions, PretrainingOptions>? change = null)
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
        JsonObject results = Train(options).ToJson();
        Assert.Equal(40, (long)results["steps"]!);
        double[] losses = [.. MetricsLog.Read(folder["run", "metrics.jsonl"]).Where(line => line["train/loss"] is not null).Select(line => (double)line["train/loss"]!)];
        Assert.True(losses[^5..].Average() < losses[..5].Average() - 0.3, $"{losses[..5].Average()} to {losses[^5..].Average()}");
        JsonNode score = results["held_out"]!["test.txt"]!;
        Assert.Equal(style == "gpt2", score["bits_per_byte"] is not null);
        Assert.InRange((double)score["loss"]!, 0.5, 7);
        Assert.InRange((double)score["bigram_bits_per_byte"]!, 0.1, 3);
        Assert.Contains("bigrams of the tokens: ", File.ReadAllText(folder["run", "model", "README.md"]), StringComparison.Ordinal);

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
        Assert.Equal(12, Resume(folder["run"]).State.Step);
    }

    [Fact]
    public void Stopped_between_reports_or_in_the_middle_of_scoring_it_writes_the_same_metrics()
    {
        PretrainingOptions options = SmallCorpus.Make(folder) with { LoggingSteps = 5, EvalSteps = 4, SaveSteps = 7, HeldOut = "test.txt,part3" };
        string[] Lines(string run) => [.. MetricsLog.Read(folder[run, "metrics.jsonl"]).Select(line =>
        {
            foreach (string clocked in new[] { "time", "tokens_per_second", "data_wait" }) line.Remove(clocked);
            return line.ToJsonString();
        })];
        Train(options);
        string[] expected = Lines("run");
        Assert.Equal([4, 4, 5, 8, 8, 10, 12, 12, 12], expected.Select(line => (int)JsonNode.Parse(line)!["step"]!));
        Directory.Delete(folder["run", "checkpoint-12"], recursive: true);
        Resume(folder["run"]);
        Assert.Equal(expected, Lines("run"));

        // When the first of two files has been scored.
        foreach ((string name, long at, int steps) in new[] { ("one", 4L, 7), ("two", 8L, 8), ("three", 12L, 7) })
        {
            using var stop = new StopRequest();
            var stopping = new Listener(heard => { if (heard is PretrainingScored scored && scored.Step == at) stop.Ask(StopReason.Preempted); });
            Assert.Throws<StoppedException>(() => Train(options with { OutputDir = folder[name], SaveSteps = steps }, stop, stopping));
            Assert.DoesNotContain(Lines(name), line => line.Contains($"{{\"step\":{at},\"eval", StringComparison.Ordinal));
            Assert.True(Directory.Exists(folder[name, $"checkpoint-{at}"]));
            Resume(folder[name]);
            Assert.Equal(expected, Lines(name));
        }
    }

    [Fact]
    public void Files_of_one_name_are_told_apart_by_their_folders_everywhere()
    {
        PretrainingOptions options = SmallCorpus.Make(folder) with { EvalSteps = 6 };
        File.Delete(folder["text", "test.txt"]);
        folder.Write("text/en/test.en.txt", SmallCorpus.Text(2, 10, seed: 9));
        folder.Write("text/de/test.en.txt", SmallCorpus.Text(2, 10, seed: 10));
        folder.Write("text/de/test.de.txt", SmallCorpus.Text(2, 10, seed: 11));
        PretrainingResult result = Train(options with { HeldOut = "test.en.txt,de/*" });
        string[] names = ["de/test.de.txt", "de/test.en.txt", "en/test.en.txt"];
        Assert.Equal(names, result.HeldOut.Select(one => one.File));
        Assert.Equal(names, JsonNode.Parse(File.ReadAllText(folder["run", "results.json"]))!["held_out"]!.AsObject().Select(pair => pair.Key));
        IEnumerable<string> logged = MetricsLog.Read(folder["run", "metrics.jsonl"]).SelectMany(line => line.Select(pair => pair.Key));
        string[] keys = [.. logged.Where(key => key.StartsWith("eval/", StringComparison.Ordinal)).Distinct()];
        Assert.Equal(names.SelectMany(name => new[] { $"eval/{name}/loss", $"eval/{name}/bits_per_byte" }), keys);
        string both = $"{folder["text", "en"]},{folder["text", "de"]}";
        Refusal.Of("would both be called test.en.txt", () => Train(options with { HeldOut = null, Data = both, OutputDir = folder["other"] }));
    }

    [Fact]
    public void Another_order_of_the_files_is_refused_and_older_checkpoints_are_not()
    {
        PretrainingOptions options = SmallCorpus.Make(folder) with { SaveSteps = 5 };
        options = options with { Data = $"{folder["text", "train.txt"]},{folder["text", "test.txt"]}" };
        Train(options);
        string turned = $"{folder["text", "test.txt"]},{folder["text", "train.txt"]}";
        Refusal.OfUsage("data_order was train.txt, te", () => Resume(folder["run"], saved => saved with { Data = turned }));
        // As written before the order, the sums and the last scoring were in it.
        string checkpoint = folder["run", "checkpoint-10"];
        Directory.Delete(folder["run", "checkpoint-12"], recursive: true);
        Change(checkpoint, Checkpoint.PretrainingFiles[3], "data_order");
        Change(checkpoint, Checkpoint.PretrainingFiles[2], "since_report", "evaluated_at");
        Assert.Equal(12, Resume(folder["run"]).State.Step);
    }

    private static void Change(string checkpoint, string file, params string[] without)
    {
        string path = Path.Combine(checkpoint, file), manifest = Path.Combine(checkpoint, "manifest.json");
        JsonObject json = JsonNode.Parse(File.ReadAllText(path))!.AsObject(), sums = JsonNode.Parse(File.ReadAllText(manifest))!.AsObject();
        foreach (string key in without) Assert.True(json.Remove(key));
        File.WriteAllText(path, json.ToJsonString());
        sums["sha256"]![file] = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(path)));
        File.WriteAllText(manifest, sums.ToJsonString());
    }

    private sealed class Listener(Action<PretrainingEvent> hear) : IProgress<PretrainingEvent>
    {
        public void Report(PretrainingEvent value) => hear(value);
    }

    [Fact]
    public void A_tokenizer_of_one_file_comes_with_the_model_under_a_name_that_is_found()
    {
        PretrainingOptions options = SmallCorpus.Make(folder) with { MaxSteps = 2 };
        string json = folder.Write("mine/mine.json", File.ReadAllText(folder["tokenizer", "tokenizer.json"]));
        string[] several = ["merges.txt", "tokenizer_config.json", "vocab.json"];
        foreach ((string tokenizer, string[] expected) in new[] { (json, ["tokenizer.json"]), (folder["tokenizer", "vocab.json"], several) })
        {
            Train(options with { Tokenizer = tokenizer, OutputDir = folder[$"run{expected.Length}"] });
            string model = folder[$"run{expected.Length}", "model"];
            string[] others = ["README.md", "config.json", "model.safetensors"];
            Assert.Equal(expected, Directory.GetFiles(model).Select(path => Path.GetFileName(path)).Except(others).Order(StringComparer.Ordinal));
            using FrozenWeights weights = FrozenWeights.Load(model);
            Assert.Equal(TokenizerFiles.Load(tokenizer).Encode("the cat").Ids, weights.LoadTokenizer()!.Encode("the cat").Ids);
        }
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
        PretrainingResult result = Train(options);
        Assert.Equal(code, result.State.Step);
        Assert.InRange(result.State.Skipped, 1, 12);
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
    public void Held_out_text_is_measured_by_xz_where_that_is()
    {
        PretrainingOptions options = SmallCorpus.Make(folder) with { HeldOut = "test.txt,part3", MaxSteps = 1 };
        using (PretrainingData data = SmallCorpus.Open(options, folder))
        {
            TokenStream[] heldOut = [.. data.HeldOut.Select(pair => pair.Documents)];
            Assert.All(XzBaseline.BitsPerByte(heldOut, program: "no-such-program"), bits => Assert.Null(bits));
            Assert.All(XzBaseline.BitsPerByte(heldOut, program: "false"), bits => Assert.Null(bits));
            if (!OperatingSystem.IsLinux()) return;
            // Without packing, each byte is eight bits.
            folder.Write("cat.sh", "#!/bin/sh\ncat\n");
            File.SetUnixFileMode(folder["cat.sh"], UnixFileMode.UserRead | UnixFileMode.UserExecute);
            Assert.All(XzBaseline.BitsPerByte(heldOut, program: folder["cat.sh"]), bits => Assert.Equal(8, bits));
        }
        JsonNode results = Train(options).ToJson()["held_out"]!;
        bool there = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(place => File.Exists(Path.Combine(place, "xz")));
        string card = File.ReadAllText(folder["run", "model", "README.md"]);
        foreach (string file in new[] { "test.txt", "train.txt" })
        {
            if (there) Assert.InRange((double)results[file]!["xz_bits_per_byte"]!, 1, 6);
            else Assert.Null(results[file]!["xz_bits_per_byte"]);
        }
        Assert.Equal(there, card.Contains("`xz -9` of this text alone: ", StringComparison.Ordinal));
    }

    [Fact]
    public void Lists_hold_commas_within_their_entries()
    {
        string path = folder.Write("lists.yaml", "data: ['a, b.txt', c.txt]\nheld_out: 'x\\,y, z'\ntokenizer: t\n");
        PretrainingOptions options = PretrainingOptionTable.Load(path, new PretrainingOptions());
        Assert.Equal(["a, b.txt", "c.txt"], options.Paths);
        Assert.Equal(["x,y", "z"], options.Rules.Select(rule => rule.Text));
        Assert.Equal(options, PretrainingOptionTable.Load(folder.Write("again.yaml", PretrainingOptionTable.ToYaml(options, "a header")), new PretrainingOptions()));
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
