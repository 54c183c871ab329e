using Permafrost.Runs;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Studies;

/// <summary>A learning rate that was tried.</summary>
/// <param name="Rate">The rate.</param>
/// <param name="Score">The score on validation; null where it diverged or has not finished.</param>
/// <param name="Diverged">Whether training diverged with it.</param>
public sealed record TriedRate(double Rate, double? Score, bool Diverged);

/// <summary>What a cell came to.</summary>
/// <param name="Cell">Arm and task.</param>
/// <param name="Metric">The name of the metric that is shown, the main one unless the task names another; null where nothing has finished.</param>
/// <param name="Rate">The learning rate that was best on validation; null where one of them has neither finished nor diverged.</param>
/// <param name="Validation">The rates.</param>
/// <param name="Runs">The runs with that rate that saw the test split, by seed.</param>
public sealed record StudyScore(
    StudyCell Cell, string? Metric, double? Rate, IReadOnlyList<TriedRate> Validation, IReadOnlyList<(long Seed, StudyRun Run)> Runs)
{
    /// <summary>The main metric, whose best on validation chose the rate; null where nothing has finished.</summary>
    public string? ChosenBy { get; init; }

    /// <summary>The test scores, one a seed.</summary>
    public IReadOnlyList<double> Scores => [.. Runs.Select(run => run.Run.Result.Test![Metric!])];

    /// <summary>Mean and standard error over the seeds; with one seed, of a share over the test examples. Null where nothing was scored.</summary>
    public Estimate? Test => Metric is null || Runs.Count == 0 ? null
        : Runs.Count > 1 ? Estimate.Of(Scores) : Estimate.OfShare(Scores[0], Runs[0].Run.Result.Test!.Count, MetricInfo.IsShare(Metric));

    /// <summary>Whether the chosen rate is the lowest or the highest that was tried, so that a better one may lie beyond.</summary>
    public bool AtEdge => Cell.Rates.Count > 2 && Rate is { } rate && (rate == Cell.Rates.Min() || rate == Cell.Rates.Max());

    /// <summary>Whether less is better.</summary>
    public bool IsError => Metric is not null && MetricInfo.IsError(Metric);
}

/// <summary>A study's results as they lie on disk.</summary>
public sealed record StudyTable(StudyPlan Plan, IReadOnlyList<StudyScore> Scores)
{
    /// <summary>Reads what has finished.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="root">The folder of all studies' runs.</param>
    /// <exception cref="PermafrostException">A result is damaged.</exception>
    public static StudyTable Read(StudyPlan plan, string root) => new(plan, [.. plan.Cells.Select(cell => ScoreOf(cell, root))]);

    /// <summary>The score of an arm on a task.</summary>
    public StudyScore Of(string task, string arm) => Scores.First(score => score.Cell.Task.Name == task && score.Cell.Arm.Name == arm);

    /// <summary>What else a user would try, the best first; of one that depends on the body, such as a linear probe, the best of all arms.</summary>
    public IReadOnlyList<(string Name, double Score)> Baselines(string task)
    {
        StudyScore[] row = [.. Scores.Where(score => score.Cell.Task.Name == task)];
        double sign = row.Any(score => score.IsError) ? -1 : 1;
        IEnumerable<RunBaselines> measured = row.SelectMany(score => score.Runs).Select(run => run.Run.Result.Baselines);
        return [.. measured.SelectMany(baselines => baselines.Strong.Concat(baselines.Trivial)).GroupBy(pair => pair.Key, pair => pair.Value)
            .Select(group => (Name: group.Key, Score: group.MaxBy(score => sign * score))).OrderByDescending(one => sign * one.Score)];
    }

    internal static string Folder(string root, RunOptions options) => Path.Combine(root, "runs", StudyPlan.Id(options));

    internal static string Diverged(string folder) => Path.Combine(folder, "diverged.txt");

    /// <summary>The rate with the best validation of those that have finished; null where none has.</summary>
    internal static double? ChosenRate(string root, StudyCell cell) => ScoreOf(cell, root).Rate;

    private static StudyScore ScoreOf(StudyCell cell, string root)
    {
        if (cell.Missing is not null) return new StudyScore(cell, null, null, [], []);
        (double Rate, RunResult? Result, bool Diverged)[] tried = [.. cell.Rates.Select(rate => Tried(root, cell, rate))];
        (double Rate, RunResult Result)[] finished = [.. tried.Where(one => one.Result?.Validation is not null).Select(one => (one.Rate, one.Result!))];
        string? metric = finished is [var (_, first), ..] ? first.Validation!.Values.Keys.First() : null;
        TriedRate[] validation = [.. tried.Select(one => new TriedRate(one.Rate, metric is null ? null : one.Result?.Validation?[metric], one.Diverged))];
        // A rate is chosen from all of them, or from none.
        if (metric is null || finished.Length + tried.Count(one => one.Diverged) < tried.Length) return new StudyScore(cell, metric, null, validation, []);
        double Signed(RunResult result) => MetricInfo.IsError(metric) ? -result.Validation![metric] : result.Validation![metric];
        double rate = finished.OrderByDescending(one => Signed(one.Result)).ThenBy(one => one.Result.Validation!.Loss).First().Rate;
        string shown = cell.Task.Metric ?? metric;
        (long Seed, StudyRun Run)[] runs = [.. from seed in cell.Seeds let run = Result(root, cell.Run(seed, rate)) where run?.Result.Test is not null select (seed, run)];
        if (runs.FirstOrDefault(run => !run.Run.Result.Test!.Values.ContainsKey(shown)).Run is { } lacking)
        {
            string measured = string.Join(", ", lacking.Result.Test!.Values.Keys);
            throw new UsageException($"the study's task '{cell.Task.Name}' asks for the metric '{shown}', which its runs do not measure; they measure {measured}");
        }
        return new StudyScore(cell, shown, rate, validation, runs) { ChosenBy = metric };
    }

    private static (double Rate, RunResult? Result, bool Diverged) Tried(string root, StudyCell cell, double rate)
    {
        RunOptions options = cell.Run(cell.Seeds[0], rate);
        return (rate, Result(root, options)?.Result, File.Exists(Diverged(Folder(root, options))));
    }

    private static StudyRun? Result(string root, RunOptions options)
    {
        string folder = Folder(root, options);
        return File.Exists(Path.Combine(folder, "results.json")) ? new StudyRun(folder, RunResult.Read(RunFolder.Open(folder))) : null;
    }
}
