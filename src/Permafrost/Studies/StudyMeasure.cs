using System.Globalization;
using Permafrost.Runs;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Studies;

/// <summary>What can stand beside a study's scores.</summary>
public static class StudyMeasure
{
    // How near to its best a validation score counts as there, as a share; of another metric, as a share of the best.
    private const double Near = 0.01;

    /// <summary>
    /// The names: <c>updates</c>, after how many the validation score first was within a point of its best; <c>trained</c>, how many parameters train, whole tables counted;
    /// <c>speed</c>, tokens a second while training.
    /// </summary>
    public static IReadOnlyList<string> All { get; } = ["updates", "trained", "speed"];

    /// <summary>The mean over a cell's runs that saw the test split; null where there is none, or none has it.</summary>
    internal static double? Of(string measure, StudyScore score)
    {
        double[] values = [.. score.Runs.Select(run => Of(measure, run.Run, score.Metric!)).OfType<double>()];
        return values.Length == 0 ? null : values.Average();
    }

    /// <summary>Of one run; null where it has none.</summary>
    internal static double? Of(string measure, StudyRun run, string metric) => measure switch
    {
        "updates" => UpdatesToBest(RunFolder.Open(run.Folder).Metrics, metric),
        "trained" => run.Result.Parameters.Trained,
        _ => run.Result.TokensPerSecond,
    };

    /// <summary>A value with its unit.</summary>
    internal static string Shown(string measure, double value) => measure switch
    {
        "updates" => $"{Rounded(value)} updates",
        "trained" => $"{Rounded(value)} trained",
        _ => $"{Rounded(value)} tokens/s",
    };

    private static string Rounded(double value) => value.ToString("N0", CultureInfo.InvariantCulture);

    internal static double? UpdatesToBest(string log, string metric)
    {
        if (!Curve.ReadAll(log).TryGetValue($"eval/{metric}", out Curve? curve)) return null;
        double sign = MetricInfo.IsError(metric) ? -1 : 1;
        (long Step, double Value)[] points = [.. curve.Steps.Zip(curve.Values).Where(point => point.Second is not null).Select(point => (point.First, sign * point.Second!.Value))];
        if (points.Length == 0) return null;
        double best = points.Max(point => point.Value), margin = MetricInfo.IsShare(metric) ? Near : Near * Math.Abs(best);
        return points.First(point => point.Value >= best - margin).Step;
    }
}
