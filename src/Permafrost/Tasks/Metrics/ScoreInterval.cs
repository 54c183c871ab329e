namespace Permafrost.Tasks.Metrics;

/// <summary>Where a share of right answers would lie if it were measured over all examples there could be, with 95 % confidence.</summary>
/// <param name="Low">The lower bound, from 0 to 1.</param>
/// <param name="High">The upper bound, from 0 to 1.</param>
public sealed record ScoreInterval(double Low, double High)
{
    // The normal distribution's 97.5 % quantile.
    private const double Deviations = 1.959963984540054;

    /// <summary>Wilson's score interval (Wilson 1927), which also holds near 0 and 1 and for few examples, where a share plus and minus two standard errors does not.</summary>
    /// <param name="share">The share of right answers.</param>
    /// <param name="count">How many examples it was measured over.</param>
    public static ScoreInterval Wilson(double share, long count)
    {
        double squared = Deviations * Deviations, scale = 1 + squared / count, middle = (share + squared / (2 * count)) / scale;
        double half = Deviations / scale * Math.Sqrt(share * (1 - share) / count + squared / (4.0 * count * count));
        return new ScoreInterval(Math.Max(0, middle - half), Math.Min(1, middle + half));
    }

    /// <summary>The interval of a split's first metric, where that is a share of its examples: an accuracy with one answer each, or exact match, over all of them.</summary>
    /// <param name="spec">What was asked for.</param>
    /// <param name="scores">The split's scores.</param>
    /// <returns>Null for other metrics.</returns>
    internal static ScoreInterval? Of(TaskSpec spec, Scores scores)
    {
        MetricInfo metric = spec.Metrics[0];
        bool isShare = metric.Over is null && (metric.Measure == "exact_match" || (metric.Measure == "accuracy" && spec.Output is ClassOutput { Count: 1 }));
        return isShare && scores.Count > 0 ? Wilson(scores[metric.Name], scores.Count) : null;
    }
}
