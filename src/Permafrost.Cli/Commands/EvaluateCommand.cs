using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Tasks;
using Permafrost.Training;

namespace Permafrost.Cli.Commands;

internal static class EvaluateCommand
{
    public static Command Create()
    {
        var command = new Command("evaluate", "score a finished run's adapter on a split again");
        var run = new Argument<string>("RUN") { Description = "the run's folder" };
        var split = new Option<string>("--split") { Description = "validation or test", DefaultValueFactory = _ => "test" };
        var data = new Option<string?>("--data") { Description = "the task's data, where it is no longer where the run found it" };
        var backbone = new Option<string?>("--backbone") { Description = "the run's backbone, where it is no longer where the run found it", HelpName = "REF" };
        var batch = new Option<int>("--per-device-eval-batch-size") { Description = "examples a batch", DefaultValueFactory = _ => 64 };
        Option<bool> json = CommonOptions.Json();
        command.Add(run);
        foreach (Option option in new Option[] { split, data, backbone, batch, json }) command.Add(option);
        command.SetAction((parsed, cancellation) => Task.FromResult(Run(
            parsed.GetRequiredValue(run), parsed.GetRequiredValue(split), parsed.GetValue(data), parsed.GetValue(backbone), parsed.GetValue(batch), parsed.GetValue(json), cancellation)));
        return command;
    }

    private static int Run(string path, string split, string? data, string? backbone, int batchSize, bool json, CancellationToken cancellation)
    {
        if (split is not ("validation" or "test")) throw new UsageException($"--split '{split}' does not exist; there are validation and test");
        if (batchSize < 1) throw new UsageException($"--per-device-eval-batch-size is {batchSize}; it must be at least 1");
        using FinetuneRun run = FinetuneRun.Open(path, withData: true, options => options with { Data = data ?? options.Data, Backbone = backbone ?? options.Backbone });
        IExamples examples = run.Examples(split, null, cancellation) ?? throw new PermafrostException($"{path}: the run's data has no {split} split");
        batchSize = MemoryEstimate.FitScoring(run, batchSize, EnvironmentInfo.AvailableMemoryBytes);
        Metrics metrics = Evaluator.Evaluate(run.Model, examples, batchSize, run.Device, cancellation: cancellation);
        if (json) Output.Json(new JsonObject { ["run"] = path, ["task"] = run.Options.Task, ["split"] = split, ["metrics"] = metrics.ToJson() });
        else Output.Line(FormattableString.Invariant($"{run.Options.Task} {split}: accuracy {metrics.Accuracy:F4}, loss {metrics.Loss:F4}, {metrics.Count:N0} examples"));
        return 0;
    }
}
