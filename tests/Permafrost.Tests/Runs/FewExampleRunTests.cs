using System.Text.Json.Nodes;
using Permafrost.Runs;
using Permafrost.Tasks.Metrics;
using Permafrost.Training.Options;

namespace Permafrost.Tests.Runs;

/// <summary>Runs of few rows: what is chosen by holding them out in turn, what is written down of it, and that it runs again and goes on to the same result.</summary>
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
        Assert.Equal((long)best["step"]!, (long)results["steps"]!);
        Assert.Equal(File.ReadAllText(folder.Path + "/choice.json").Length > 100, folder.ReadOptions().Optimizer.LearningRate == (double)results["learning_rate"]!);
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
    }

    [Fact]
    public void Drawn_examples_are_scored_by_the_tasks_validation_and_never_chosen_by_it()
    {
        RunOptions options = Few(60);
        options = options with { Data = options.Data with { ValidationData = Table("validation.csv", 14), TrainPerClass = 8 }, Seed = 3 };
        (RunFolder folder, JsonObject results) = tiny.Train(options);
        Assert.Equal((16, 14, 16), ((int)results["choice"]!["rows"]!, (int)results["metrics"]!["validation"]!["count"]!, (int)results["metrics"]!["cross_validation"]!["count"]!));
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
