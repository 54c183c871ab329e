namespace Permafrost.Tasks.Metrics;

/// <summary>A metric: what it is called, how it is measured, and which way is better.</summary>
/// <param name="Name">The name in results and logs.</param>
/// <param name="Measure">One of <see cref="Metric.Measures"/>.</param>
/// <param name="HigherIsBetter">Whether a higher value is better, as for an accuracy, or a lower one, as for an error.</param>
/// <param name="Unit"><c>share</c> for a number from 0 to 1 that is shown in percent; empty for a plain number.</param>
/// <param name="Over">The named subset of answers (<see cref="Data.Batch.Subsets"/>) that count; null for all.</param>
public sealed record MetricInfo(string Name, string Measure, bool HigherIsBetter, string Unit = "", string? Over = null)
{
    /// <summary>Share of right answers.</summary>
    public static MetricInfo Accuracy { get; } = new("accuracy", "accuracy", HigherIsBetter: true, "share");

    /// <summary>Share of the examples whose answers are all right; of a sequence, to its end.</summary>
    public static MetricInfo ExactMatch { get; } = new("exact_match", "exact_match", HigherIsBetter: true, "share");

    /// <summary>The harmonic mean of precision and recall of one class (van Rijsbergen 1979); 0 where it is never given nor right.</summary>
    /// <param name="of">The class.</param>
    public static MetricInfo F1(int of) => new("f1", "f1", HigherIsBetter: true, "share") { Class = of };

    /// <summary>F1 over the labels of all examples together, where each has any number of them.</summary>
    public static MetricInfo MicroF1 { get; } = F1(1) with { Name = "micro_f1" };

    /// <summary>The mean of every label's own F1; a label that nobody gives nor wants has 0.</summary>
    public static MetricInfo MacroF1 { get; } = new("macro_f1", "macro_f1", HigherIsBetter: true, "share");

    /// <summary>The area under the receiver operating characteristic of one class: how often an example of it gets more of it than another; 0.5 for a guess.</summary>
    /// <param name="of">The class.</param>
    public static MetricInfo AreaUnderCurve(int of) => new("auc", "auc", HigherIsBetter: true, "share") { Class = of };

    /// <summary>The class that is measured, where one is; null for all.</summary>
    public int? Class { get; init; }

    /// <summary>Root of the mean squared difference.</summary>
    public static MetricInfo RootMeanSquaredError { get; } = new("rmse", "rmse", HigherIsBetter: false);

    /// <summary>Mean absolute difference.</summary>
    public static MetricInfo MeanAbsoluteError { get; } = new("mae", "mae", HigherIsBetter: false);

    /// <summary>Share of the targets' variance that is explained: 1 at best, 0 for always answering their mean.</summary>
    public static MetricInfo R2 { get; } = new("r2", "r2", HigherIsBetter: true);

    /// <summary>Whether a metric of that name in a file is a share from 0 to 1, which is shown in percent.</summary>
    public static bool IsShare(string name) =>
        name.Contains("accuracy", StringComparison.Ordinal) || name.Contains("exact_match", StringComparison.Ordinal) || name is "f1" or "auc" or "micro_f1" or "macro_f1";

    /// <summary>Whether a metric of that name in a file is an error, of which less is better.</summary>
    public static bool IsError(string name) => name.EndsWith("rmse", StringComparison.Ordinal) || name.EndsWith("mae", StringComparison.Ordinal);

    /// <summary>Whether a value is better than another; false where they are equal or one of them is NaN.</summary>
    public bool IsBetter(double value, double than) => HigherIsBetter ? value > than : value < than;
}
