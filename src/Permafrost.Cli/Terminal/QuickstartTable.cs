using System.Globalization;
using Permafrost.Formats;
using Permafrost.Studies;
using Spectre.Console;

namespace Permafrost.Cli.Terminal;

/// <summary>The quickstart's result, on the terminal and at the head of its report.</summary>
internal static class QuickstartTable
{
    public static void Print(QuickstartResult result, string root, string? report)
    {
        Table table = Output.Table(["test accuracy", .. result.Rows[0].Arms.Select(arm => QuickstartText.NameOf(arm.Init)), "beside it"]);
        foreach (QuickstartRow row in result.Rows)
        {
            table.AddRow([row.Task, .. row.Arms.Select(QuickstartText.Score), Markup.Escape(QuickstartText.Beside(row))]);
            if (row.Cap is not null) table.AddRow(["  steps to 100 %", .. row.Arms.Select(arm => QuickstartText.Steps(row, arm)), ""]);
        }
        Output.Write(table);
        Output.Line(QuickstartText.HowToRead);
        Output.Line();
        foreach (string finding in QuickstartText.Findings(result)) Output.Line(finding);
        Output.Line();
        Output.Line($"{Examples(result)}:");
        foreach (QuickstartWord word in result.Words)
            Output.Line($"  {word.Word,-12} {word.Answer.Label,-12} {Share(word),5}{(word.Right ? "" : $"   wrong: {word.Kind}")}");
        Output.Line($"any other:  echo walrus | ./permafrost predict {ShellWord.Quoted(result.Rows[0].Arms[0].Run.Folder)} --input -");
        Output.Line();
        Output.Line(QuickstartText.WhatIsBeside);
        Output.Line(QuickstartText.Rates(result));
        if (report is not null) Output.Line($"report: {report}");
        Output.Line($"folder: {root}");
    }

    /// <summary>What the report opens with.</summary>
    public static ReportLead Lead(QuickstartResult result) => new(
        "What language pretraining gives", QuickstartText.HowToRead, [.. result.Rows[0].Arms.Select(arm => QuickstartText.NameOf(arm.Init))],
        [.. result.Rows.Select(LeadRow)], QuickstartText.Findings(result), [QuickstartText.WhatIsBeside, QuickstartText.Rates(result)],
        [.. result.Words.Select(word => (word.Word, $"{word.Answer.Label} {Share(word)}" + (word.Right ? "" : $", wrong: {word.Kind}"), word.Right))], Examples(result));

    private static LeadRow LeadRow(QuickstartRow row) => new(row.Task, row.Asks, [.. row.Arms.Select(arm => Score(row, arm))], row.Baselines);

    private static LeadScore Score(QuickstartRow row, QuickstartArm arm)
    {
        string reached = arm.StepsToAllRight is null ? "not 100 % in" : "100 % after";
        string steps = row.Cap is null ? "" : $"{reached} {(arm.StepsToAllRight ?? row.Cap.Value).ToString("N0", CultureInfo.InvariantCulture)} steps, ";
        string under = $"{steps}rate {arm.Run.Result.LearningRate.ToString("R", CultureInfo.InvariantCulture)}";
        return new LeadScore(QuickstartText.NameOf(arm.Init), arm.Accuracy, arm.StandardError, QuickstartText.Score(arm), under);
    }

    private static string Examples(QuickstartResult result) =>
        $"{result.Words.Count} words that are in none of its lists, fixed beforehand; the pretrained body names {result.Words.Count(word => word.Right)} of them";

    private static string Share(QuickstartWord word) => FormattableString.Invariant($"{100 * word.Answer.Probability:F0} %");
}
