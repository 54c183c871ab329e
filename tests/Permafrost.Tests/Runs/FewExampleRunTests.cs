using System.Text.Json.Nodes;
using Permafrost.Runs;
using Permafrost.Tasks.Metrics;
using Permafrost.Training.Options;

namespace Permafrost.Tests.Runs;

/// <summary>Runs of few rows: what is chosen by holding them out in turn, what is written down of it, and that it runs again and goes on to the same result.</summary>
[Trait("tier", "long")]
[Collection(ProcessWide.Name)]
public sealed class FewExampleRunTests : IDisposable
{
    private readonly TinyRun tiny = new();

    public void Dispose() => tiny.Dispose();

    private string Table(string name, int rows) =>
        Write(name, "text,label\n" + string.Join('\n', Enumerable.Range(0, rows).Select(i => $"{(i % 2 == 0 ? "aaaab" : "abbbb")} {i},{"xy"[i % 2]}")) + "\n");

    private string Write(string name, string text)
    {
        File.WriteAllText(tiny[name], text);
        return tiny[name];
    }

    private RunOptions Few(int rows = 30) => tiny.Options with
    {
        Model = tiny.Options.Model with { Backbone = SmallBert.Write(tiny["bert"]), Dropout = 0, FrozenDtype = "float32" },
        Data = new DataOptions { Task = "csv", Path = Table($"few-{rows}.csv", rows), TextColumn = "text", LabelColumn = "label", MaxLength = 20 },
        Optimizer = new OptimizerOptions { LearningRate = 0.01 },
        Schedule = new ScheduleOptions(),
        Evaluation = new EvaluationOptions { Baselines = false },
        Checkpoints = new CheckpointOptions { LoggingSteps = 1, SaveSteps = 0 },
    };

    [Fact]
    public void The_length_is_chosen_by_rows_held_out_in_turn_and_all_rows_are_trained_on()
    {
        (RunFolder folder, JsonObject results) = tiny.Train(Few());
        JsonObject choice = results["choice"]!.AsObject();
        Assert.Equal((26, 8, 2), ((int)choice["rows"]!, (int)choice["folds"]!, (int)choice["rounds"]!));  // two of each label test
        Assert.Equal((long)choice["steps"]!, (long)results["steps"]!);
        Assert.InRange((long)results["steps"]!, 1, 80);
        Assert.Equal(26, (int)results["metrics"]!["cross_validation"]!["count"]!);
        Assert.Equal(4, (int)results["metrics"]!["test"]!["count"]!);
        Assert.Null(results["metrics"]!["validation"]);
        double score = (double)results["metrics"]!["test"]!["accuracy"]!;
        Assert.Equal(ScoreInterval.Wilson(score, 4), new ScoreInterval((double)results["intervals"]!["test"]!["low"]!, (double)results["intervals"]!["test"]!["high"]!));
        // Length was chosen by the rows that were held out.
        Assert.Null(results["intervals"]!["cross_validation"]);
        Assert.Contains(tiny.Notes, note => note.StartsWith("chosen in 8 folds of 26 rows", StringComparison.Ordinal));

        // What was chosen is written into the options, which run again without choosing; and the run is scored again as it was.
        RunOptions saved = folder.ReadOptions();
        Assert.Equal(((int?)(long)results["steps"]!, 0.0, 0, false), (saved.Schedule.MaxSteps, saved.Data.ValidationFraction, saved.Evaluation.EvalSteps, saved.Optimizer.Tune));
        (RunFolder again, JsonObject same) = tiny.Train(saved with { Checkpoints = saved.Checkpoints with { OutputDir = null } });
        Assert.Equal(TinyRun.AdapterBytes(folder), TinyRun.AdapterBytes(again));
        Assert.Null(same["choice"]);
        using var opened = Finetuning.Open(folder.Path, withData: true);
        Assert.Equal(score, opened.Score("test", 16, TestContext.Current.CancellationToken)!["accuracy"]);
    }

