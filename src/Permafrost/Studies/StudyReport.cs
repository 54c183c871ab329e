using System.Globalization;
using System.Text;
using Permafrost.Formats;
using Permafrost.Runs;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Studies;

/// <summary>A study's table beside the published one: as Markdown, as CSV, and as what a report's page opens with.</summary>
/// <param name="table">The results.</param>
/// <param name="command">What runs it, for the record.</param>
public sealed class StudyReport(StudyTable table, string command)
{
    private readonly StudyPlan plan = table.Plan;

    private IEnumerable<StudyTask> Tasks => plan.Cells.Select(cell => cell.Task).DistinctBy(task => task.Name);

    /// <summary>The folders of the runs that saw the test split.</summary>
    public IReadOnlyList<string> Runs => [.. table.Scores.SelectMany(score => score.Runs).Select(run => run.Run.Folder).Distinct()];

    /// <summary>What runs it.</summary>
    public string Command => command;

    /// <summary>What the page of a report opens with.</summary>
    public ReportLead Lead => new(
        $"{plan.Study.Title} ({plan.Scale})", plan.Study.Question, [.. plan.Arms.Select(arm => arm.Name)],
        [.. Tasks.Select(task => new LeadRow(task.Name, task.Asks, [.. plan.Arms.Select(arm => Score(table.Of(task.Name, arm.Name)))],
            [.. table.Baselines(task.Name).Where(one => one.Score is >= 0 and <= 1).Select(one => (QuickstartText.Short(one.Name), one.Score))]))],
        [.. ClaimVerdict.Of(table).Select(Sentence)], [.. plan.Study.Notes, .. Footnotes], [], "");

    /// <summary>The table as Markdown, with verdicts, and what was published beside each score.</summary>
    public string Markdown()
    {
        var text = new StringBuilder($"# {plan.Study.Title}\n\n{plan.Study.Question}\n\n`{Command}` reproduces {string.Join(", ", plan.Study.Reproduces)}.\n\n");
        text.Append($"| task | {string.Join(" | ", plan.Arms.Select(arm => arm.Name))} | beside it |\n");
        text.Append($"|{string.Concat(Enumerable.Repeat(" --- |", plan.Arms.Count + 2))}\n");
        foreach (StudyTask task in Tasks)
        {
            IEnumerable<string> cells = plan.Arms.Select(arm => Cell(table.Of(task.Name, arm.Name)));
            IEnumerable<string> beside = table.Baselines(task.Name).Take(3).Select(one => $"{QuickstartText.Short(one.Name)} {Shown(one.Score, one.Score is >= 0 and <= 1)}");
            text.Append($"| {task.Name} | {string.Join(" | ", cells)} | {string.Join(", ", beside)} |\n");
        }
        text.Append('\n');
        foreach (ClaimVerdict verdict in ClaimVerdict.Of(table)) text.Append($"- {Sentence(verdict)}\n");
        text.Append('\n');
        foreach (StudyArm arm in plan.Arms.Where(arm => arm.Summary.Length > 0)) text.Append($"- **{arm.Name}**: {arm.Summary}\n");
        text.Append('\n');
        foreach (string note in plan.Study.Notes.Concat(Footnotes)) text.Append($"{note}\n\n");
        return text.ToString();
    }

