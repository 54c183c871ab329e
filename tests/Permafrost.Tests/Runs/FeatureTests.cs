using System.Text.Json.Nodes;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Runs;
using Permafrost.Training;

namespace Permafrost.Tests.Runs;

/// <summary>Where only the output layer trains, what the body computes is computed once: the same bits, from wherever it comes. The cache's folder is the whole process's.</summary>
[Collection(ProcessWide.Name)]
public class FeatureTests : IDisposable
{
    private const int Rows = 150;

    private readonly TinyRun tiny = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();
    private readonly string? home = Environment.GetEnvironmentVariable("PERMAFROST_HOME");

    public FeatureTests() => Environment.SetEnvironmentVariable("PERMAFROST_HOME", tiny["home"]);

    public void Dispose()
    {
        Environment.SetEnvironmentVariable("PERMAFROST_HOME", home);
        scope.Dispose();
        tiny.Dispose();
        GC.SuppressFinalize(this);
    }

    private string[] Files => Directory.Exists(FeatureCache.Folder) ? [.. Directory.GetFiles(FeatureCache.Folder).Order(StringComparer.Ordinal)] : [];

    // Rows of 1 to 5 tokens with two answers each, one of them now and then left out, and splits of their own.
    private RunOptions Options(Action<float[]>? change = null, bool padded = true)
    {
        float[] numbers = [.. Enumerable.Range(0, Rows * 5 * 2).Select(i => MathF.Sin(i))];
        change?.Invoke(numbers);
        Tensor inputs = Tensors.From(numbers, Rows, 5, 2);
        Tensor targets = Tensors.From([.. Enumerable.Range(0, 2 * Rows).Select(i => i % 13 == 0 ? -100 : i * i % 3L)], Rows, 2);
        Tensor mask = Tensors.From([.. Enumerable.Range(0, Rows * 5).Select(i => i % 5 <= i / 5 * 7 % 5 ? 1L : 0)], Rows, 5);
        (string, Tensor)[] Split(string prefix, int rows) =>
            [($"{prefix}inputs", inputs.narrow(0, 0, rows)), ($"{prefix}targets", targets.narrow(0, 0, rows)), .. padded ? [($"{prefix}mask", mask.narrow(0, 0, rows))] : Array.Empty<(string, Tensor)>()];
        return tiny.On([.. Split("", Rows), .. Split("validation.", 70), .. Split("test.", 65)]).Change(o => o with { Schedule = o.Schedule with { Shuffle = true, MaxSteps = 12, PerDeviceTrainBatchSize = 7 }, Model = o.Model with { Policy = "output", Readout = "mean", FrozenDtype = "float32", FeatureCache = "disk" }, Evaluation = o.Evaluation with { EvalSteps = 5 }, Optimizer = o.Optimizer with { LearningRate = 0.05 } });
    }

    [Fact]
    public void The_default_dropout_is_none_where_only_the_output_layer_trains()
    {
        double? Resolved(RunOptions options)
        {
            using Finetuning run = Finetuning.Prepare(options);
            Assert.Equal(run.Model.DropoutProbability, run.Options.Model.Dropout);
            return run.Options.Model.Dropout;
        }
        Assert.Equal(0, Resolved(tiny.Options with { Model = tiny.Options.Model with { Policy = "output" } }));
        Assert.Equal(0.1, Resolved(tiny.Options));
        Assert.Equal(0.1, Resolved(tiny.Options with { Model = tiny.Options.Model with { Policy = "input,output" } }));
        Assert.Equal(0.3, Resolved(tiny.Options with { Model = tiny.Options.Model with { Policy = "output", Dropout = 0.3 } }));
        Assert.Equal(0, Resolved(tiny.Options with { Model = tiny.Options.Model with { Dropout = 0 } }));
        (RunFolder folder, _) = tiny.Train(Options());
        Assert.Contains("\n  dropout: 0\n", File.ReadAllText(folder.Config), StringComparison.Ordinal);
    }

