using System.Text.Json;
using System.Text.Json.Nodes;
using Permafrost.Runs;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Studies;

/// <summary>The values of one key of metrics.jsonl over the steps.</summary>
internal sealed class Curve
{
    // Enough for any screen, and few enough that a page of many long runs stays at a few megabytes.
    private const int MostPoints = 2000;
    private const double Smoothing = 0.6;

    /// <summary>Steps, rising.</summary>
    public List<long> Steps { get; } = [];

    /// <summary>Values; null where the number was not finite, or an accuracy was not a share from 0 to 1.</summary>
    public List<double?> Values { get; } = [];

    /// <summary>Appends a point; a step that was there already, as in a log that went back to a checkpoint, replaces what came since.</summary>
    public void Add(long step, double? value)
    {
        int keep = Steps.Count;
        while (keep > 0 && Steps[keep - 1] >= step) keep--;
        Steps.RemoveRange(keep, Steps.Count - keep);
        Values.RemoveRange(keep, Values.Count - keep);
        Steps.Add(step);
        Values.Add(value);
    }

    /// <summary>At most <see cref="MostPoints"/> points: of every stretch the lowest and the highest, so that spikes stay visible.</summary>
    public Curve Thinned()
    {
        if (Steps.Count <= MostPoints) return this;
        var thin = new Curve();
        const int Stretches = MostPoints / 2;
        for (int stretch = 0; stretch < Stretches; stretch++)
        {
            int start = (int)((long)Steps.Count * stretch / Stretches), end = (int)((long)Steps.Count * (stretch + 1) / Stretches);
            (int low, int high) = (start, start);
            for (int i = start + 1; i < end; i++)
            {
                if (Values[low] is null || Values[i] < Values[low]) low = i;
                if (Values[high] is null || Values[i] > Values[high]) high = i;
            }
            foreach (int i in low == high ? [low] : new[] { Math.Min(low, high), Math.Max(low, high) }) thin.Add(Steps[i], Values[i]);
        }
        return thin;
    }

    /// <summary>
    /// The exponential moving average of the values, weighted so that it does not lean towards zero at its start: as report.js draws it before its slider is moved.
    /// </summary>
    public List<double?> Smoothed()
    {
        double sum = 0, scale = 0;
        double? Next(double value)
        {
            (sum, scale) = (Smoothing * sum + (1 - Smoothing) * value, Smoothing * scale + (1 - Smoothing));
            return sum / scale;
        }
        return [.. Values.Select(value => value is { } number ? Next(number) : null)];
    }

    /// <summary>The curves of a metrics.jsonl by key.</summary>
    public static SortedDictionary<string, Curve> ReadAll(string path)
    {
        var curves = new SortedDictionary<string, Curve>(StringComparer.Ordinal);
        foreach (JsonObject line in MetricsLog.Read(path))
        {
            try
            {
                if (line["step"] is not JsonValue number || !number.TryGetValue(out long step)) continue;
                foreach ((string key, JsonNode? node) in line)
                {
                    bool isNumber = node is JsonValue value && value.GetValueKind() == JsonValueKind.Number;
                    if (key is "step" or "time" || !(isNumber || node is null)) continue;
                    if (!curves.TryGetValue(key, out Curve? curve)) curves[key] = curve = new Curve();
                    curve.Add(step, Plotted(key, node));
                }
            }
            catch (Exception error) when (error is ArgumentException or InvalidOperationException)
            {
                // A key twice, or text that is not Unicode: a damaged line is skipped, like a torn one.
            }
        }
        return curves;
    }

    private static double? Plotted(string key, JsonNode? number)
    {
        if (number is null) return null;
        double value = number.GetValue<double>();
        bool isShare = MetricInfo.IsShare(key[(key.IndexOf('/', StringComparison.Ordinal) + 1)..]);
        return double.IsFinite(value) && (value is >= 0 and <= 1 || !isShare) ? value : null;
    }
}