    [Fact]
    public void A_rate_is_chosen_among_a_few_where_that_is_asked_for()
    {
        RunOptions options = Few() with { Optimizer = new OptimizerOptions { LearningRate = 0.01, Tune = true }, Schedule = new ScheduleOptions { MaxSteps = 20 } };
        options = options with { Evaluation = options.Evaluation with { EvalSteps = 5 } };
        (RunFolder folder, JsonObject results) = tiny.Train(options);
        JsonArray candidates = results["choice"]!["candidates"]!.AsArray();
        Assert.Equal([0.003, 0.01, 0.03], candidates.Select(candidate => (double)candidate!["learning_rate"]!));
        JsonNode best = candidates.OrderByDescending(c => (double)c!["score"]!).ThenBy(c => (double)c!["loss"]!).First()!;
        Assert.Equal((double)best["learning_rate"]!, (double)results["learning_rate"]!);
        Assert.Equal((double)results["learning_rate"]!, folder.ReadOptions().Optimizer.LearningRate);
        JsonNode kept = JsonNode.Parse(File.ReadAllText(Path.Combine(folder.Path, "choice.json")))!;
        Assert.Equal(3, kept["choice"]!["candidates"]!.AsArray().Count);
        // The length was given, and stays: rates are compared at its end, and validations on the way choose nothing.
        Assert.All(candidates, candidate => Assert.Equal(20, (int)candidate!["step"]!));
        RunOptions saved = folder.ReadOptions();
        Assert.Equal((20, (int?)20, 5), ((int)results["steps"]!, saved.Schedule.MaxSteps, saved.Evaluation.EvalSteps));
    }

    [Fact]
    public void A_schedule_that_goes_by_the_length_keeps_it()
    {
        RunOptions options = Few() with { Schedule = new ScheduleOptions { LrSchedulerType = "linear" } };
        (RunFolder folder, JsonObject results) = tiny.Train(options);
        Assert.Equal((80, (int?)80), ((int)results["steps"]!, folder.ReadOptions().Schedule.MaxSteps));
        Assert.Equal([80], results["choice"]!["candidates"]!.AsArray().Select(candidate => (int)candidate!["step"]!));
        (RunFolder epochs, JsonObject passes) = tiny.Train(options with { Schedule = new ScheduleOptions { NumTrainEpochs = 3 }, Optimizer = new OptimizerOptions { LearningRate = 0.01, Tune = true } });
        Assert.Equal((6, (double?)3), ((int)passes["steps"]!, epochs.ReadOptions().Schedule.NumTrainEpochs));
        Refusal.OfUsage("`early_stopping_patience`", () => Finetuning.Prepare(options with { Evaluation = options.Evaluation with { EarlyStoppingPatience = 2 } }).Dispose());
        Refusal.OfUsage("`lr_scheduler_type` linear", () => Finetuning.Prepare(options with { Evaluation = options.Evaluation with { StopAtScore = 0.9 } }).Dispose());
    }

    [Fact]
    public void A_score_that_is_enough_ends_the_folds_and_is_no_option_of_the_training_on_all_rows()
    {
        RunOptions options = Few();
        (RunFolder folder, JsonObject results) = tiny.Train(options with { Evaluation = options.Evaluation with { StopAtScore = 0.4 } });
        Assert.Equal((long)results["choice"]!["steps"]!, (long)results["steps"]!);
        Assert.Null(folder.ReadOptions().Evaluation.StopAtScore);
    }

    [Fact]
    public void A_time_limit_is_one_for_the_whole_run_and_what_was_tried_is_not_tried_again()
    {
        RunOptions options = Few() with { Optimizer = new OptimizerOptions { LearningRate = 0.01, Tune = true }, Schedule = new ScheduleOptions { MaxSteps = 6 } };
        options = options with { Evaluation = options.Evaluation with { EvalSteps = 0 } };
        (RunFolder whole, JsonObject results) = tiny.Train(options);

        RunFolder target = RunFolder.Create(tiny.NewFolder());
        string choosing = Path.Combine(target.Path, "choosing.json");
        RunOptions now = options with { Checkpoints = options.Checkpoints with { OutputDir = target.Path, MaxTime = "150s" } };
        var tried = new List<int>();
        RunResult? result = null;
        for (int call = 0; result is null && call < 30; call++)
        {
            var clock = new Ticking();
            string? checkpoint = Checkpoint.All(target).Count > 0 ? Checkpoint.Newest(target, _ => { }) : null;
            using var run = Finetuning.Prepare(now);
            if (checkpoint is not null) run.CheckSameRun(checkpoint, []);
            else if (call > 0) run.CheckSameOptions(target, []);
            using var stop = new StopRequest();
            try
            {
                result = run.Train(target, "test", tiny, stop, checkpoint, clock);
            }
            catch (StoppedException stopped)
            {
                Assert.Equal((75, target.Path), (stopped.ExitCode, stopped.Folder));
            }
            Assert.InRange(clock.Seconds, 1, 200);  // the limit, and the looks of one step and of the end
            if (File.Exists(choosing)) tried.Add(JsonNode.Parse(File.ReadAllText(choosing))!["tries"]!.AsArray().Count);
            now = target.ReadOptions();
        }
        Assert.True(tried.Count > 1, $"{tried.Count} calls while it chose");
        Assert.Equal(tried.Distinct().Order(), tried);
        Assert.False(File.Exists(choosing));
        Assert.Equal(results["choice"]!.ToJsonString(), result!.ToJson()["choice"]!.ToJsonString());
        Assert.Equal(TinyRun.AdapterBytes(whole), TinyRun.AdapterBytes(target));
    }