    [Fact]
    public void Features_give_the_same_bits_as_computing_at_every_step()
    {
        // In the batches in which features are computed, which padded ones are not: in others, libtorch may round otherwise.
        RunOptions options = Options(padded: false).Change(o => o with { Schedule = o.Schedule with { Shuffle = false, PerDeviceTrainBatchSize = 64 } });
        (RunFolder each, JsonObject expected) = tiny.Train(options with { Model = options.Model with { FeatureCache = "none" } });
        StepReport[] reports = [.. tiny.Reports];
        (RunFolder once, JsonObject results) = tiny.Train(options);
        Assert.Equal(TinyRun.AdapterBytes(each), TinyRun.AdapterBytes(once));
        Assert.Equal(expected["metrics"]!.ToJsonString(), results["metrics"]!.ToJsonString());
        Assert.Equal(reports.Select(report => (report.Loss, report.GradientNorm)), tiny.Reports.Select(report => (report.Loss, report.GradientNorm)));
        Assert.Equal(File.ReadAllText(Path.Combine(each.Path, "predictions.jsonl")), File.ReadAllText(Path.Combine(once.Path, "predictions.jsonl")));

        tiny.Train(Options() with { Model = Options().Model with { FeatureCache = "none" } });
        reports = [.. tiny.Reports];
        tiny.Train(Options());
        Assert.All(reports.Zip(tiny.Reports), pair => Assert.Equal(pair.First.Loss, pair.Second.Loss, 1e-5));
    }

    [Fact]
    public void They_are_the_same_from_memory_and_from_the_disk_and_are_computed_once()
    {
        (RunFolder memory, JsonObject expected) = tiny.Train(Options() with { Model = Options().Model with { FeatureCache = "memory" } });
        Assert.Empty(Files);
        Assert.Equal(["train", "validation", "test"], Computed());
        (RunFolder first, JsonObject results) = tiny.Train(Options());
        Assert.Equal(3, Files.Length);
        Assert.Equal(["train", "validation", "test"], Computed());
        Assert.Contains(FeatureCache.Folder, Assert.Single(tiny.Notes), StringComparison.Ordinal);
        (RunFolder second, JsonObject again) = tiny.Train(Options() with { Optimizer = Options().Optimizer with { LearningRate = 0.05 }, Evaluation = Options().Evaluation with { PerDeviceEvalBatchSize = 64 } });
        Assert.Empty(Computed());
        Assert.Contains(FeatureCache.Folder, Assert.Single(tiny.Notes), StringComparison.Ordinal);
        foreach (RunFolder folder in new[] { first, second }) Assert.Equal(TinyRun.AdapterBytes(memory), TinyRun.AdapterBytes(folder));
        foreach (JsonObject one in new[] { results, again })
        {
            Assert.Equal(expected["metrics"]!.ToJsonString(), one["metrics"]!.ToJsonString());
            Assert.True((double)one["feature_seconds"]! > 0);
        }
        // The learning rate is not part of what they are.
        tiny.Train(Options() with { Optimizer = Options().Optimizer with { LearningRate = 0.01 }, Schedule = Options().Schedule with { MaxSteps = 3 } });
        Assert.Empty(Computed());
    }

    [Fact]
    public void A_finished_run_scores_again_to_the_same_bits()
    {
        (RunFolder folder, JsonObject results) = tiny.Train(Options());
        foreach (string split in new[] { "validation", "test" })
        {
            using Finetuning run = Finetuning.Open(folder.Path, withData: true);
            Assert.Equal(results["metrics"]![split]!.ToJsonString(), TinyRun.Json(run.Score(split, 64, CancellationToken.None)!));
        }
        Assert.Equal(3, Files.Length);
    }

