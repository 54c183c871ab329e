using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Runs;
using Permafrost.Studies;
using Permafrost.Training.Options;
using Spectre.Console;

namespace Permafrost.Cli.Terminal;

/// <summary>A study on the terminal: its plan, its progress, its table.</summary>
internal static class StudyText
{
    public static string Plan(StudyPlan plan, string root, int part, int parts)
    {
        string share = parts > 1 ? $"; this is part {part} of {parts}" : "";
        string bodies = string.Join(", ", plan.Bodies);
        string size = FormattableString.Invariant($"{plan.Cells.Count} scores, {plan.Runs} runs, {plan.Updates:N0} updates at most");
        return $"{plan.Study.Title}, {plan.Scale}: {size}, on {bodies}, in {root}{share}";
    }

    /// <summary>What the runs that are left will take, in a sentence or two.</summary>
    public static string Estimate(StudyEstimate estimate)
    {
        CellEstimate[] unmeasured = [.. estimate.Cells.Where(cell => cell.Seconds is null)];
        if (estimate.Cells.Count == 0) return "Nothing is left to run.";
        IEnumerable<string> reasons = unmeasured.GroupBy(cell => cell.Why).Select(group => $"{group.Count()} of them ({group.Key})");
        string lacking = unmeasured.Length == 0 ? "" : $" Not measured: {string.Join("; ", reasons)}.";
        if (unmeasured.Length == estimate.Cells.Count) return $"Time and memory are not estimated.{lacking}";
        CellEstimate longest = estimate.Cells.MaxBy(cell => cell.Seconds ?? 0)!;
        return $"An update and a scored batch were timed here: about {Hours(estimate.Seconds)} of training and validating on this machine where no run ends early, "
            + $"and up to {Output.Bytes(estimate.PeakBytes!.Value)} of memory; the longest is {longest.Cell.Name} ({Hours(longest.Seconds!.Value)}).{lacking}";
    }

    private static string Hours(double seconds) => seconds switch
    {
        < 90 => FormattableString.Invariant($"{seconds:0} s"),
        < 5400 => FormattableString.Invariant($"{seconds / 60:0} min"),
        _ => FormattableString.Invariant($"{seconds / 3600:0.0} h"),
    };

    /// <summary>Which part of a study, and of how many.</summary>
    public static (int Part, int Parts) Part(string text)
    {
        string[] parts = text.Split('/');
        if (parts.Length == 2 && int.TryParse(parts[0], out int index) && int.TryParse(parts[1], out int count) && index >= 1 && count >= index) return (index, count);
        throw new UsageException($"--index '{text}' is not a part of a whole; write 1/16 to 16/16");
    }

    private static string Command(StudyPlan plan) => $"permafrost study run {ShellWord.Quoted(plan.Study.Reference)} --scale {plan.Scale}";

    /// <summary>What has finished.</summary>
    public static StudyReport Report(StudyPlan plan, string root) => new(StudyTable.Read(plan, root), Command(plan));

    public static IReadOnlyList<StudyFailure> Run(StudyPlan plan, string root, StopRequest stop, int part, int parts, int jobs)
    {
        string command = Command(plan);
        var sweep = new Sweep(command, stop)
        {
            Warn = Output.Note,
            StrongBaselines = Baselines.StrongBaselines.All,
            Display = (_, train) => TrainingProgress.Show(train),
        };
        using var runner = new StudyRunner(plan, root, sweep, stop);
        try
        {
            if (jobs == 1) return runner.Run(Output.Note, part, parts);
            string[] arguments = ["study", "run", plan.Study.Reference, "--scale", plan.Scale, "--output-dir", root, "--index", $"{part}/{parts}", "--no-estimate"];
            using var others = new StudyJobs(arguments, jobs - 1, stop);
            IReadOnlyList<StudyFailure> failures = runner.Run(Output.Note, part, parts);
            others.Wait();
            return failures;
        }
        catch (StoppedException stopped)
        {
            throw new StoppedException($"{stopped.Message}; go on with: {command} --output-dir {ShellWord.Quoted(root)}", stopped.Reason);
        }
        catch (OperationCanceledException)
        {
            throw new StoppedException($"stopped while scoring; go on with: {command} --output-dir {ShellWord.Quoted(root)}", stop.Reason);
        }
    }

    public static IDisposable Timer(string limit, StopRequest stop)
    {
        TimeSpan time = new CheckpointOptions { MaxTime = limit }.MaxDuration!.Value;
        return new Timer(_ => stop.Ask(StopReason.OutOfTime), null, time, Timeout.InfiniteTimeSpan);
    }

    public static int Print(StudyReport report, IReadOnlyList<StudyFailure> failures, bool json)
    {
        ReportLead lead = report.Lead;
        if (json)
        {
            Output.Json(Json(report, lead, failures));
            return 0;
        }
        Table table = Output.Table(["task", .. lead.Arms, "beside it"]);
        foreach (LeadRow row in lead.Rows)
        {
            string beside = row.Baselines is [var (name, share), ..] ? FormattableString.Invariant($"{name} {100 * share:0.0} %") : "";
            table.AddRow([.. new[] { row.Name }.Concat(row.Scores.Select(score => score.Text)).Append(beside).Select(Markup.Escape)]);
        }
        Output.Write(table);
        foreach (string finding in lead.Findings) Output.Line(finding);
        foreach (string note in lead.Notes) Output.Line(note);
        foreach (StudyFailure failure in failures) Output.Note($"failed: {failure.Cell}: {failure.Error} ({failure.Folder})");
        return 0;
    }

    private static JsonObject Json(StudyReport report, ReportLead lead, IReadOnlyList<StudyFailure> failures) => new()
    {
        ["command"] = report.Command,
        ["rows"] = new JsonArray([.. lead.Rows.Select(row => (JsonNode)new JsonObject
        {
            ["task"] = row.Name,
            ["scores"] = new JsonObject(row.Scores.Select(score => KeyValuePair.Create(
                score.Arm, (JsonNode?)(score.Text is "not run" or "missing" ? score.Text : new JsonObject { ["score"] = score.Share, ["standard_error"] = score.Error })))),
            ["baselines"] = new JsonObject(row.Baselines.Select(one => KeyValuePair.Create(one.Name, (JsonNode?)one.Share))),
        })]),
        ["verdicts"] = new JsonArray([.. lead.Findings.Select(finding => (JsonNode)finding)]),
        ["failures"] = new JsonArray([.. failures.Select(failure => (JsonNode)new JsonObject { ["cell"] = failure.Cell, ["run"] = failure.Folder, ["error"] = failure.Error })]),
    };
}