    /// <summary>A line for each run that saw the test split, one for each rate that was tried, and one for each arm that is missing.</summary>
    public string Csv()
    {
        var text = new StringBuilder($"# {Command}\ntask,arm,seed,learning_rate,split,metric,score,count,steps,trained_percent,backbone,init,policy,run"
            + $"{string.Concat(plan.Study.Also.Select(one => "," + one))}\n");
        static string Field(object? value) => Quoted(Convert.ToString(value, CultureInfo.InvariantCulture) ?? "");
        void Line(params object?[] fields) => text.AppendJoin(',', fields.Select(Field)).Append('\n');
        foreach (StudyScore score in table.Scores)
        {
            (string task, string arm, ModelOptions model) = (score.Cell.Task.Name, score.Cell.Arm.Name, score.Cell.Options.Model);
            if (score.Cell.Missing is { } why) Line(task, arm, null, null, "missing", why, null, null, null, null, null, null, null, null);
            foreach (TriedRate tried in score.Validation)
            {
                (string split, string? metric) = (tried.Diverged ? "diverged" : "validation", score.ChosenBy ?? score.Metric);
                Line(task, arm, score.Cell.Seeds[0], tried.Rate, split, metric, tried.Score, null, null, null, model.Backbone, model.Init, model.Policy, null);
            }
            foreach ((long seed, StudyRun run) in score.Runs)
            {
                RunResult result = run.Result;
                Line(
                [
                    task, arm, seed, result.LearningRate, "test", score.Metric, result.Test![score.Metric!], result.Test!.Count, result.Steps, result.Parameters.TrainedPercent,
                    result.Backbone, result.Init, result.Policy, Path.GetFileName(run.Folder), .. plan.Study.Also.Select(one => (object?)StudyMeasure.Of(one, run, score.Metric!)),
                ]);
            }
        }
        return text.ToString();
    }

    /// <summary>Writes <c>results.csv</c>, <c>results.md</c> and, once a run has seen the test split, <c>report.html</c>.</summary>
    /// <param name="folder">The folder; it is made where it is missing.</param>
    /// <param name="draw">Draws the page's curves where it is not interactive; null for none.</param>
    /// <exception cref="PermafrostException">It cannot be written.</exception>
    public void Write(string folder, FigureDrawer? draw = null)
    {
        AtomicFile.MakeFolder(folder);
        AtomicFile.WriteText(Path.Combine(folder, "results.csv"), Csv());
        AtomicFile.WriteText(Path.Combine(folder, "results.md"), Markdown());
        string page = Path.Combine(folder, "report.html");
        if (Runs.Count > 0) RunReport.Write(page, Runs, new ReportOptions { Lead = Lead, Draw = draw });
        // A page of runs that this plan no longer names would say otherwise than the table beside it.
        else File.Delete(page);
    }

    private IEnumerable<string> Footnotes
    {
        get
        {
            StudyScale scale = plan.Study.Scales[plan.Scale];
            string rates = string.Join(", ", scale.Rates.Select(rate => FormattableString.Invariant($"{rate}")));
            yield return $"Each arm has its own learning rate, {(scale.Rates.Count > 1 ? "the best of " : "")}{rates} on validation with seed {scale.Seeds[0]}; "
                + (scale.Seeds.Count > 1 ? $"scores are means over {scale.Seeds.Count} seeds with their standard error." : "one seed; the error is of the test examples' choice.");
            if (plan.Arms.Any(StudyControls.Is)) yield return StudyControls.Note;
            string[] edges = [.. table.Scores.Where(score => score.AtEdge).Select(score => $"{score.Cell.Name} ({score.Rate!.Value.ToString(CultureInfo.InvariantCulture)})")];
            if (edges.Length > 0) yield return $"At the edge of the rates that were tried, so that a better one may lie beyond: {string.Join(", ", edges)}.";
            IEnumerable<string> diverged =
                from score in table.Scores
                from tried in score.Validation
                where tried.Diverged
                select FormattableString.Invariant($"{score.Cell.Name} ({tried.Rate})");
            if (diverged.Any()) yield return $"Rates at which training diverged, and which are out: {string.Join(", ", diverged)}.";
            foreach (StudyScore score in table.Scores.Where(score => score.Cell.Missing is not null).DistinctBy(score => score.Cell.Arm.Name))
                yield return $"{score.Cell.Arm.Name} is missing at this scale: {score.Cell.Missing}.";
            string[] sources = [.. plan.Study.Published.Select(one => $"{one.Source} ({one.How})").Distinct()];
            const string Compare = "Published numbers are of other bodies, budgets and often other splits: the order of the arms can be compared, not the numbers.";
            if (sources.Length > 0) yield return $"Published: {string.Join("; ", sources)}. {Compare}";
        }
    }