    [Fact]
    public void A_time_limit_that_no_training_ends_within_is_an_error_and_no_stop_that_would_come_again_and_again()
    {
        RunOptions options = Few() with { Optimizer = new OptimizerOptions { LearningRate = 0.01, Tune = true }, Schedule = new ScheduleOptions { MaxSteps = 50 } };
        options = options with { Checkpoints = options.Checkpoints with { MaxTime = "20s" } };
        PermafrostException refused = Assert.ThrowsAny<PermafrostException>(() => tiny.Train(options, new Ticking()));
        Assert.IsNotType<StoppedException>(refused);
        Assert.Contains("`max_time` 20s", refused.Message, StringComparison.Ordinal);
        Assert.Equal(1, refused.ExitCode);
    }

    [Fact]
    public void What_was_tried_with_other_settings_does_not_count_and_a_damaged_file_is_refused()
    {
        RunOptions options = Few() with { Optimizer = new OptimizerOptions { LearningRate = 0.01, Tune = true }, Schedule = new ScheduleOptions { MaxSteps = 3 } };
        RunFolder target = RunFolder.Create(tiny.NewFolder());
        void Begin(RunOptions chosen, int most)
        {
            using var run = Finetuning.Prepare(chosen);
            using var stop = new StopRequest();
            int done = 0;
            tiny.OnProgress = () => { if (++done == most) stop.Ask(StopReason.Preempted); };
            tiny.Notes.Clear();
            Assert.Throws<StoppedException>(() => run.Train(target, "test", tiny, stop));
            tiny.OnProgress = null;
        }
        Begin(options, 3);
        Begin(options, 2);
        Assert.Contains(tiny.Notes, note => note.StartsWith("3 training(s)", StringComparison.Ordinal));
        Begin(options with { Seed = 7 }, 2);
        Assert.Contains(tiny.Notes, note => note.Contains("tried again", StringComparison.Ordinal));
        File.WriteAllText(Path.Combine(target.Path, "choosing.json"), "{\"tries\": [null]}");
        using var again = Finetuning.Prepare(options);
        using var unasked = new StopRequest();
        Refusal.Of("choosing.json is damaged", () => again.Train(target, "test", tiny, unasked));
    }

    [Fact]
    public void Pairs_come_to_the_same_wherever_states_are_kept()
    {
        RunOptions options = Few() with { Contrast = new PairOptions { Pairs = true, PairSteps = 10, PairLearningRate = 0.01 }, Schedule = new ScheduleOptions { MaxSteps = 20 } };
        byte[] With(string cache) => TinyRun.AdapterBytes(tiny.Train(options with { Model = options.Model with { Dropout = 0.2, FeatureCache = cache } }).Folder);
        Assert.Equal(With("memory"), With("none"));
    }

    // A second passes whenever somebody looks.
    private sealed class Ticking : TimeProvider
    {
        public long Seconds { get; private set; }

        public override long TimestampFrequency => 1;

        public override long GetTimestamp() => Seconds++;
    }

    [Fact]
    public void A_validation_table_tells_instead_where_there_is_one()
    {
        RunOptions options = Few();
        options = options with
        {
            Data = options.Data with { ValidationData = Table("validation.csv", 12) },
            Optimizer = new OptimizerOptions { LearningRate = 0.01, Tune = true },
            Schedule = new ScheduleOptions { MaxSteps = 10 },
            Evaluation = options.Evaluation with { EvalSteps = 5 },
        };
        (RunFolder folder, JsonObject results) = tiny.Train(options);
        Assert.Equal((1, 12), ((int)results["choice"]!["folds"]!, (int)results["choice"]!["rows"]!));
        Assert.Null(results["choice"]!["steps"]);
        Assert.Equal((12, 10), ((int)results["metrics"]!["validation"]!["count"]!, (int)results["steps"]!));
        Assert.Equal(5, folder.ReadOptions().Evaluation.EvalSteps);
        Assert.Equal(["test"], results["intervals"]!.AsObject().Select(interval => interval.Key));
    }

