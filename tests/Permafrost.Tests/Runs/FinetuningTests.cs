using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Runs;
using Permafrost.Tasks.Metrics;
using Permafrost.Training;

namespace Permafrost.Tests.Runs;

/// <summary>Whole runs, from options to files. Dropout draws from the process's default generator, so that nothing else may run meanwhile.</summary>
[Collection(ProcessWide.Name)]
public class FinetuningTests : IDisposable
{
    private readonly TinyRun tiny = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        tiny.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void A_run_on_a_preset_behind_a_folder_opens_again()
    {
        string before = Environment.CurrentDirectory;
        Directory.CreateDirectory(tiny["gpt2-tiny"]);
        Environment.CurrentDirectory = Path.GetDirectoryName(tiny["gpt2-tiny"])!;
        try
        {
            (RunFolder folder, _) = tiny.Train(tiny.Options with { Model = tiny.Options.Model with { Backbone = "gpt2-tiny" }, Schedule = tiny.Options.Schedule with { MaxSteps = 1 } });
            Finetuning.Open(folder.Path, withData: false).Dispose();
        }
        finally
        {
            Environment.CurrentDirectory = before;
        }
    }

    [Fact]
    public void A_run_may_go_on_after_a_commit_that_changed_no_number_of_the_version()
    {
        using Finetuning run = Finetuning.Prepare(tiny.Options);
        Assert.Matches(@"^\d+\.\d+\.\d+$", run.Identity().PermafrostVersion);
    }

    [Fact]
    public void A_run_with_patience_is_opened_on_data_without_validation()
    {
        Tensor inputs = torch.arange(8, ScalarType.Float32).view(8, 1, 1), targets = Tensors.From([0L, 1, 0, 1, 0, 1, 0, 1]);
        RunOptions options = tiny.On(("inputs", inputs), ("targets", targets), ("validation.inputs", inputs), ("validation.targets", targets));
        options = options with { Evaluation = options.Evaluation with { EarlyStoppingPatience = 2, EvalSteps = 2 } };
        (RunFolder folder, _) = tiny.Train(options);
        SafetensorsWriter.Write(tiny["other.safetensors"], [KeyValuePair.Create("inputs", inputs), KeyValuePair.Create("targets", targets)]);
        Finetuning.Open(folder.Path, withData: true, saved => saved with { Data = saved.Data with { Path = tiny["other.safetensors"] } }).Dispose();
    }

    [Fact]
    public void A_saved_run_with_patience_and_no_eval_steps_still_opens()
    {
        (RunFolder folder, _) = tiny.Train(tiny.Options with { Schedule = tiny.Options.Schedule with { MaxSteps = 1 } });
        string text = File.ReadAllText(folder.Config);
        File.WriteAllText(folder.Config, text.Replace("early_stopping_patience: 0", "early_stopping_patience: 3", StringComparison.Ordinal));
        Assert.Contains("early_stopping_patience: 3", File.ReadAllText(folder.Config), StringComparison.Ordinal);
        Finetuning.Open(folder.Path, withData: false).Dispose();
    }