    private LeadScore Score(StudyScore score)
    {
        IEnumerable<string> beside = plan.Study.Also.Select(measure => Beside(score, measure)).OfType<string>();
        string under = string.Join("; ", ((string?[])[Published(score), .. beside, score.Rate is { } rate ? FormattableString.Invariant($"rate {rate}") : null])
            .Where(part => part is not null));
        if (score.Test is not { } test) return new LeadScore(score.Cell.Arm.Name, 0, 0, score.Cell.Missing is null ? "not run" : "missing", under);
        return new LeadScore(score.Cell.Arm.Name, test.Mean, test.StandardError, Scored(score), under);
    }

    private string Cell(StudyScore score)
    {
        IEnumerable<string> beside = plan.Study.Also.Select(measure => Beside(score, measure)).OfType<string>();
        return string.Join("; ", beside.Prepend(Scored(score) + (Published(score) is { } published ? $" ({published})" : "")));
    }

    private static string Scored(StudyScore score)
    {
        if (score.Test is not { } test) return score.Cell.Missing is null ? "not run" : "missing";
        bool isShare = MetricInfo.IsShare(score.Metric!);
        string error = test.StandardError > 0 ? $" ± {Shown(test.StandardError, isShare, unit: false)}" : "";
        string lost = score.Runs.Count < score.Cell.Seeds.Count ? $" ({score.Runs.Count} of {score.Cell.Seeds.Count} seeds)" : "";
        return Shown(test.Mean, isShare) + error + lost;
    }

    private string? Published(StudyScore score) =>
        Published(score, null) is { } value ? $"published {(100 * value).ToString("0.##", CultureInfo.InvariantCulture)}" : null;

    // A measure of the runs, the published one, or both; null where there is neither.
    private string? Beside(StudyScore score, string measure)
    {
        (double? own, double? published) = (StudyMeasure.Of(measure, score), Published(score, measure));
        string? shown = published is { } value ? $"published {StudyMeasure.Shown(measure, value)}" : null;
        return own is { } number ? StudyMeasure.Shown(measure, number) + (shown is null ? "" : $" ({shown})") : shown;
    }

    private double? Published(StudyScore score, string? measure) =>
        plan.Study.Published.FirstOrDefault(one => one.Measure == measure && one.Arm == score.Cell.Arm.Name && one.Task == score.Cell.Task.Name)?.Value;

    private static string Sentence(ClaimVerdict verdict)
    {
        if (verdict.Verdict == Verdict.NotRun) return $"{verdict.Claim.Text}: not run";
        IEnumerable<string> tasks = verdict.Tasks.Where(task => task.Difference is not null).Select(task => FormattableString.Invariant(
            $"{task.Task} {100 * task.Difference!.Mean:+0.0;-0.0;0.0} ± {100 * task.Difference.Margin:0.0}, {Words(task.Verdict)}"));
        return $"{verdict.Claim.Text}: {Words(verdict.Verdict)} ({verdict.Claim.Arm} minus {verdict.Claim.Other}, in points with the 95 % interval: {string.Join("; ", tasks)})";
    }

    private static string Words(Verdict verdict) => verdict switch
    {
        Verdict.Holds => "holds",
        Verdict.DoesNotHold => "does not hold",
        Verdict.Mixed => "holds on some tasks and not on others",
        Verdict.NotRun => "not run",
        _ => "not decided",
    };

    private static string Shown(double value, bool isShare, bool unit = true) => isShare
        ? (100 * value).ToString("0.0", CultureInfo.InvariantCulture) + (unit ? " %" : "") : value.ToString("0.####", CultureInfo.InvariantCulture);

    private static string Quoted(string field) => field.AsSpan().IndexOfAny(',', '"', '\n') < 0 ? field : $"\"{field.Replace("\"", "\"\"")}\"";
}
