using System.Text.Json.Nodes;
using Permafrost.Runs;

namespace Permafrost.Studies;

/// <summary>The difference between two runs in accuracy, example by example: two scores over the same examples do not say how much of their difference is chance.</summary>
/// <param name="Difference">The second run's accuracy minus the first's.</param>
/// <param name="StandardError">The standard error of the difference, over the choice of test examples.</param>
/// <param name="Examples">The number of examples that both answered.</param>
public sealed record PairedComparison(double Difference, double StandardError, long Examples)
{
    /// <summary>Whether the difference is more than two standard errors.</summary>
    public bool IsMoreThanChance => Math.Abs(Difference) > 2 * StandardError;

    /// <summary>Compares two runs by their <c>predictions.jsonl</c>.</summary>
    /// <returns>Null unless both runs answered the same examples.</returns>
    /// <exception cref="PermafrostException">A file is damaged.</exception>
    public static PairedComparison? Of(string first, string second)
    {
        string[] files = [PathOf(first), PathOf(second)];
        if (!files.All(File.Exists)) return null;
        (List<Answer> a, List<Answer> b) = (Read(files[0]), Read(files[1]));
        if (!a.Select(answer => answer.Target).SequenceEqual(b.Select(answer => answer.Target))) return null;
        double[] differences = [.. a.Zip(b, (one, other) => other.Right - one.Right)];
        if (differences.Length < 2) return null;
        double mean = differences.Average();
        double variance = differences.Sum(d => (d - mean) * (d - mean)) / (differences.Length - 1);
        return new PairedComparison(mean, Math.Sqrt(variance / differences.Length), differences.Length);
    }

    /// <summary>The path of a run's <c>predictions.jsonl</c>.</summary>
    public static string PathOf(string run) => Path.Combine(run, "predictions.jsonl");

    private static List<Answer> Read(string file)
    {
        try
        {
            return [.. MetricsLog.Read(file).Select(prediction => new Answer(prediction["target"]?.ToJsonString() ?? "", Right(prediction)))];
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

    // An example's right answers, and the share of the run's answers to it that are right.
    private sealed record Answer(string Target, double Right);
}