    [Fact]
    public void Drawn_examples_are_scored_by_the_tasks_validation_and_never_chosen_by_it()
    {
        RunOptions options = Few(60);
        options = options with { Data = options.Data with { ValidationData = Table("validation.csv", 14), TrainPerClass = 8 }, Seed = 3 };
        (RunFolder folder, JsonObject results) = tiny.Train(options);
        Assert.Equal((16, 14, 16), ((int)results["choice"]!["rows"]!, (int)results["metrics"]!["validation"]!["count"]!, (int)results["metrics"]!["cross_validation"]!["count"]!));
        Assert.NotNull(results["intervals"]!["validation"]);
        Assert.Null(results["intervals"]!["cross_validation"]);
        // Other validation rows, the same weights.
        File.WriteAllText(tiny["validation.csv"], "text,label\n" + string.Join('\n', Enumerable.Range(0, 14).Select(i => $"abb {i},{"yx"[i % 2]}")) + "\n");
        Assert.Equal(TinyRun.AdapterBytes(folder), TinyRun.AdapterBytes(tiny.Train(options).Folder));
        Assert.NotEqual(TinyRun.AdapterBytes(folder), TinyRun.AdapterBytes(tiny.Train(options with { Seed = 4 }).Folder));
        Refusal.OfUsage("`train_per_class` 40", () => tiny.Train(options with { Data = options.Data with { TrainPerClass = 40 } }));
        Refusal.OfUsage("`early_stopping_patience`", () => tiny.Train(options with
        {
            Schedule = new ScheduleOptions { MaxSteps = 10 },
            Evaluation = options.Evaluation with { EvalSteps = 5, EarlyStoppingPatience = 2 },
        }));
    }

    [Fact]
    public void Pairs_come_first_and_a_run_that_goes_on_does_not_train_on_them_again()
    {
        RunOptions options = Few() with { Contrast = new PairOptions { Pairs = true, PairSteps = 15, PairLearningRate = 0.01 }, Schedule = new ScheduleOptions { MaxSteps = 20 } };
        options = options with { Evaluation = options.Evaluation with { EvalSteps = 0 }, Checkpoints = options.Checkpoints with { SaveSteps = 10 } };
        (RunFolder whole, JsonObject results) = tiny.Train(options);
        Assert.Contains("training on pairs", tiny.Phases);
        using (var opened = Finetuning.Open(whole.Path, withData: true))
            Assert.Equal((double)results["metrics"]!["test"]!["accuracy"]!, opened.Score("test", 16, TestContext.Current.CancellationToken)!["accuracy"]);

        using var stop = new StopRequest();
        RunFolder target = RunFolder.Create(tiny.NewFolder());
        RunOptions placed = options with { Checkpoints = options.Checkpoints with { OutputDir = target.Path } };
        tiny.OnStep = report => { if (report.Step == 12) stop.Ask(StopReason.Interrupt); };
        using (var run = Finetuning.Prepare(placed)) Assert.Throws<StoppedException>(() => run.Train(target, "test", tiny, stop));
        tiny.OnStep = null;
        tiny.Phases.Clear();
        using (var run = Finetuning.Prepare(folderOptions(target)))
        {
            string checkpoint = Checkpoint.Newest(target, _ => { });
            run.CheckSameRun(checkpoint, []);
            using var go = new StopRequest();
            run.Train(target, "test", tiny, go, checkpoint);
        }
        Assert.DoesNotContain("training on pairs", tiny.Phases);
        Assert.Equal(TinyRun.AdapterBytes(whole), TinyRun.AdapterBytes(target));

        static RunOptions folderOptions(RunFolder folder) => folder.ReadOptions();
    }

    [Fact]
    public void Nothing_is_chosen_where_there_is_nothing_to_choose_by()
    {
        RunOptions options = Few();
        RunOptions tuned = Few(10) with { Optimizer = options.Optimizer with { Tune = true } };
        Refusal.OfUsage("`tune`", () => Finetuning.Prepare(tuned with { Data = tuned.Data with { ValidationFraction = 0 } }).Dispose());
        RunOptions endless = tiny.Options with { Optimizer = options.Optimizer with { Tune = true }, Contrast = new PairOptions { Pairs = true } };
        Refusal.OfUsage("`pairs` needs", () => Finetuning.Prepare(endless).Dispose());
        // A length that was given is kept, and a share is held out as for many rows.
        (_, JsonObject results) = tiny.Train(options with { Schedule = new ScheduleOptions { MaxSteps = 7 } });
        Assert.Equal((7, true), ((int)results["steps"]!, results["metrics"]!["validation"] is not null));
        Assert.Null(results["choice"]);
    }
}
