using System.Globalization;
using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Studies;
using Permafrost.Training;
using Spectre.Console;

namespace Permafrost.Cli.Terminal;

/// <summary>A run's results as a table: score, floors beside it, what trained, how fast.</summary>
internal static class ResultTable
{
    /// <summary>results.json of a finished run, in which everything that is shown is there.</summary>
    public static JsonObject Read(RunFolder folder)
    {
        if (!File.Exists(folder.Results)) throw new PermafrostException($"{folder.Path} has no results.json: the run did not finish");
        JsonObject results = JsonFile.Read(folder.Results);
        try
        {
            Check(results);
            return results;
        }
        catch (Exception error) when (error is InvalidOperationException or FormatException)
        {
            throw new PermafrostException($"{folder.Results} is damaged: it lacks scores or counts, or holds something else in their place");
        }
    }

    /// <summary>A score or floor; null where there is no number from 0 to 1.</summary>
    public static double? Share(JsonNode? node) => node is JsonValue value && value.TryGetValue(out double share) && share is >= 0 and <= 1 ? share : null;

    public static void Print(JsonObject results, string folder)
    {
        JsonObject metrics = results["metrics"]!.AsObject();
        JsonObject floors = results["floors"]!.AsObject();
        Table table = Output.Table("", "accuracy", "loss", "examples");
        foreach ((string split, JsonNode? node) in metrics)
            table.AddRow(split, Percent((double)node!["accuracy"]!), ((double)node["loss"]!).ToString("F4", CultureInfo.InvariantCulture), ((long)node["count"]!).ToString("N0", CultureInfo.InvariantCulture));
        foreach ((string split, JsonNode? node) in metrics)
            if (node!["masked_accuracy"] is { } masked) table.AddRow($"{split}, masked bits only", Percent((double)masked), "", "");
        foreach ((string rule, JsonNode? score) in floors) table.AddRow($"floor: {Markup.Escape(FloorName(rule))}", Percent((double)score!), "", "");
        Output.Line($"{results["task"]} on {results["backbone"]} ({results["init"]}), policy {results["policy"]}, seed {results["seed"]}");
        Output.Write(table);
        JsonNode parameters = results["parameters"]!;
        Output.Line(FormattableString.Invariant(
            $"trained {(long)parameters["trained"]!:N0} of {(long)parameters["total"]!:N0} parameters ({(double)parameters["trained_percent"]!:F2} %), {(long)results["steps"]!:N0} steps in {(double)results["seconds"]!:F0} s, {(double)results["tokens_per_second"]!:N0} tokens/s, peak memory {Output.Bytes((long)results["peak_memory_bytes"]!)}"));
        Output.Line("frozen weights: bit-identical before and after");
        Output.Line($"run folder: {folder}");
        if (File.Exists(ReportFile.In(folder))) Output.Line($"report: {ReportFile.In(folder)}");
    }

    private static void Check(JsonObject results)
    {
        var shares = new List<JsonNode?>(JsonFile.Given(results, "floors").AsObject().Select(floor => floor.Value));
        foreach ((string split, _) in JsonFile.Given(results, "metrics").AsObject())
        {
            JsonNode scores = JsonFile.Given(results["metrics"]!, split);
            shares.Add(scores["accuracy"]);
            if (scores["masked_accuracy"] is { } masked) shares.Add(masked);
            _ = ((double)JsonFile.Given(scores, "loss"), (long)JsonFile.Given(scores, "count"));
        }
        if (shares.Any(share => Share(share) is null)) throw new FormatException("no share");
        JsonNode parameters = JsonFile.Given(results, "parameters");
        foreach (string count in new[] { "trained", "total" }) _ = (long)JsonFile.Given(parameters, count);
        foreach (string count in new[] { "steps", "peak_memory_bytes" }) _ = (long)JsonFile.Given(results, count);
        foreach (string number in new[] { "seconds", "tokens_per_second" }) _ = (double)JsonFile.Given(results, number);
        _ = (double)JsonFile.Given(parameters, "trained_percent");
    }

    public static string Percent(double share) => (100 * share).ToString("F2", CultureInfo.InvariantCulture) + " %";

    public static string FloorName(string rule) => FloorNames.Of(rule);
}
