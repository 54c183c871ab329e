using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Figures;
using Permafrost.Cli.Terminal;
using Permafrost.Studies;

namespace Permafrost.Cli.Commands;

internal static class ReportCommand
{
    public static Command Create()
    {
        var command = new Command("report", "one offline HTML page for one or several runs: scores beside baselines, learning curves, what ran and where");
        var runs = new Argument<string[]>("RUN") { Description = "runs' folders, finished or not; or folders that hold runs", Arity = ArgumentArity.OneOrMore };
        var output = new Option<string>("--output") { Description = "the page", DefaultValueFactory = _ => "report.html", HelpName = "FILE" };
        var figures = new Option<string?>("--figures") { Description = "also draw the page's plots as SVG and PNG files, for papers and slides", HelpName = "DIR" };
        Option<bool> json = CommonOptions.Json();
        command.Add(runs);
        foreach (Option option in new Option[] { output, figures, json }) command.Add(option);
        command.SetAction(parsed =>
        {
            string[] folders = parsed.GetRequiredValue(runs);
            JsonObject report = RunReport.Write(parsed.GetRequiredValue(output), folders, new ReportOptions { Draw = FigureFiles.ForPage });
            IReadOnlyList<string>? files = parsed.GetValue(figures) is { } folder ? FigureFiles.Write(folder, RunReport.Figures(folders)) : null;
            if (files is not null) report["figures"] = new JsonArray([.. files.Select(file => (JsonNode)file)]);
            if (parsed.GetValue(json)) Output.Json(report);
            else
            {
                foreach (JsonNode? run in report["runs"]!.AsArray()) Output.Line($"{run!["run"]}: {run["headline"]}");
                Output.Line($"report: {report["report"]}");
                if (files is { Count: 0 }) Output.Line("figures: none, since no line of metrics.jsonl holds a loss or a score");
                foreach (string file in files ?? []) Output.Line($"figure: {file}");
            }
            return 0;
        });
        return command;
    }
}
