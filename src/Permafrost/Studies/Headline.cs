using System.Globalization;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Studies;

/// <summary>A run in one sentence: what it scored, and whether a trivial rule would have scored that too.</summary>
/// <param name="Score">The beginning of the sentence: the score, or that there is none.</param>
/// <param name="Rest">The rest of the sentence.</param>
internal sealed record Headline(string Score, string Rest)
{
    public override string ToString() => Score + Rest;

    public static Headline Of(ReportRun run)
    {
        if (run.Results is null)
        {
            string planned = long.TryParse(run.Fact("max_steps"), out long steps) ? $" of {Count(steps)}" : "";
            string last = run.LastStep < 0 ? "no step was logged" : $"the last step logged is {Count(run.LastStep)}{planned}";
            return new Headline("Unfinished:", $" {last}; {Lacks(run)}.");
        }
        string split = run.Score("test") is null ? "validation" : "test";
        string task = run.Fact("task") is { Length: > 0 } name ? name + "\u2019s " : "";
        string effort = Effort(run) + (run.Missing.Count + run.Damage.Count > 0 ? $" ({Lacks(run)})" : "");
        if (run.Score(split) is not { } score) return new Headline("Finished", $", but results.json holds no {run.MainMetric.Replace('_', ' ')}; {effort}.");
        if (!MetricInfo.IsShare(run.MainMetric)) return new Headline($"{run.MainMetric} {run.Shown(score)}", $" on {task}{split} answers{NumberVerdict(run, score)}; {effort}.");
        return new Headline(Percent(score), $" of {task}{split} answers are right{Verdict(run, split, score)}; {effort}.");
    }

    /// <summary>A share as a percentage.</summary>
    public static string Percent(double share) => (100 * share).ToString("F2", CultureInfo.InvariantCulture) + "\u00a0%";

    /// <summary>A whole number with commas between its thousands.</summary>
    public static string Count(double number) => number.ToString("N0", CultureInfo.InvariantCulture);

    /// <summary>A duration in seconds, minutes or hours.</summary>
    public static string Duration(double seconds) => seconds switch
    {
        < 10 => FormattableString.Invariant($"{seconds:F1}\u00a0s"),
        < 100 => FormattableString.Invariant($"{seconds:F0}\u00a0s"),
        < 5970 => FormattableString.Invariant($"{Math.Round(seconds) / 60:F1}\u00a0min"),
        _ => FormattableString.Invariant($"{seconds / 3600:F1}\u00a0h"),
    };

    // A score within two standard errors of the best trivial rule's shows nothing.
    private static string Verdict(ReportRun run, string split, double score)
    {
        if (run.Baselines() is not [(string rule, double baseline), ..]) return ", with no baseline measured beside it";
        string named = $"the best trivial rule ({BaselineNames.Of(rule)}, {Percent(baseline)})";
        double count = run.Number("metrics", split, "count") ?? 0;
        double error = count > 0 ? Math.Sqrt((score * (1 - score) + baseline * (1 - baseline)) / count) : 0;
        if (score - baseline > 2 * error) return $", against {Percent(baseline)} by the best trivial rule ({BaselineNames.Of(rule)})";
        return score >= baseline ? $": no better than {named}, within two standard errors" : $": worse than {named}";
    }

    private static string NumberVerdict(ReportRun run, double score)
    {
        if (run.Baselines() is not [(string rule, double baseline), ..]) return ", with no baseline measured beside it";
        bool better = MetricInfo.IsError(run.MainMetric) ? score < baseline : score > baseline;
        return $"{(better ? ", against" : ": no better than")} {run.Shown(baseline)} by the best other ({BaselineNames.Of(rule)})";
    }

    private static string Effort(ReportRun run)
    {
        var parts = new List<string>();
        if (run.Number("parameters", "trained_percent") is { } share && run.Number("parameters", "total") is { } total)
            parts.Add(FormattableString.Invariant($"{share:0.##}\u00a0% of {Count(total)} parameters trained"));
        if (run.Number("steps") is { } steps) parts.Add($"in {Count(steps)} {(steps == 1 ? "step" : "steps")}");
        if (run.Number("seconds") is { } seconds) parts.Add($"and {Duration(seconds)}");
        return parts.Count == 0 ? "what it trained is not recorded" : string.Join(' ', parts);
    }

    private static string Lacks(ReportRun run)
    {
        var parts = new List<string>();
        if (run.Missing.Count > 0) parts.Add($"missing: {string.Join(", ", run.Missing)}");
        parts.AddRange(run.Damage);
        return string.Join("; ", parts);
    }
}
