using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Formats;
using Permafrost.Runs;
using Permafrost.Studies;

namespace Permafrost.Cli.Commands;

internal static class QuickstartCommand
{
    public static Command Create(StopRequest stop)
    {
        var command = new Command("quickstart", "the main result in a few minutes, no data needed: what language pretraining gives a frozen body, beside its controls");
        var output = new Option<string?>("--output-dir") { Description = "the folder; default runs/quickstart-<time>; one that was stopped goes on" };
        var seed = new Option<long>("--seed") { Description = "seed of everything" };
        var scale = new Option<double>("--scale") { Description = "multiplies every number of steps: 0.01 for a quick look at what happens", DefaultValueFactory = _ => 1 };
        var sweep = new Option<string?>("--sweep")
        {
            Description = $"instead: try every learning rate of every arm, and write what they score on validation to this file, such as {Quickstart.RatesFile}",
            HelpName = "FILE",
        };
        Option<bool> json = CommonOptions.Json();
        foreach (Option option in new Option[] { output, seed, scale, sweep, json }) command.Add(option);
        command.SetAction(parsed => parsed.GetValue(sweep) is { } rates
            ? Sweep(rates, parsed.GetValue(output), stop, parsed.GetResult(seed) is { Implicit: false } || parsed.GetResult(scale) is { Implicit: false })
            : Run(parsed.GetValue(output), parsed.GetValue(seed), parsed.GetValue(scale), parsed.GetValue(json), stop));
        return command;
    }

    private static int Run(string? output, long seed, double scale, bool json, StopRequest stop)
    {
        if (scale is not (> 0 and <= 100)) throw new UsageException("--scale must be above 0 and at most 100");
        if (output is null) Quickstart.CheckBody();
        string root = output ?? RunFolder.CreateUnused(Path.Combine("runs", FormattableString.Invariant($"quickstart-{DateTime.Now:yyyyMMdd-HHmmss}"))).Path;
        var quickstart = new Quickstart(root, seed, scale);
        if (quickstart.Begin()) Output.Note($"going on in {root}");
        using var held = new RunLock(root);
        string again = FormattableString.Invariant($"permafrost quickstart --output-dir {ShellWord.Quoted(root)} --seed {seed} --scale {scale}");
        QuickstartResult result = Stoppable(stop, again, root, () => quickstart.Run(Trained("permafrost quickstart", stop), Output.Note));
        string[] runs = [.. result.Rows.SelectMany(row => row.Arms).Select(arm => arm.Run.Folder)];
        string? report = ReportFile.Write(root, runs, QuickstartTable.Lead(result));
        if (json) Output.Json(Json(result, root));
        else QuickstartTable.Print(result, root, report);
        quickstart.End();
        return 0;
    }

    private static int Sweep(string file, string? output, StopRequest stop, bool others)
    {
        if (others) throw new UsageException("--sweep has a seed and numbers of steps of its own; leave --seed and --scale out");
        string root = output ?? Path.Combine("runs", "quickstart-sweep");
        string command = $"permafrost quickstart --sweep {ShellWord.Quoted(file)}" + (output is null ? "" : $" --output-dir {ShellWord.Quoted(output)}");
        IReadOnlyList<SweptRate> rates = Stoppable(stop, command, root, () => Quickstart.SweepRates(root, Trained(command, stop), Output.Note));
        AtomicFile.WriteText(file, SweptRate.Table(command, rates));
        Output.Line($"{rates.Count} runs: {file}");
        return 0;
    }

    private static T Stoppable<T>(StopRequest stop, string again, string root, Func<T> run)
    {
        try
        {
            return run();
        }
        catch (StoppedException stopped)
        {
            throw new StoppedException($"{stopped.Message} in {root}; go on with: {again}", stopped.Reason);
        }
        catch (OperationCanceledException)
        {
            throw new StoppedException($"stopped while scoring in {root}; go on with: {again}", stop.Reason);
        }
    }

    private static Sweep Trained(string command, StopRequest stop) => new(command, stop)
    {
        Warn = Output.Note,
        StrongBaselines = Baselines.StrongBaselines.All,
        Display = (run, train) =>
        {
            Output.Note(FormattableString.Invariant($"{run.Task.Name}, {run.Options.Model.Init} body, learning rate {run.Options.Optimizer.LearningRate}: {run.Model.Counts}"));
            return TrainingProgress.Show(train);
        },
    };

    private static JsonObject Json(QuickstartResult result, string root) => new()
    {
        ["runs"] = new JsonArray([.. result.Rows.SelectMany(row => row.Arms).Select(arm => arm.Run.Result.ToJson())]),
        ["steps_to_all_right"] = new JsonObject(result.Rows.Where(row => row.Cap is not null)
            .Select(row => KeyValuePair.Create(row.Task, (JsonNode?)new JsonObject(row.Arms.Select(arm => KeyValuePair.Create(arm.Init, (JsonNode?)arm.StepsToAllRight)))))),
        ["words"] = new JsonArray([.. result.Words.Select(word => (JsonNode)new JsonObject
        {
            ["word"] = word.Word, ["kind"] = word.Kind, ["answer"] = word.Answer.Label, ["probability"] = word.Answer.Probability,
        })]),
        ["folder"] = root,
    };
}
