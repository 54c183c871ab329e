using System.Globalization;
using System.Text.Json.Nodes;
using Permafrost.Runs;
using Permafrost.Studies;
using Permafrost.Tasks.Metrics;
using Spectre.Console;

namespace Permafrost.Cli.Terminal;

/// <summary>A run's results as a table: score, baselines beside it, what trained, how fast.</summary>
internal static class ResultTable
{
    // More metrics than these have rows of their own.
    private const int MostColumns = 4;

    public static void Print(RunResult result, string folder)
    {
        string[] metrics = [.. result.Metrics.Values.SelectMany(scores => scores.Values.Keys).Distinct()];
        string[] main = [.. metrics.Where(name => name != "masked_accuracy").Take(MostColumns)], more = [.. metrics.Except(main)];
        Table table = Output.Table(["", .. main, "loss", "examples"]);
        string[] Row(string name, Func<string, string> cell, string loss, string count) => [name, .. main.Select(cell), loss, count];
        foreach ((string split, Scores scores) in result.Metrics)
        {
            string loss = scores.Loss.ToString("F4", CultureInfo.InvariantCulture);
            string count = scores.Count.ToString("N0", CultureInfo.InvariantCulture);
            table.AddRow(Row(Words(split), name => Value(scores, name) + (name == main[0] ? Around(result, split) : ""), loss, count));
        }
        foreach ((string split, Scores scores) in result.Metrics)
            foreach (string metric in more.Where(scores.Values.ContainsKey))
                table.AddRow(Row($"{Words(split)}, {Words(metric)}", name => name == main[0] ? Value(scores, metric) : "", "", ""));
        foreach ((string rule, double score) in result.Baselines.Trivial.Concat(result.Baselines.Strong))
            table.AddRow(Row($"baseline: {Markup.Escape(BaselineNames.Of(rule))}", name => name == main[0] ? Number(name, score) : "", "", ""));
        Output.Line($"{result.Task} on {result.Backbone} ({result.Init}), policy {result.Policy}, seed {result.Seed}");
        Output.Write(table);
        if (result.Intervals is not null) Output.Line("in brackets: the 95 % interval of the score, by the number of examples (Wilson)");
        string[] chosenBy = [.. result.Metrics.Keys.Where(split => split != "test" && result.Intervals?.ContainsKey(split) != true)];
        if (chosenBy.Length > 0)
            Output.Line($"{string.Join(", ", chosenBy.Select(Words))}: may flatter, since weights, length or learning rate are chosen by it; it has no interval");
        if (result.Choice is { } choice) Output.Line(Chosen(choice));
        RunParameters parameters = result.Parameters;
        Output.Line(string.Create(CultureInfo.InvariantCulture,
            $"trained {parameters.Trained:N0} of {parameters.Total:N0} parameters ({parameters.TrainedPercent:F2} %), {result.Steps:N0} steps in {result.Seconds:F0} s, " +
            $"{result.TokensPerSecond:N0} tokens/s, peak memory {Output.Bytes(result.PeakMemoryBytes)}"));
        Output.Line("frozen weights: bit-identical before and after");
        Output.Line($"run folder: {folder}");
        if (File.Exists(ReportFile.In(folder))) Output.Line($"report: {ReportFile.In(folder)}");
    }

    private static string Around(RunResult result, string split) => result.Intervals?.GetValueOrDefault(split) is { } bounds ? $" ({Bounds(bounds)})" : "";

    /// <summary>An interval's bounds, in percent.</summary>
    public static string Bounds(ScoreInterval bounds) => FormattableString.Invariant($"{100 * bounds.Low:F1} to {100 * bounds.High:F1}");

    private static string Chosen(RunChoice choice)
    {
        string how = choice.Steps is null ? "on the validation examples"
            : FormattableString.Invariant($"in {choice.Folds} folds: each of {choice.Rows:N0} rows held out {choice.Rounds} time(s)");
        string rate = FormattableString.Invariant($"learning rate {choice.LearningRate}{(choice.Candidates.Count > 1 ? $" of {choice.Candidates.Count}" : "")}");
        return $"chosen {how}: {rate}" + (choice.Steps is { } steps ? FormattableString.Invariant($", {steps:N0} steps") : "");
    }

    private static string Words(string metric) => metric == "masked_accuracy" ? "masked bits only" : Markup.Escape(metric.Replace('_', ' '));

    /// <summary>Scores as in results.json.</summary>
    public static JsonObject Json(Scores scores)
    {
        var json = new JsonObject(scores.Values.Select(pair => KeyValuePair.Create(pair.Key, (JsonNode?)pair.Value)));
        (json["loss"], json["count"]) = (scores.Loss, scores.Count);
        return json;
    }

    public static string Percent(double share) => (100 * share).ToString("F2", CultureInfo.InvariantCulture) + " %";

    /// <summary>A value of a metric: shares in percent.</summary>
    public static string Number(string metric, double value) =>
        MetricInfo.IsShare(metric) ? Percent(value) : value.ToString("F4", CultureInfo.InvariantCulture);

    private static string Value(Scores scores, string metric) => scores.Values.TryGetValue(metric, out double value) ? Number(metric, value) : "";
}