    [Fact]
    public void Whatever_they_follow_from_gives_others()
    {
        var known = new HashSet<string>();
        void Adds(int files, RunOptions options)
        {
            tiny.Train(options with { Schedule = options.Schedule with { MaxSteps = 2 } });
            Assert.Equal(files, Files.Count(known.Add));
        }
        Adds(3, Options());
        Adds(0, Options() with { Model = Options().Model with { Policy = "output,output", Dropout = 0 }, Optimizer = Options().Optimizer with { Optim = "sgd" } });
        Adds(3, Options() with { Seed = 1 });
        Adds(3, Options() with { Model = Options().Model with { InitSeed = 1 } });
        Adds(3, Options() with { Model = Options().Model with { Readout = "last" } });
        Adds(3, Options() with { Model = Options().Model with { FrozenDtype = "bfloat16" } });
        Adds(1, Options(numbers => numbers[(75 * 5 * 2) + 1] += 1e-3f));  // in the middle of the training rows only
        // The same weights, another computation.
        Directory.CreateDirectory(tiny["other"]);
        File.WriteAllText(Path.Combine(tiny["other"], "config.json"), File.ReadAllText(Path.Combine(Options().Model.Backbone, "config.json")).Replace("\"n_head\": 2", "\"n_head\": 4", StringComparison.Ordinal));
        Adds(3, Options() with { Model = Options().Model with { Backbone = tiny["other"] } });
    }

    [Theory]
    [InlineData("cut")]
    [InlineData("flipped")]
    [InlineData("empty")]
    [InlineData("text")]
    [InlineData("foreign")]
    [InlineData("renamed")]
    public void A_file_that_cannot_be_trusted_is_computed_again(string damage)
    {
        (RunFolder folder, _) = tiny.Train(Options());
        Dictionary<string, byte[]> whole = Files.ToDictionary(file => file, File.ReadAllBytes);
        foreach ((string file, byte[] bytes) in whole)
        {
            byte[] spoiled = damage switch
            {
                "cut" => bytes[..^9],
                "flipped" => [.. bytes[..^9], (byte)(bytes[^9] ^ 1), .. bytes[^8..]],
                "empty" => [],
                "text" => "not a tensor in sight"u8.ToArray(),
                "renamed" => whole.First(pair => pair.Key != file).Value,
                _ => Foreign(),
            };
            File.WriteAllBytes(file, spoiled);
        }
        Assert.Equal(TinyRun.AdapterBytes(folder), TinyRun.AdapterBytes(tiny.Train(Options()).Folder));
        Assert.Equal(3, Computed().Length);
        Assert.All(whole, pair => Assert.Equal(pair.Value, File.ReadAllBytes(pair.Key)));

        byte[] Foreign()
        {
            SafetensorsWriter.Write(tiny["foreign.safetensors"], new Dictionary<string, Tensor> { ["features"] = torch.ones([3]) }, new Dictionary<string, string> { ["key"] = "x", ["tokens"] = "y" });
            return File.ReadAllBytes(tiny["foreign.safetensors"]);
        }
    }

    [Fact]
    public void Without_a_place_to_write_the_run_goes_on_in_memory()
    {
        (RunFolder folder, _) = tiny.Train(Options());
        File.WriteAllText(tiny["file"], "");
        Environment.SetEnvironmentVariable("PERMAFROST_HOME", tiny["file"]);
        Assert.Equal(TinyRun.AdapterBytes(folder), TinyRun.AdapterBytes(tiny.Train(Options()).Folder));
        Assert.Equal(3, tiny.Notes.Count);
        Assert.All(tiny.Notes, note => Assert.StartsWith("features are kept in memory only: cannot write", note, StringComparison.Ordinal));
    }

    [Fact]
    public void Endless_examples_and_dropout_are_computed_at_every_step()
    {
        RunOptions endless = tiny.Options with { Model = tiny.Options.Model with { Policy = "output", FeatureCache = "disk" } };
        (RunFolder folder, _) = tiny.Train(endless);
        Assert.Equal(["validation", "test"], Computed());
        Assert.Equal(2, Files.Length);
        Assert.Equal(TinyRun.AdapterBytes(folder), TinyRun.AdapterBytes(tiny.Train(endless with { Model = endless.Model with { FeatureCache = "none" } }).Folder));
        foreach (RunOptions options in new[] { Options() with { Model = Options().Model with { Dropout = 0.1 } }, Options() with { Model = Options().Model with { Policy = "output,ln" } }, Options() with { Model = Options().Model with { FeatureCache = "none" } } })
        {
            (_, JsonObject results) = tiny.Train(options);
            Assert.Empty(Computed());
            Assert.False(results.ContainsKey("feature_seconds"));
        }
        Assert.Equal(2, Files.Length);
        using Finetuning run = Finetuning.Prepare(endless);
        run.Model.train();
        Assert.False(run.Model.Read(torch.ones([2, 10, 1]), null).requires_grad);  // nothing below what trains is differentiated
    }

