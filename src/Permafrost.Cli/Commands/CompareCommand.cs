using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Training;
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
        (JsonObject a, RunOptions optionsA) = Read(first);
        (JsonObject b, RunOptions optionsB) = Read(second);
        var differences = new List<(string Key, string A, string B)>();
        foreach (OptionField field in OptionTable.All)
        {
            if (field.Key == "output_dir") continue;
            (string textA, string textB) = (Text(field, optionsA), Text(field, optionsB));
            if (textA != textB) differences.Add((field.Key, textA, textB));
        }
        (double Difference, double Error, long Count)? paired = Paired(first, second);
        if (json)
        {
            Output.Json(new JsonObject
            {
                ["options"] = new JsonObject(differences.Select(d => KeyValuePair.Create(d.Key, (JsonNode?)new JsonArray(d.A, d.B)))),
                ["metrics"] = new JsonArray(a["metrics"]!.DeepClone(), b["metrics"]!.DeepClone()),
                ["test_accuracy_difference"] = paired?.Difference,
                ["standard_error"] = paired?.Error,
                ["paired_examples"] = paired?.Count,
            });
            return 0;
        }
        Table table = Output.Table("", Short(first), Short(second));
        foreach ((string key, string textA, string textB) in differences) table.AddRow(Markup.Escape(key), Markup.Escape(textA), Markup.Escape(textB));
        foreach (string split in new[] { "validation", "test" })
            foreach (string metric in new[] { "accuracy", "masked_accuracy", "loss" })
                if (a["metrics"]?[split]?[metric] is { } valueA && b["metrics"]?[split]?[metric] is { } valueB) table.AddRow($"{split} {metric.Replace('_', ' ')}", Number(valueA), Number(valueB));
        foreach (string key in new[] { "steps", "seconds", "tokens_per_second", "peak_memory_bytes" }) table.AddRow(key.Replace('_', ' '), $"{a[key]}", $"{b[key]}");
        table.AddRow("trained %", $"{a["parameters"]?["trained_percent"]}", $"{b["parameters"]?["trained_percent"]}");
        Output.Write(table);
        if (paired is { } result)
            Output.Line(FormattableString.Invariant(
                $"test accuracy of the second minus the first: {100 * result.Difference:+0.00;-0.00;0.00} points, standard error {100 * result.Error:F2} over {result.Count:N0} paired examples: ") +
                (Math.Abs(result.Difference) <= 2 * result.Error ? "no more than chance (one seed each: training noise comes on top)" : "more than the choice of test examples explains (one seed each: training noise comes on top)"));
        else if (new[] { first, second }.FirstOrDefault(run => !File.Exists(Predictions(run))) is { } without) Output.Line($"{without} has no predictions.jsonl, so the accuracies are not paired");
        else Output.Line("the runs were not scored on the same test examples, so their accuracies are not paired");
        return 0;
    }

    private static (JsonObject Results, RunOptions Options) Read(string path)
    {
        RunFolder folder = RunFolder.Open(path);
        return (ResultTable.Read(folder), RunConfig.Load(folder.Config, new RunOptions()));
    }

    // Mean and standard error of the per-example difference in accuracy; null unless both runs answered the same examples.
    private static (double Difference, double Error, long Count)? Paired(string first, string second)
    {
        string[] files = [Predictions(first), Predictions(second)];
        if (!files.All(File.Exists)) return null;
        (List<(string Target, double Right)> a, List<(string Target, double Right)> b) = (Answers(files[0]), Answers(files[1]));
        if (!a.Select(answer => answer.Target).SequenceEqual(b.Select(answer => answer.Target))) return null;
        double[] differences = [.. a.Zip(b, (one, other) => other.Right - one.Right)];
        if (differences.Length < 2) return null;
        double mean = differences.Average();
        double variance = differences.Sum(d => (d - mean) * (d - mean)) / (differences.Length - 1);
        return (mean, Math.Sqrt(variance / differences.Length), differences.Length);
    }

    private static string Predictions(string run) => Path.Combine(run, "predictions.jsonl");

    // Of each example what was right to answer, and the share of its answers that were.
    private static List<(string Target, double Right)> Answers(string file)
    {
        try
        {
            return [.. MetricsLog.Read(file).Select(prediction => (prediction["target"]?.ToJsonString() ?? "", Right(prediction)))];
        }
        catch (Exception error) when (error is InvalidOperationException or ArgumentException)
        {
            throw new PermafrostException($"{file} is damaged: a line has other labels than targets; remove it to compare without it");
        }
    }

    private static double Right(JsonObject prediction)
    {
        if (prediction["target"] is not JsonArray targets) return prediction["label"]?.ToJsonString() == prediction["target"]?.ToJsonString() ? 1 : 0;
        if (prediction["label"] is not JsonArray labels || labels.Count != targets.Count) throw new InvalidOperationException("labels are not as many as targets");
        return targets.Select((target, i) => target is not null && target.ToJsonString() == labels[i]?.ToJsonString() ? 1.0 : 0).Sum() / Math.Max(1, targets.Count);
    }

    private static string Text(OptionField field, RunOptions options) =>
        field.IsMap ? string.Join(" ", ((IReadOnlyDictionary<string, string>)field.Property.GetValue(options)!).OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Key}={pair.Value}")) : field.Format(options);

    private static string Short(string path) => Markup.Escape(Path.GetFileName(path.TrimEnd('/')));

    private static string Number(JsonNode node) => ((double)node).ToString("F4", CultureInfo.InvariantCulture);
}
