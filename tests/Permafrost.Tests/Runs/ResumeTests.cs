using System.Text.Json.Nodes;
using Permafrost.Kernels;
using Permafrost.Runs;

namespace Permafrost.Tests.Runs;

/// <summary>Stopped and resumed is never stopped, bit for bit; and gradients added up are one large batch.</summary>
[Collection(ProcessWide.Name)]
public class ResumeTests : IDisposable
{
    private readonly TinyRun tiny = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        tiny.Dispose();
        GC.SuppressFinalize(this);
    }

    private RunOptions Options => tiny.Options with { Schedule = tiny.Options.Schedule with { MaxSteps = 9, LrSchedulerType = "linear", WarmupSteps = 3 }, Evaluation = tiny.Options.Evaluation with { EvalSteps = 4 }, Checkpoints = tiny.Options.Checkpoints with { SaveSteps = 5 }, Optimizer = tiny.Options.Optimizer with { WeightDecay = 0.01, Optim = "adamw" } };

    [Theory]
    [InlineData(1, "float32")]
    [InlineData(4, "bfloat16")]  // right before a validation
    [InlineData(5, "float32")]  // at a regular checkpoint
    [InlineData(5, "bfloat16")]
    [InlineData(8, "bfloat16")]
    public void A_run_stopped_at_any_step_goes_on_as_if_it_never_was(int stopAt, string frozen)
    {
        RunOptions options = Options with { Model = Options.Model with { FrozenDtype = frozen } };
        (RunFolder whole, JsonObject expected) = tiny.Train(options);
        RunFolder folder = Stopped(options, stopAt);
        Assert.Equal([$"checkpoint-{stopAt}"], Checkpoint.All(folder).Select(Path.GetFileName).TakeLast(1));
        Assert.False(Directory.Exists(folder.Adapter));
        torch.manual_seed(12345);  // what another process would have drawn

        JsonObject results = Resume(options, folder);
        Assert.Equal(TinyRun.AdapterBytes(whole), TinyRun.AdapterBytes(folder));
        Assert.Equal(expected["metrics"]!.ToJsonString(), results["metrics"]!.ToJsonString());
        Assert.Equal(File.ReadAllText(Path.Combine(whole.Path, "predictions.jsonl")), File.ReadAllText(Path.Combine(folder.Path, "predictions.jsonl")));
        Assert.Equal(Lines(whole), Lines(folder));
    }

    [Fact]
    public void A_run_with_batches_by_length_goes_on_as_if_it_never_stopped()
    {
        RunOptions options = ByLength() with { Schedule = ByLength().Schedule with { MaxSteps = 9 } };
        (RunFolder whole, _) = tiny.Train(options);
        RunFolder folder = Stopped(options, 4);
        Resume(options, folder);
        Assert.Equal(TinyRun.AdapterBytes(whole), TinyRun.AdapterBytes(folder));
        Assert.Equal(Lines(whole), Lines(folder));
        Assert.NotEqual(TinyRun.AdapterBytes(whole), TinyRun.AdapterBytes(tiny.Train(options with { Schedule = options.Schedule with { GroupByLength = false } }).Folder));
        using Finetuning other = Finetuning.Prepare(options with { Schedule = options.Schedule with { GroupByLength = false } });
        Refusal.OfUsage("group_by_length was true, is false", () => other.CheckSameRun(Checkpoint.All(folder)[^1], []));
    }

    [Fact]
    public void Batches_by_length_are_refused_where_there_are_no_lengths()
    {
        Refusal.OfUsage("`group_by_length`: the task generates examples without end", () => Finetuning.Prepare(Options with { Schedule = Options.Schedule with { GroupByLength = true } }));
        Refusal.OfUsage("`shuffle` off", () => Finetuning.Prepare(ByLength() with { Schedule = ByLength().Schedule with { Shuffle = false } }));
        Refusal.OfUsage("`group_by_length`: the training examples all have the same length",
            () => Finetuning.Prepare(Options with { Data = Options.Data with { Task = "listops@published", TaskOptions = new Dictionary<string, string> { ["train_examples"] = "9" } }, Schedule = Options.Schedule with { GroupByLength = true } }));
        RunOptions unmasked = tiny.On(("inputs", torch.ones([10, 2, 1])), ("targets", torch.zeros([10], ScalarType.Int64))).Change(o => o with { Schedule = o.Schedule with { Shuffle = true, GroupByLength = true } });
        Refusal.OfUsage("`group_by_length`: the training examples all have the same length", () => Finetuning.Prepare(unmasked));
    }

    // 40 rows of 1 to 5 tokens, the rest padding.
    private RunOptions ByLength() => tiny.On(
        ("inputs", torch.arange(40 * 5 * 2, ScalarType.Float32).view(40, 5, 2) * 0.01), ("targets", Tensors.From([.. Enumerable.Range(0, 40).Select(i => i % 3L)], 40)),
        ("mask", Tensors.From([.. Enumerable.Range(0, 200).Select(i => i % 5 <= i / 5 * 7 % 5 ? 1L : 0)], 40, 5))).Change(o => o with { Schedule = o.Schedule with { Shuffle = true, GroupByLength = true, PerDeviceTrainBatchSize = 3 }, Evaluation = o.Evaluation with { EvalSteps = 4 }, Model = o.Model with { Dropout = 0.1 } });

    [Fact]
    public void A_run_may_stop_again_and_again()
    {
        (RunFolder whole, _) = tiny.Train(Options);
        RunFolder folder = Stopped(Options, 2);
        foreach (int step in new[] { 3, 7 }) Assert.Equal(75, Assert.Throws<StoppedException>(() => Resume(Options, folder, step)).ExitCode);
        Resume(Options, folder);
        Assert.Equal(TinyRun.AdapterBytes(whole), TinyRun.AdapterBytes(folder));
    }

    [Fact]
    public void A_checkpoint_of_another_run_is_refused_with_what_differs()
    {
        RunFolder folder = Stopped(Options, 2);
        foreach ((string name, RunOptions other) in new[] { ("seed", Options with { Seed = 1 }), ("frozen_dtype", Options with { Model = Options.Model with { FrozenDtype = "float32" } }), ("learning_rate", Options with { Optimizer = Options.Optimizer with { LearningRate = 0.5 } }), ("backbone_sha256", Options with { Model = Options.Model with { InitSeed = 3 } }) })
        {
            using Finetuning run = Finetuning.Prepare(other);
            Refusal.OfUsage($"{name} was ", () => run.CheckSameRun(Checkpoint.All(folder)[^1], []));
        }
    }

    [Fact]
    public void A_damaged_checkpoint_is_passed_over_for_the_one_before()
    {
        RunFolder folder = Stopped(Options, 8);
        string newest = Checkpoint.All(folder)[^1];
        string file = Path.Combine(newest, "optimizer.safetensors");
        byte[] bytes = File.ReadAllBytes(file);
        bytes[^1] ^= 1;
        File.WriteAllBytes(file, bytes);
        Refusal.Of(newest, () => Checkpoint.Verify(newest));
        var warnings = new List<string>();
        Assert.Equal("checkpoint-5", Path.GetFileName(Checkpoint.Newest(folder, warnings.Add)));
        Assert.Contains("optimizer.safetensors", Assert.Single(warnings), StringComparison.Ordinal);
        File.Delete(Path.Combine(Checkpoint.All(folder)[0], "manifest.json"));
        Refusal.Of(folder.Path, () => Checkpoint.Newest(folder, warnings.Add));
    }

    [Theory]
    [InlineData("changed")]
    [InlineData("gone")]
    [InlineData("later")]
    public void What_is_best_is_what_the_checkpoint_says(string best)
    {
        RunOptions options = Misleading();
        (RunFolder whole, JsonObject expected) = tiny.Train(options);
        Assert.InRange((long)expected["scored_step"]!, 1, 8);
        RunFolder folder = Stopped(options, 9);
        if (best == "gone") Directory.Delete(folder.Best, recursive: true);
        else
        {
            string file = Path.Combine(folder.Best, "adapter_model.safetensors");
            byte[] bytes = best == "changed" ? File.ReadAllBytes(file) : File.ReadAllBytes(Path.Combine(Checkpoint.All(folder)[^1], "adapter_model.safetensors"));
            bytes[^1] ^= 1;
            File.WriteAllBytes(file, bytes);
        }
        JsonObject results = Resume(options, folder);
        Assert.Equal(TinyRun.AdapterBytes(whole), TinyRun.AdapterBytes(folder));
        Assert.Equal((long)expected["scored_step"]!, (long)results["scored_step"]!);
    }

    [Fact]
    public void What_is_best_must_be_somewhere()
    {
        RunFolder folder = Stopped(Misleading() with { Evaluation = Misleading().Evaluation with { LoadBestModelAtEnd = false } }, 9);
        Assert.False(Directory.Exists(folder.Best));
        using Finetuning run = Finetuning.Prepare(Misleading());
        string newest = Checkpoint.All(folder)[^1];
        run.CheckSameRun(newest, ["load_best_model_at_end"]);
        using var stop = new StopRequest();
        Refusal.Of("`load_best_model_at_end` off", () => run.Train(folder, "permafrost finetune (a test)", tiny, stop, newest));
        // And while it runs, best/ is not there to be removed.
        RunFolder other = RunFolder.Create(tiny.NewFolder());
        using Finetuning again = Finetuning.Prepare(Misleading() with { Checkpoints = Misleading().Checkpoints with { SaveSteps = 7 } });
        tiny.OnStep = report => { if (report.Step == 6) Directory.Delete(other.Best, recursive: true); };
        Refusal.Of(other.Best, () => again.Train(other, "permafrost finetune (a test)", tiny, stop));
        tiny.OnStep = null;
        Assert.Equal(7, tiny.Reports[^1].Step);
    }

    [Fact]
    public void Checkpoints_of_a_course_that_was_left_go_with_the_next_one()
    {
        RunOptions options = Options with { Checkpoints = Options.Checkpoints with { SaveSteps = 2, SaveTotalLimit = 10 } };
        RunFolder folder = Stopped(options, 7);
        Assert.Equal([2L, 4, 6, 7], Checkpoint.All(folder).Select(path => long.Parse(Path.GetFileName(path)["checkpoint-".Length..])));
        string earlier = Checkpoint.All(folder)[1];
        using Finetuning run = Finetuning.Prepare(options);
        run.CheckSameRun(earlier, []);
        Assert.Throws<StoppedException>(() => Train(run, folder, 5, earlier));
        Assert.Equal("checkpoint-5", Path.GetFileName(Checkpoint.Newest(folder, _ => { })));
        Resume(options, folder);
        Assert.Equal(TinyRun.AdapterBytes(tiny.Train(options).Folder), TinyRun.AdapterBytes(folder));
    }

    [Fact]
    public void Smaller_batches_for_scoring_are_kept_and_may_be_asked_for()
    {
        RunFolder folder = Stopped(Options, 2);
        string identity = Path.Combine(Checkpoint.All(folder)[^1], "run_identity.json");
        File.WriteAllText(identity, File.ReadAllText(identity).Replace("\"micro_batch_size\":", "\"eval_batch_size\": 16, \"micro_batch_size\":", StringComparison.Ordinal));
        foreach ((int wanted, int taken) in new[] { (64, 16), (16, 16), (8, 8) })
        {
            using Finetuning run = Finetuning.Prepare(Options with { Evaluation = Options.Evaluation with { PerDeviceEvalBatchSize = wanted } });
            run.CheckSameRun(Checkpoint.All(folder)[^1], []);
            Assert.Equal(taken, run.EvalBatchSize);
        }
    }

    // What is right in training is wrong in validation, whose first score therefore stays the best.
    private RunOptions Misleading()
    {
        using var random = new Generator(3);
        Tensor inputs = torch.empty([64, 3, 2]).normal_(0, 1, random), targets = Tensors.From([.. inputs.select(1, 2).select(1, 0).ToArray<float>().Select(x => x > 0 ? 1L : 0)], 64);
        return tiny.On(("inputs", inputs), ("targets", targets), ("validation.inputs", inputs), ("validation.targets", targets.eq(0).to(ScalarType.Int64))).Change(o => o with { Model = o.Model with { Policy = "*", Dropout = 0 }, Schedule = o.Schedule with { MaxSteps = 12, PerDeviceTrainBatchSize = 16 }, Evaluation = o.Evaluation with { EvalSteps = 2 }, Optimizer = o.Optimizer with { LearningRate = 0.03 } });
    }

    [Theory]
    [InlineData("inputs")]
    [InlineData("targets")]
    [InlineData("test.targets")]
    public void Another_example_anywhere_is_another_run(string changed)
    {
        RunOptions Data(string? other)
        {
            (string Name, Tensor Tensor)[] tensors =
            [
                ("inputs", torch.arange(600, ScalarType.Float32).view(100, 3, 2)), ("targets", torch.zeros([100], ScalarType.Int64)),
                ("test.inputs", torch.ones([100, 3, 2])), ("test.targets", torch.ones([100], ScalarType.Int64)),
            ];
            foreach ((string name, Tensor tensor) in tensors) if (name == other) tensor.select(0, 50).fill_(1 - tensor.select(0, 50).to(ScalarType.Float32).mean().Number());
            return tiny.On(tensors).Change(o => o with { Schedule = o.Schedule with { MaxSteps = 4 } });
        }
        RunFolder folder = Stopped(Data(null), 2);
        using (Finetuning same = Finetuning.Prepare(Data(null))) same.CheckSameRun(Checkpoint.All(folder)[^1], []);
        using Finetuning run = Finetuning.Prepare(Data(changed));
        Refusal.OfUsage("data_sha256 was ", () => run.CheckSameRun(Checkpoint.All(folder)[^1], []));
    }

    [Fact]
    public void The_same_examples_in_another_order_are_another_run()
    {
        RunOptions options = ByLength();
        RunFolder folder = Stopped(options, 2);
        using (var file = new Permafrost.Formats.Safetensors.SafetensorsFile(options.Data.Path!))
        {
            Tensor order = Tensors.From([1L, 0, .. Enumerable.Range(2, 38).Select(i => (long)i)], 40);
            tiny.On([.. new[] { "inputs", "targets", "mask" }.Select(name => (name, file.Read(name).index_select(0, order)))]);
        }
        using Finetuning run = Finetuning.Prepare(options);
        Refusal.OfUsage("data_sha256 was ", () => run.CheckSameRun(Checkpoint.All(folder)[^1], []));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_run_that_is_stopped_before_its_first_new_step_remembers_what_it_was_to_become(bool killed)
    {
        RunOptions options = Options with { Schedule = Options.Schedule with { LrSchedulerType = "constant_with_warmup" }, Checkpoints = Options.Checkpoints with { SaveSteps = 2, SaveTotalLimit = 10 } };
        RunFolder folder = Stopped(options, 7);
        string earlier = Checkpoint.All(folder)[1];
        RunOptions changed = options with { Schedule = options.Schedule with { MaxSteps = 30 }, Optimizer = options.Optimizer with { LearningRate = 0.002 } };
        using Finetuning run = Finetuning.Prepare(changed);
        run.CheckSameRun(earlier, ["learning_rate"]);
        using var stop = new StopRequest();
        if (killed)
        {
            tiny.OnStep = _ => throw new InvalidOperationException("killed");
            Assert.Throws<InvalidOperationException>(() => run.Train(folder, "permafrost finetune (a test)", tiny, stop, earlier));
            tiny.OnStep = null;
        }
        else
        {
            stop.Ask(StopReason.Preempted);
            Assert.Throws<StoppedException>(() => run.Train(folder, "permafrost finetune (a test)", tiny, stop, earlier));
        }
        RunOptions saved = RunConfig.Load(folder.Config, new RunOptions());
        Assert.Equal((30, 0.002), (saved.Schedule.MaxSteps, saved.Optimizer.LearningRate));
        Assert.Equal(earlier, Checkpoint.Newest(folder, message => Assert.Fail(message)));
        Resume(saved, folder);
        Assert.Equal(Enumerable.Range(1, 30).Select(i => (long)i), Lines(folder).Select(line => JsonNode.Parse(line)!).Where(line => line["train/loss"] is not null).Select(line => (long)line["step"]!));
        Assert.Empty(Directory.EnumerateDirectories(folder.Path, "*.left"));
    }

    [Fact]
    public void A_run_that_goes_on_for_longer_says_so_and_fewer_steps_than_it_has_done_are_refused()
    {
        RunOptions options = Options with { Schedule = Options.Schedule with { LrSchedulerType = "constant_with_warmup" } };
        RunFolder folder = Stopped(options, 8);
        string config = File.ReadAllText(folder.Config);
        Refusal.OfUsage("has done 8 steps", () => Resume(options with { Schedule = options.Schedule with { MaxSteps = 7 } }, folder));
        Assert.Equal(config, File.ReadAllText(folder.Config));
        Resume(options with { Schedule = options.Schedule with { MaxSteps = 11 } }, folder);
        RunOptions saved = RunConfig.Load(folder.Config, new RunOptions());
        Assert.Equal((11, 3), (saved.Schedule.MaxSteps, saved.Schedule.WarmupSteps));
        Assert.Contains("# Again:", File.ReadAllText(folder.Config), StringComparison.Ordinal);
        Assert.Contains("from step 8 with: ", File.ReadAllText(folder.Config), StringComparison.Ordinal);
        Assert.Equal(2, File.ReadAllLines(folder.Command).Length);
        Assert.Equal(TinyRun.AdapterBytes(folder), TinyRun.AdapterBytes(tiny.Train(saved).Folder));
    }

    [Fact]
    public void A_run_that_changed_course_does_not_claim_to_run_again_to_the_same()
    {
        RunFolder folder = Stopped(Options, 5);
        using Finetuning run = Finetuning.Prepare(Options with { Optimizer = Options.Optimizer with { LearningRate = 0.002 } });
        run.CheckSameRun(Checkpoint.All(folder)[^1], ["learning_rate"]);
        Train(run, folder, -1, Checkpoint.All(folder)[^1]);
        string config = File.ReadAllText(folder.Config);
        Assert.DoesNotContain("Again:", config, StringComparison.Ordinal);
        Assert.Contains("learning_rate was 0.001, is 0.002", config, StringComparison.Ordinal);
    }

    [Fact]
    public void A_checkpoint_that_a_crash_left_aside_is_found_again()
    {
        RunFolder folder = Stopped(Options, 2);
        string checkpoint = Assert.Single(Checkpoint.All(folder));
        Directory.Move(checkpoint, checkpoint + ".old");
        Directory.CreateDirectory(checkpoint + ".123.tmp");
        Assert.Equal(checkpoint, Checkpoint.Newest(folder, _ => { }));
        Assert.False(Directory.Exists(checkpoint + ".old"));
        // Half deleted already, it is none.
        Directory.Move(checkpoint, checkpoint + ".old");
        File.Delete(Path.Combine(checkpoint + ".old", "run_identity.json"));
        Refusal.Of("no sound checkpoint", () => Checkpoint.Newest(folder, _ => { }));
    }

    [Fact]
    public void A_folder_that_is_removed_meanwhile_ends_the_run()
    {
        RunFolder folder = RunFolder.Create(tiny.NewFolder());
        using Finetuning run = Finetuning.Prepare(Options);
        using var stop = new StopRequest();
        tiny.OnStep = report => { if (report.Step == 2) Directory.Delete(folder.Path, recursive: true); };
        Refusal.Of($"{folder.Path} was removed", () => run.Train(folder, "permafrost finetune (a test)", tiny, stop));
        tiny.OnStep = null;
        Assert.False(Directory.Exists(folder.Path));
    }

    [Fact]
    public void Gradients_added_up_are_those_of_one_batch()
    {
        Tensor inputs = torch.arange(48, ScalarType.Float32).view(8, 3, 2) * 0.05;
        // Answers that do not count are spread unevenly, and leave one of the small batches without any.
        RunOptions options = tiny.On(("inputs", inputs), ("targets", Tensors.From([0L, 1, -100, -100, 2, -100, 1, 0]))).Change(o => o with { Model = o.Model with { Dropout = 0 }, Schedule = o.Schedule with { MaxSteps = 5 } });
        tiny.Train(options with { Schedule = options.Schedule with { PerDeviceTrainBatchSize = 8 } });
        double[] losses = [.. tiny.Reports.Select(report => Math.Round(report.Loss, 4))];
        double[] norms = [.. tiny.Reports.Select(report => Math.Round(report.GradientNorm, 4))];
        foreach (int batch in new[] { 1, 2, 4 })
        {
            tiny.Train(options with { Schedule = options.Schedule with { PerDeviceTrainBatchSize = batch, GradientAccumulationSteps = 8 / batch } });
            Assert.Equal(losses, tiny.Reports.Select(report => Math.Round(report.Loss, 4)));
            Assert.Equal(norms, tiny.Reports.Select(report => Math.Round(report.GradientNorm, 4)));
        }
    }

    private RunFolder Stopped(RunOptions options, int stopAt)
    {
        RunFolder folder = RunFolder.Create(tiny.NewFolder());
        using Finetuning run = Finetuning.Prepare(options);
        Assert.Equal(75, Assert.Throws<StoppedException>(() => Train(run, folder, stopAt, null)).ExitCode);
        return folder;
    }

    private JsonObject Resume(RunOptions options, RunFolder folder, int stopAt = -1)
    {
        string checkpoint = Checkpoint.Newest(folder, message => Assert.Fail(message));
        using Finetuning run = Finetuning.Prepare(options);
        run.CheckSameRun(checkpoint, []);
        return Train(run, folder, stopAt, checkpoint);
    }

    private JsonObject Train(Finetuning run, RunFolder folder, int stopAt, string? checkpoint)
    {
        using var stop = new StopRequest();
        tiny.OnStep = report =>
        {
            if (report.Step == stopAt) stop.Ask(StopReason.Preempted);
        };
        try
        {
            return run.Train(folder, "", tiny, stop, checkpoint).ToJson();
        }
        finally
        {
            tiny.OnStep = null;
        }
    }

    // metrics.jsonl without what the clock decides.
    private static string[] Lines(RunFolder folder) => [.. File.ReadLines(folder.Metrics).Select(line =>
    {
        JsonObject json = JsonNode.Parse(line)!.AsObject();
        foreach (string key in new[] { "time", "tokens_per_second", "data_wait" }) json.Remove(key);
        return json.ToJsonString();
    })];
}