    [Fact]
    public void A_run_on_gpt2_tiny_leaves_frozen_weights_alone_and_writes_all_its_files()
    {
        RunOptions options = tiny.Options with { Model = tiny.Options.Model with { Backbone = "gpt2-tiny" }, Schedule = tiny.Options.Schedule with { MaxSteps = 3 }, Evaluation = tiny.Options.Evaluation with { EvalSteps = 2, Baselines = true } };
        string frozen, moved;
        RunFolder folder = RunFolder.Create(tiny.NewFolder());
        JsonObject results;
        using (Finetuning run = Finetuning.Prepare(options))
        {
            (frozen, moved) = (run.Model.FrozenSha256(), Sha(run));
            using var stop = new StopRequest();
            results = run.Train(folder, "permafrost finetune", tiny, stop).ToJson();
            Assert.Equal(frozen, run.Model.FrozenSha256());
            Assert.NotEqual(moved, Sha(run));
        }
        string[] names = [.. Directory.GetFileSystemEntries(folder.Path).Select(path => Path.GetFileName(path))];
        Assert.All(["config.yaml", "command.txt", "env.json", "metrics.jsonl", "results.json", "predictions.jsonl", "adapter", "checkpoint-3"], name => Assert.Contains(name, names));
        Assert.DoesNotContain(names, name => name.EndsWith(".tmp", StringComparison.Ordinal));
        Assert.Equal(1000, File.ReadLines(Path.Combine(folder.Path, "predictions.jsonl")).Count());
        JsonObject saved = JsonFile.Read(folder.Results);
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(results.ToJsonString()), saved));
        // DESIGN section 6.
        string[] keys = ["task", "task_version", "backbone", "backbone_sha256", "init", "policy", "seed", "steps", "learning_rate", "parameters", "metrics", "baselines", "frozen_unchanged", "seconds", "tokens_per_second", "peak_memory_bytes"];
        Assert.All(keys, key => Assert.True(saved.ContainsKey(key), key));
        Assert.Equal(("bit-xor", "gpt2-tiny", "random", "fpt", 3), ((string?)saved["task"], (string?)saved["backbone"], (string?)saved["init"], (string?)saved["policy"], (int)saved["steps"]!));
        Assert.True((bool)saved["frozen_unchanged"]!);
        Assert.Equal((10, 1000), ((int)saved["parameters"]!["position_rows_used"]!, (int)saved["metrics"]!["test"]!["count"]!));

        JsonObject adapter = JsonFile.Read(Path.Combine(folder.Adapter, "adapter_config.json"));
        Assert.All(["task", "policy", "backbone", "backbone_sha256", "shape", "labels", "preprocessing"], key => Assert.True(adapter.ContainsKey(key), key));
        Assert.Equal("one bit, 0 or 1", (string?)adapter["preprocessing"]!["token"]);

        JsonObject[] lines = [.. File.ReadLines(folder.Metrics).Select(line => JsonNode.Parse(line)!.AsObject())];
        Assert.Equal([1, 2, 3], lines.Where(line => line.ContainsKey("train/loss")).Select(line => (int)line["step"]!));
        Assert.Equal([2, 3], lines.Where(line => line.ContainsKey("eval/accuracy")).Select(line => (int)line["step"]!));
        Assert.All(lines, line => Assert.InRange((double)line["time"]!, 1.7e9, 1e11));
    }

    [Fact]
    public void The_same_seed_gives_the_same_bytes_and_another_does_not()
    {
        RunOptions options = tiny.Options with { Schedule = tiny.Options.Schedule with { MaxSteps = 20 } };
        byte[] first = TinyRun.AdapterBytes(tiny.Train(options).Folder);
        double[] losses = [.. tiny.Reports.Select(report => report.Loss)];
        Assert.Equal(first, TinyRun.AdapterBytes(tiny.Train(options).Folder));
        Assert.Equal(losses, tiny.Reports.Select(report => report.Loss));
        Assert.NotEqual(first, TinyRun.AdapterBytes(tiny.Train(options with { Seed = 1 }).Folder));
        Assert.NotEqual(first, TinyRun.AdapterBytes(tiny.Train(options with { Model = options.Model with { InitSeed = 1 } }).Folder));
        Assert.NotEqual(first, TinyRun.AdapterBytes(tiny.Train(options with { Model = options.Model with { Dropout = 0 } }).Folder));
    }

    [Fact]
    public void The_saved_configuration_runs_again_to_the_same_result()
    {
        RunOptions options = tiny.Options with { Schedule = tiny.Options.Schedule with { MaxSteps = 5, LrSchedulerType = "linear", WarmupSteps = 2 }, Optimizer = tiny.Options.Optimizer with { Optim = "adamw", WeightDecay = 0.01 }, Data = tiny.Options.Data with { TaskOptions = new Dictionary<string, string> { ["length"] = "3" } } };
        (RunFolder folder, JsonObject results) = tiny.Train(options);
        (RunFolder again, JsonObject repeated) = tiny.Train(RunConfig.Load(folder.Config, new RunOptions()));
        Assert.Equal(TinyRun.AdapterBytes(folder), TinyRun.AdapterBytes(again));
        Assert.Equal(results["metrics"]!.ToJsonString(), repeated["metrics"]!.ToJsonString());
        Assert.Equal(File.ReadAllText(Path.Combine(folder.Path, "predictions.jsonl")), File.ReadAllText(Path.Combine(again.Path, "predictions.jsonl")));
    }

    [Fact]
    public void Logging_and_evaluating_do_not_change_the_training()
    {
        RunOptions options = tiny.Options with { Schedule = tiny.Options.Schedule with { MaxSteps = 7 }, Evaluation = tiny.Options.Evaluation with { LoadBestModelAtEnd = false } };
        byte[] quiet = TinyRun.AdapterBytes(tiny.Train(options with { Checkpoints = options.Checkpoints with { LoggingSteps = 100 } }).Folder);
        Assert.Equal(quiet, TinyRun.AdapterBytes(tiny.Train(options with { Evaluation = options.Evaluation with { EvalSteps = 2, PerDeviceEvalBatchSize = 7, Baselines = true }, Checkpoints = options.Checkpoints with { LoggingSteps = 3 } }).Folder));
    }

    [Fact]
    public void A_finished_run_opens_again_with_the_same_answers()
    {
        (RunFolder folder, JsonObject results) = tiny.Train(tiny.Options with { Schedule = tiny.Options.Schedule with { MaxSteps = 5 } });
        using Finetuning run = Finetuning.Open(folder.Path, withData: true);
        Scores scores = Evaluator.Evaluate(run.Model, run.Data!.Test!, 64, torch.CPU);
        Assert.Equal(results["metrics"]!["test"]!.ToJsonString(), TinyRun.Json(scores));
        string refusal = Refusal.Of(folder.Path, () => Finetuning.Open(folder.Path, false, options => options with { Model = options.Model with { InitSeed = 5 } }));
        Assert.Contains($"is not the one that {folder.Path} was trained on, {tiny.Options.Model.Backbone} (init random, seed 0) (SHA-256 ", refusal, StringComparison.Ordinal);
        File.Delete(Path.Combine(folder.Adapter, "adapter_config.json"));
        Refusal.Of("adapter_config.json", () => Finetuning.Open(folder.Path, false));
    }

    [Fact]
    public void A_damaged_adapter_configuration_is_refused()
    {
        (RunFolder folder, _) = tiny.Train(tiny.Options with { Schedule = tiny.Options.Schedule with { MaxSteps = 1 } });
        string path = Path.Combine(folder.Adapter, "adapter_config.json");
        JsonObject whole = JsonFile.Read(path);
        foreach (string key in new[] { "shape", "readout", "labels", "backbone_sha256" })
        {
            foreach (JsonNode? wrong in new JsonNode?[] { null, 5, "x", new JsonArray(1) })
            {
                var broken = (JsonObject)whole.DeepClone();
                broken[key] = wrong?.DeepClone();
                RunFolder.WriteJson(path, broken);
                Exception? error = Record.Exception(() => Finetuning.Open(folder.Path, false).Dispose());
                Assert.True(error is PermafrostException, $"{key}: {wrong?.ToJsonString() ?? "null"}: {error}");
            }
        }
    }

    [Fact]
    public void Start_values_come_from_an_adapter_file()
    {
        SafetensorsWriter.Write(tiny["start.safetensors"], [KeyValuePair.Create("output_layer.bias", Tensors.From([100f, 0])), KeyValuePair.Create("transformer.ln_f.bias", torch.full([8], 0.5))]);
        using Finetuning run = Finetuning.Prepare(tiny.Options with { Model = tiny.Options.Model with { InitAdapter = tiny["start.safetensors"] } });
        Assert.Equal([100f, 0], run.Model.Adapter()["output_layer.bias"].ToArray<float>());
        Assert.Equal(0.5, run.Model.Adapter()["ln_f.bias"].mean().Number());
    }

    [Fact]
    public void A_folder_that_holds_a_run_is_not_used_again()
    {
        (RunFolder folder, _) = tiny.Train(tiny.Options with { Schedule = tiny.Options.Schedule with { MaxSteps = 1 } });
        Refusal.OfUsage(folder.Path, () => RunFolder.Create(folder.Path));
    }

    [Fact]
    public void Epochs_are_counted_in_batches_and_steps_go_before_them()
    {
        RunOptions options = tiny.On(("inputs", torch.ones([10, 2, 1])), ("targets", torch.zeros([10], ScalarType.Int64))).Change(o => o with { Schedule = o.Schedule with { MaxSteps = null, PerDeviceTrainBatchSize = 4 } });
        long Steps(RunOptions one)
        {
            using Finetuning run = Finetuning.Prepare(one);
            return run.Steps;
        }
        Assert.Equal(3, Steps(options with { Schedule = options.Schedule with { NumTrainEpochs = 1 } }));
        Assert.Equal(8, Steps(options with { Schedule = options.Schedule with { NumTrainEpochs = 2.5 } }));
        Assert.Equal(1, Steps(options with { Schedule = options.Schedule with { NumTrainEpochs = 0.001 } }));
        Assert.Equal(5, Steps(options with { Schedule = options.Schedule with { NumTrainEpochs = 1, MaxSteps = 5 } }));
        Assert.Equal(2000, Steps(options));
        Refusal.OfUsage("`num_train_epochs`", () => Steps(tiny.Options with { Schedule = tiny.Options.Schedule with { MaxSteps = null, NumTrainEpochs = 1 } }));
    }

    private static string Sha(Finetuning run) => Permafrost.Models.WeightHash.Of(run.Model.Trained.Select(parameter => (parameter.Name, parameter.Parameter)));
}
