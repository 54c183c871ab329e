using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Runs;
using Permafrost.Studies;
using Permafrost.Tasks.Metrics;
using Spectre.Console;

namespace Permafrost.Cli.Commands;

internal static class CompareCommand
{
    public static Command Create()
    {
        var command = new Command("compare", "two runs side by side: what differs in their options, scores, and whether the difference is more than chance");
        var first = new Argument<string>("RUN") { Description = "a finished run's folder" };
        var second = new Argument<string>("OTHER") { Description = "another one" };
        Option<bool> json = CommonOptions.Json();
        command.Add(first);
        command.Add(second);
        command.Add(json);
        command.SetAction(parsed => Run(parsed.GetRequiredValue(first), parsed.GetRequiredValue(second), parsed.GetValue(json)));
        return command;
    }

    private static int Run(string first, string second, bool json)
    {
        (RunResult a, RunOptions optionsA) = Read(first);
        (RunResult b, RunOptions optionsB) = Read(second);
        OptionField[] different = [.. OptionTable.All.Where(field => field.Key != "output_dir" && field.Format(optionsA) != field.Format(optionsB))];
        var paired = PairedComparison.Of(first, second);
        if (json)
        {
            Output.Json(new JsonObject
            {
                ["options"] = new JsonObject(different.Select(field => KeyValuePair.Create(field.Key, (JsonNode?)new JsonArray(field.Format(optionsA), field.Format(optionsB))))),
                ["metrics"] = new JsonArray(a.ToJson()["metrics"]!.DeepClone(), b.ToJson()["metrics"]!.DeepClone()),
                ["test_accuracy_difference"] = paired?.Difference,
                ["standard_error"] = paired?.StandardError,
                ["paired_examples"] = paired?.Examples,
            });
            return 0;
        }
        Table table = Output.Table("", Short(first), Short(second));
        foreach (OptionField field in different) table.AddRow(Markup.Escape(field.Key), Markup.Escape(field.Format(optionsA)), Markup.Escape(field.Format(optionsB)));
        foreach ((string split, Scores scores) in a.Metrics)
        {
            if (!b.Metrics.TryGetValue(split, out Scores? others)) continue;
            foreach ((string metric, double value) in scores.Values.Append(new("loss", scores.Loss)))
                if (metric == "loss" || others.Values.ContainsKey(metric)) table.AddRow($"{split} {metric.Replace('_', ' ')}", Number(value), Number(others[metric]));
        }
        table.AddRow("steps", $"{a.Steps}", $"{b.Steps}");
        table.AddRow("seconds", Plain(a.Seconds), Plain(b.Seconds));
        table.AddRow("tokens per second", Plain(a.TokensPerSecond), Plain(b.TokensPerSecond));
        table.AddRow("peak memory bytes", $"{a.PeakMemoryBytes}", $"{b.PeakMemoryBytes}");
        table.AddRow("trained %", Plain(a.Parameters.TrainedPercent), Plain(b.Parameters.TrainedPercent));
        Output.Write(table);
        Output.Line(Verdict(first, second, paired));
        return 0;
    }

    private static string Verdict(string first, string second, PairedComparison? paired)
    {
        if (paired is null)
        {
            string? without = new[] { first, second }.FirstOrDefault(run => !File.Exists(PairedComparison.PathOf(run)));
            return without is not null ? $"{without} has no predictions.jsonl, so the accuracies are not paired"
                : "the runs were not scored on the same test examples, so their accuracies are not paired";
        }
        string meaning = paired.IsMoreThanChance ? "more than the choice of test examples explains" : "no more than chance";
        string difference = FormattableString.Invariant($"{100 * paired.Difference:+0.00;-0.00;0.00} points, standard error {100 * paired.StandardError:F2}");
        string examples = FormattableString.Invariant($"{paired.Examples:N0} paired examples");
        return $"test accuracy of the second minus the first: {difference} over {examples}: {meaning} (one seed each: training noise comes on top)";
    }

    private static (RunResult Result, RunOptions Options) Read(string path)
    {
        RunFolder folder = RunFolder.Open(path);
        return (RunResult.Read(folder), RunConfig.Load(folder.Config, new RunOptions()));
    }

    private static string Short(string path) => Markup.Escape(Path.GetFileName(path.TrimEnd('/')));

    private static string Number(double value) => value.ToString("F4", CultureInfo.InvariantCulture);

    private static string Plain(double value) => value.ToString(CultureInfo.InvariantCulture);
}