    [Fact]
    public void A_stopped_run_goes_on_as_if_it_never_was_wherever_its_features_are()
    {
        (RunFolder whole, _) = tiny.Train(Options());
        foreach ((int stopAt, string cache) in new[] { (0, "memory"), (4, "memory"), (9, "disk") })
        {
            RunFolder folder = RunFolder.Create(tiny.NewFolder());
            Assert.Equal(75, Assert.Throws<StoppedException>(() => Train(Options() with { Model = Options().Model with { FeatureCache = stopAt == 0 ? "memory" : "disk" } }, folder, stopAt)).ExitCode);
            string checkpoint = Checkpoint.Newest(folder, message => Assert.Fail(message));
            Assert.Equal($"checkpoint-{stopAt}", Path.GetFileName(checkpoint));
            using (Finetuning other = Finetuning.Prepare(Options() with { Model = Options().Model with { FeatureCache = "none" } }))
                Refusal.OfUsage("features was computed on", () => other.CheckSameRun(checkpoint, []));
            Train(Options() with { Model = Options().Model with { FeatureCache = cache } }, folder, -1, checkpoint);
            Assert.Equal(TinyRun.AdapterBytes(whole), TinyRun.AdapterBytes(folder));
        }

        // 0: while features are computed.
        void Train(RunOptions options, RunFolder folder, int stopAt, string? checkpoint = null)
        {
            using var stop = new StopRequest();
            tiny.OnStep = report => { if (report.Step == stopAt) stop.Ask(StopReason.Preempted); };
            tiny.OnProgress = () => { if (stopAt == 0) stop.Ask(StopReason.Preempted); };
            using Finetuning run = Finetuning.Prepare(options);
            if (checkpoint is not null) run.CheckSameRun(checkpoint, []);
            run.Train(folder, "", tiny, stop, checkpoint);
        }
    }

    [Fact]
    public void The_cache_keeps_what_was_used_last_within_its_bound()
    {
        var tensors = new Dictionary<string, Tensor> { ["features"] = torch.ones([1000]) };
        foreach (string key in new[] { "a", "b", "c" })
        {
            FeatureCache.Store(key, tensors, 1);
            File.SetLastWriteTimeUtc(Path.Combine(FeatureCache.Folder, key + ".safetensors"), new DateTime(2020, 1, 1 + key[0] - 'a', 0, 0, 0, DateTimeKind.Utc));
        }
        File.WriteAllText(Path.Combine(FeatureCache.Folder, "left.safetensors.1.tmp"), "");
        File.SetLastWriteTimeUtc(Path.Combine(FeatureCache.Folder, "left.safetensors.1.tmp"), new DateTime(2020, 1, 1, 0, 0, 0, DateTimeKind.Utc));
        foreach (Tensor tensor in FeatureCache.Load("a")!.Value.Tensors.Values) tensor.Dispose();  // used again
        (int files, long bytes) = FeatureCache.Size;
        Assert.Equal(3, files);
        FeatureCache.Store("d", tensors, 1, most: bytes);
        Assert.Equal(["a", "c", "d"], Files.Select(Path.GetFileNameWithoutExtension));
        FeatureCache.Store("e", tensors, 1, most: 0);
        Assert.Equal(["e"], Files.Select(Path.GetFileNameWithoutExtension));
    }

    private string[] Computed() => [.. tiny.Phases.Where(phase => phase.StartsWith("computing features", StringComparison.Ordinal)).Select(phase => phase.Split(' ')[^2])];
}
