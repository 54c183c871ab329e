using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Permafrost.Pretraining;

namespace Permafrost.Runs;

/// <summary>The README.md beside a pretrained model: what it is, what it was trained on, how it went, how to make it again.</summary>
internal static class ModelCard
{
    private const int CurveRows = 20;

    /// <summary>The card.</summary>
    /// <param name="options">How it was trained.</param>
    /// <param name="results">What it came to.</param>
    /// <param name="metrics">The run's metrics.jsonl, for the curve.</param>
    /// <param name="command">The command line.</param>
    public static string Of(PretrainingOptions options, JsonObject results, string metrics, string command)
    {
        var text = new StringBuilder();
        void Line(FormattableString line) => text.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
        Line($"# {options.Architecture}, pretrained by Permafrost");
        Line($"");
        long Whole(string key) => results[key]!.GetValue<long>();
        string files = string.Join(", ", options.Paths.Select(path => Path.GetFileName(path.TrimEnd('/'))));
        Line($"A {options.Architecture} of {Whole("parameters"):N0} parameters, trained from random weights with the objective `{options.ObjectiveName}`,");
        Line($"on sequences of {options.Context} tokens.");
        Line($"");
        Line($"- {Whole("steps"):N0} steps of {options.BatchSize} sequences: {Whole("tokens"):N0} tokens, {results["seconds"]!.GetValue<double>() / 3600:F2} hours");
        Line($"- text: {Whole("training_tokens"):N0} tokens, {Whole("training_bytes"):N0} bytes, from {files}");
        Line($"- {options.Optim}, learning rate {options.LearningRate} ({options.LrSchedulerType}, {options.WarmupSteps} warm-up steps), weight decay {options.WeightDecay},");
        Line($"  dropout {options.Dropout}, products in {options.Dtype}");
        Line($"");
        Line($"Made by:");
        Line($"");
        Line($"```");
        Line($"{command}");
        Line($"```");
        Line($"");
        Line($"## Held-out text");
        Line($"");
        foreach ((string file, JsonNode? node) in (JsonObject)results["held_out"]!)
        {
            string bits = node!["bits_per_byte"] is { } value ? FormattableString.Invariant($"{value.GetValue<double>():F3} bits per byte, ") : "";
            string loss = node["loss"] is { } number ? FormattableString.Invariant($"loss {number.GetValue<double>():F4}") : "a loss that is not finite";
            Line($"- `{file}`: {bits}{loss} over {node["answers"]!.GetValue<long>():N0} tokens");
            Line($"  (documents: {string.Join(", ", ((JsonArray)results["held_out_documents"]![file]!).Select(one => one!.ToString()))})");
        }
        Line($"");
        Line($"## Curve");
        Line($"");
        Line($"| step | training loss |");
        Line($"| --- | --- |");
        JsonObject[] lines = [.. MetricsLog.Read(metrics).Where(line => line["train/loss"] is not null)];
        for (int i = 0; i < Math.Min(CurveRows, lines.Length); i++)
        {
            JsonObject line = lines[(int)((i + 1L) * lines.Length / Math.Min(CurveRows, lines.Length)) - 1];
            Line($"| {line["step"]} | {line["train/loss"]!.GetValue<double>():F4} |");
        }
        return text.ToString();
    }
}
