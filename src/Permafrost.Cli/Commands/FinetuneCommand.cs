using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Training;
using Permafrost.Tuning;

namespace Permafrost.Cli.Commands;

internal static class FinetuneCommand
{
    public static Command Create()
    {
        var command = new Command("finetune", "train the chosen groups of a frozen backbone on a task, score them, and write a run folder");
        IReadOnlyList<(OptionField Field, Option Option)> flags = CommonOptions.RunFlags();
        Option<string[]> config = CommonOptions.Config();
        Option<string[]> set = CommonOptions.Set();
        var dryRun = new Option<bool>("--dry-run") { Description = "load everything, print options and parameter counts, and stop" };
        Option<bool> json = CommonOptions.Json();
        foreach ((_, Option option) in flags) command.Add(option);
        foreach (Option option in new Option[] { config, set, dryRun, json }) command.Add(option);
        command.SetAction((parsed, cancellation) => Task.FromResult(
            Run(CommonOptions.Collect(parsed, flags, config, set), parsed.GetValue(dryRun), parsed.GetValue(json), "permafrost " + Quoted(parsed), cancellation)));
        return command;
    }

    private static int Run(RunOptions options, bool dryRun, bool json, string command, CancellationToken cancellation)
    {
        options.Validate();
        string path = options.OutputDir ?? RunFolder.DefaultPath(options, DateTime.Now);
        options = options with { OutputDir = path };
        RunFolder? folder = dryRun ? null : RunFolder.Create(path);
        using FinetuneRun run = FinetuneRun.Prepare(options);
        if (dryRun) return DryRun(run, json);
        Output.Note(run.Model.CountsLine);
        JsonObject results = TrainingProgress.Train(run, folder!, command, cancellation);
        if (json) Output.Json(results);
        else ResultTable.Print(results, path);
        return 0;
    }

    private static int DryRun(FinetuneRun run, bool json)
    {
        if (json)
        {
            var options = new JsonObject();
            foreach (OptionField field in OptionTable.All.Where(field => !field.IsMap)) options[field.Key] = field.Property.GetValue(run.Options) is null ? null : field.Format(run.Options);
            Output.Json(new JsonObject { ["options"] = options, ["parameters"] = run.ParameterCounts(), ["steps"] = run.Steps, ["backbone_sha256"] = run.BackboneSha256 });
            return 0;
        }
        Output.Line(RunConfig.ToYaml(run.Options, "resolved options"));
        Output.Line(run.Model.CountsLine);
        foreach (IGrouping<Models.GroupName, TunedParameter> group in run.Model.Parameters.GroupBy(parameter => parameter.Group))
        {
            long trained = group.Where(p => p.Trained).Sum(p => p.Parameter.Elements);
            long unused = group.Where(p => p.Unused).Sum(p => p.Parameter.Elements);
            Output.Line(FormattableString.Invariant($"  {group.Key.ToString().ToLowerInvariant(),-8} {group.Sum(p => p.Parameter.Elements),14:N0}  trained {trained,12:N0}") + (unused > 0 ? FormattableString.Invariant($"  unused {unused:N0}") : ""));
        }
        Output.Line($"steps: {run.Steps:N0}");
        return 0;
    }

    private static string Quoted(ParseResult parsed) => string.Join(' ', parsed.Tokens.Select(token =>
        token.Value.All(c => char.IsLetterOrDigit(c) || "-_=./:@,+".Contains(c)) && token.Value.Length > 0 ? token.Value : $"'{token.Value.Replace("'", "'\\''", StringComparison.Ordinal)}'"));
}
