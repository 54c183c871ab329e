namespace Permafrost.Studies;

/// <summary>A mean with how far chance may have moved it.</summary>
/// <param name="Mean">The mean.</param>
/// <param name="StandardError">Its standard error; 0 where it is not known.</param>
/// <param name="Count">How many values it is of.</param>
public sealed record Estimate(double Mean, double StandardError, int Count)
{
    // Student's t, two-sided 95 %, for 1 to 30 degrees of freedom; the normal value beyond.
    private static readonly double[] T95 =
    [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074,
        2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
    ];

    /// <summary>Half the width of the 95 % interval: Student's t over the values, or the normal one where the error is of a share over examples.</summary>
    public double Margin => StandardError * (Count is > 1 and <= 31 ? T95[Count - 2] : 1.960);

    /// <summary>Of some values.</summary>
    public static Estimate Of(IReadOnlyList<double> values)
    {
        double mean = values.Average();
        if (values.Count < 2) return new Estimate(mean, 0, values.Count);
        double variance = values.Sum(value => (value - mean) * (value - mean)) / (values.Count - 1);
        return new Estimate(mean, Math.Sqrt(variance / values.Count), values.Count);
    }

    /// <summary>Of one run's share of right answers, over the choice of examples.</summary>
    public static Estimate OfShare(double share, long examples, bool isShare) =>
        new(share, isShare && examples > 0 && share is >= 0 and <= 1 ? Math.Sqrt(share * (1 - share) / examples) : 0, 1);
}

/// <summary>What a table says of a claim.</summary>
public enum Verdict
{
    /// <summary>It holds on every task that counts.</summary>
    Holds,
    /// <summary>There is a task on which it does not hold, and none on which it does.</summary>
    DoesNotHold,
    /// <summary>The differences are within chance.</summary>
    NotDecided,
    /// <summary>A score is missing.</summary>
    NotRun,
    /// <summary>It holds on some tasks and does not on others.</summary>
    Mixed,
}

/// <summary>A claim on one task.</summary>
/// <param name="Task">The task.</param>
/// <param name="Difference">The arm's score minus the other's, turned so that more is better; null where one is missing.</param>
/// <param name="Verdict">What follows.</param>
public sealed record TaskVerdict(string Task, Estimate? Difference, Verdict Verdict);

/// <summary>A claim with what the table says of it.</summary>
/// <param name="Claim">The claim.</param>
/// <param name="Verdict">On all tasks together.</param>
/// <param name="Tasks">On each.</param>
public sealed record ClaimVerdict(StudyClaim Claim, Verdict Verdict, IReadOnlyList<TaskVerdict> Tasks)
{
    /// <summary>Every claim of a study.</summary>
    public static IReadOnlyList<ClaimVerdict> Of(StudyTable table) => [.. table.Plan.Study.Claims.Select(claim => Of(claim, table))];

    private static ClaimVerdict Of(StudyClaim claim, StudyTable table)
    {
        IEnumerable<string> tasks = table.Scores.Select(score => score.Cell.Task.Name).Distinct().Where(task => claim.Tasks.Count == 0 || claim.Tasks.Contains(task));
        TaskVerdict[] each = [.. tasks.Select(task => Of(claim, table.Of(task, claim.Arm), table.Of(task, claim.Other)))];
        Verdict[] known = [.. each.Select(one => one.Verdict).Distinct()];
        Verdict all = known switch
        {
            [var only] => only,
            [] => Verdict.NotRun,
            _ when known.Contains(Verdict.Holds) && known.Contains(Verdict.DoesNotHold) => Verdict.Mixed,
            // One task where it fails refutes it; one where it holds does not prove it.
            _ when known.Contains(Verdict.DoesNotHold) => Verdict.DoesNotHold,
            _ => Verdict.NotDecided,
        };
        return new ClaimVerdict(claim, all, each);
    }

    private static TaskVerdict Of(StudyClaim claim, StudyScore one, StudyScore other)
    {
        string task = one.Cell.Task.Name;
        if (Difference(one, other) is not { } difference) return new TaskVerdict(task, null, Verdict.NotRun);
        // One seed without a standard error decides nothing.
        if (difference.StandardError == 0 && difference.Count < 2) return new TaskVerdict(task, difference, Verdict.NotDecided);
        double bar = -claim.Margin ?? 0, low = difference.Mean - difference.Margin, high = difference.Mean + difference.Margin;
        Verdict verdict = low > bar ? Verdict.Holds : high < bar || (claim.Margin is null && high <= bar) ? Verdict.DoesNotHold : Verdict.NotDecided;
        return new TaskVerdict(task, difference, verdict);
    }

    // By pairs of runs of the same seed where there are several, else of two shares over their examples.
    private static Estimate? Difference(StudyScore one, StudyScore other)
    {
        if (one.Test is not { } a || other.Test is not { } b) return null;
        double sign = one.IsError ? -1 : 1;
        double[] pairs = [.. one.Runs.Join(other.Runs, run => run.Seed, run => run.Seed, (x, y) => sign * (x.Run.Result.Test![one.Metric!] - y.Run.Result.Test![one.Metric!]))];
        return pairs.Length > 1 ? Estimate.Of(pairs)
            : new Estimate(sign * (a.Mean - b.Mean), Math.Sqrt(a.StandardError * a.StandardError + b.StandardError * b.StandardError), 1);
    }
}
