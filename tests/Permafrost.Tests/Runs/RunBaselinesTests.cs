using System.Text.Json.Nodes;
using Permafrost.Runs;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;
using Permafrost.Tests.Models;
using Permafrost.Training;
using Permafrost.Training.Options;

namespace Permafrost.Tests.Runs;

/// <summary>What a run shows beside its score: trivial rules, what the program brought, and for texts the linear probe of the same body.</summary>
public sealed class RunBaselinesTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly List<string> said = [];

    public void Dispose() => folder.Dispose();

    private RunOptions Texts(string policy = "fpt") => new()
    {
        Model = new() { Backbone = SmallBert.Write(folder["body"]), Init = "random", Policy = policy, Device = "cpu" },
        Data = new() { Task = "csv", Path = Table(), TextColumn = "text", LabelColumn = "label" },
        Schedule = new() { MaxSteps = 4 },
        Evaluation = new() { EvalSteps = 0 },
    };

    private RunOptions Vectors => Texts() with
    {
        Model = new() { Backbone = TinyGpt2.Configure(folder, TinyGpt2.Json()), Init = "random", Device = "cpu" },
        Data = new() { Task = "bit-xor" },
    };

    private string Table() => folder.Write("table.csv", "text,label\n" + string.Join('\n', Enumerable.Range(0, 60).Select(i => $"{(i % 2 == 0 ? "aaab" : "abbb")} {i},{"xy"[i % 2]}")) + "\n");

    private JsonObject Train(RunOptions options, params IStrongBaseline[] brought)
    {
        var target = RunFolder.Create(folder[$"run-{said.Count}-{brought.Length}-{options.Model.Policy}-{options.Data.Task}"]);
        using var run = Finetuning.Prepare(options);
        run.StrongBaselines = brought;
        using var stop = new StopRequest();
        run.Train(target, "permafrost finetune (a test)", new Phases(said), stop);
        JsonObject written = JsonNode.Parse(File.ReadAllText(target.Results))!.AsObject();
        return written["baselines"]!.AsObject();
    }

    [Fact]
    public void Texts_have_the_linear_probe_of_their_body_and_what_was_brought()
    {
        JsonObject baselines = Train(Texts(), new Known("known", 0.25), new Known("none", null), new Known("other", 0.5, applies: false));
        Assert.Equal(["known", "linear-probe"], baselines["strong"]!.AsObject().Select(pair => pair.Key));
        Assert.Equal(0.25, (double)baselines["strong"]!["known"]!);
        Assert.InRange((double)baselines["strong"]!["linear-probe"]!, 0.5, 1);
        Assert.Equal(0.5, (double)baselines["trivial"]!["majority"]!);
        Assert.Contains("measuring the baseline known", said);
    }

    [Fact]
    public void A_run_on_pairs_has_the_linear_probe_of_the_body_beside_it()
    {
        RunOptions options = Texts() with { Contrast = new PairOptions { Pairs = true, PairSteps = 3 } };
        Assert.Equal(["linear-probe"], Train(options)["strong"]!.AsObject().Select(pair => pair.Key));
    }

    [Fact]
    public void A_run_that_is_the_linear_probe_has_none_beside_it()
    {
        Assert.Empty(Train(Texts("output"))["strong"]!.AsObject());
        // With a table of its own it is not.
        RunOptions own = Texts("output");
        Assert.Equal(["linear-probe"], Train(own with { Model = own.Model with { InputLayer = "new" } })["strong"]!.AsObject().Select(pair => pair.Key));
    }

    [Fact]
    public void Other_inputs_have_what_was_brought_alone_and_none_is_measured_where_none_is_wanted()
    {
        Assert.Equal(["known"], Train(Vectors, new Known("known", 1))["strong"]!.AsObject().Select(pair => pair.Key));
        RunOptions without = Vectors with { Evaluation = new() { EvalSteps = 0, Baselines = false } };
        JsonObject baselines = Train(without, new Known("known", 1));
        Assert.Equal((0, 0), (baselines["trivial"]!.AsObject().Count, baselines["strong"]!.AsObject().Count));
    }

    [Fact]
    public void A_run_that_is_chosen_later_has_the_baselines_that_are_brought_then()
    {
        RunOptions options = Texts();
        var target = RunFolder.Create(folder["chosen"]);
        options = options with { Evaluation = options.Evaluation with { ScoreTest = false } };
        using (var run = Finetuning.Prepare(options))
        {
            using var stop = new StopRequest();
            Assert.Empty(run.Train(target, "permafrost finetune (a test)", null, stop).Baselines.Strong);
        }
        RunResult result = Finetuning.ScoreChosen(target.Path, strong: [new Known("known", 0.25)], cancellation: TestContext.Current.CancellationToken);
        Assert.Equal(["known", "linear-probe"], result.Baselines.Strong.Keys.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Baselines_of_a_task_need_no_body()
    {
        var data = new DataOptions { Task = "csv", Path = Table(), TextColumn = "text", LabelColumn = "label" };
        var baselines = TaskBaselines.Measure(data, [new Known("known", 0.25), new Known("other", 0.5, applies: false)], cancellation: TestContext.Current.CancellationToken);
        Assert.Equal(("csv", "accuracy", 0.5), (baselines.Task, baselines.Metric.Name, baselines.Trivial["majority"]));
        Assert.Equal(["known"], baselines.Strong.Select(score => score.Name));
        Refusal.OfUsage("`text_column`", () => TaskBaselines.Measure(data with { Task = "bit-xor", Path = null }, []));
    }

    [Fact]
    public void A_stop_is_heeded_between_two_baselines()
    {
        using var run = Finetuning.Prepare(Texts());
        using var stop = new StopRequest();
        run.StrongBaselines = [new Known("known", 0.25, then: () => stop.Ask(StopReason.Interrupt)), new Known("later", 0.5, then: () => Assert.Fail("it went on"))];
        Assert.Throws<StoppedException>(() => run.Train(RunFolder.Create(folder["stopped"]), "permafrost finetune (a test)", null, stop));
    }

    private sealed class Phases(List<string> said) : IProgress<TrainingEvent>
    {
        public void Report(TrainingEvent value)
        {
            if (value is PhaseStarted phase) said.Add(phase.What);
        }
    }

    private sealed class Known(string name, double? score, bool applies = true, Action? then = null) : IStrongBaseline
    {
        public string Name => name;

        public bool AppliesTo(TaskSpec spec) => applies;

        public BaselineScore? Score(TaskData data, long seed, CancellationToken cancellation)
        {
            Assert.True(applies);
            then?.Invoke();
            return score is null ? null : new BaselineScore(name, null, score, "");
        }
    }
}
