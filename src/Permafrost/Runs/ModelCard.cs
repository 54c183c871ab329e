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
    /// <param name="result">What it came to.</param>
    /// <param name="metrics">The run's metrics.jsonl, for the curve.</param>
    /// <param name="command">The command line.</param>
    public static string Of(PretrainingOptions options, PretrainingResult result, string metrics, string command)
    {
        var text = new StringBuilder();
        void Line(FormattableString line) => text.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
        Line($"# {options.Architecture}, pretrained by Permafrost");
        Line($"");
        string files = string.Join(", ", options.Paths.Select(path => Path.GetFileName(path.TrimEnd('/'))));
        Line($"A {options.Architecture} of {result.Parameters:N0} parameters, trained from random weights with the objective `{options.ObjectiveName}`,");
        Line($"on sequences of {options.Context} tokens.");
        Line($"");
        Line($"- {result.State.Step:N0} steps of {options.BatchSize} sequences: {result.State.Tokens:N0} tokens, {result.State.Seconds / 3600:F2} hours");
        Line($"- text: {result.TrainingTokens:N0} tokens, {result.TrainingBytes:N0} bytes, from {files}");
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
        foreach (HeldOutResult one in result.HeldOut)
        {
            string bits = one.Score.BitsPerByte is { } value && double.IsFinite(value) ? FormattableString.Invariant($"{value:F3} bits per byte, ") : "";
            string loss = double.IsFinite(one.Score.Loss) ? FormattableString.Invariant($"loss {one.Score.Loss:F4}") : "a loss that is not finite";
            string xz = one.XzBitsPerByte is { } packed ? FormattableString.Invariant($"; `xz -9` of this text alone: {packed:F3}") : "";
            Line($"- `{one.File}`: {bits}{loss} over {one.Score.Answers:N0} tokens; bigrams of the tokens: {one.BigramBitsPerByte:F3} bits per byte{xz}");
            Line($"  (documents: {string.Join(", ", one.Documents)})");
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
