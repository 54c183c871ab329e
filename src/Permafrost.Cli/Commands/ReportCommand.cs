using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Studies;

namespace Permafrost.Cli.Commands;

internal static class ReportCommand
{
    public static Command Create()
    {
        var command = new Command("report", "one offline HTML page for one or several runs: scores beside floors, learning curves, what ran and where");
        var runs = new Argument<string[]>("RUN") { Description = "runs' folders, finished or not; or folders that hold runs", Arity = ArgumentArity.OneOrMore };
        var output = new Option<string>("--output") { Description = "the page", DefaultValueFactory = _ => "report.html", HelpName = "FILE" };
        Option<bool> json = CommonOptions.Json();
        command.Add(runs);
        foreach (Option option in new Option[] { output, json }) command.Add(option);
        command.SetAction(parsed =>
        {
            JsonObject report = RunReport.Write(parsed.GetRequiredValue(output), parsed.GetRequiredValue(runs));
            if (parsed.GetValue(json)) Output.Json(report);
            else
            {
                foreach (JsonNode? run in report["runs"]!.AsArray()) Output.Line($"{run!["run"]}: {run["headline"]}");
                Output.Line($"report: {report["report"]}");
            }
            return 0;
        });
        return command;
    }
}
