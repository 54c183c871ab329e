namespace Permafrost.Studies;

/// <summary>A score in a report's opening.</summary>
/// <param name="Arm">What was scored, as <see cref="ReportLead.Arms"/> names it.</param>
/// <param name="Share">The score, from 0 to 1.</param>
/// <param name="Error">Its standard error; 0 where there is none.</param>
/// <param name="Text">The score as it is written.</param>
/// <param name="Under">A remark below it, such as the learning rate; may be empty.</param>
public sealed record LeadScore(string Arm, double Share, double Error, string Text, string Under);

/// <summary>A task in a report's opening.</summary>
/// <param name="Name">The task.</param>
/// <param name="Under">What it asks.</param>
/// <param name="Scores">In the order of the arms.</param>
/// <param name="Baselines">What else a user would try, by name, and its score as a share.</param>
public sealed record LeadRow(string Name, string Under, IReadOnlyList<LeadScore> Scores, IReadOnlyList<(string Name, double Share)> Baselines);

/// <summary>What a report's page opens with: one table, one picture of it, and what follows from them.</summary>
/// <param name="Title">The page's title.</param>
/// <param name="Subtitle">How to read the table.</param>
/// <param name="Arms">The columns.</param>
/// <param name="Rows">The rows.</param>
/// <param name="Findings">Sentences below.</param>
/// <param name="Notes">Smaller ones: where numbers come from.</param>
/// <param name="Examples">Single cases, each with its answer and whether that is right.</param>
/// <param name="ExamplesTitle">What they are.</param>
public sealed record ReportLead(
    string Title, string Subtitle, IReadOnlyList<string> Arms, IReadOnlyList<LeadRow> Rows, IReadOnlyList<string> Findings, IReadOnlyList<string> Notes,
    IReadOnlyList<(string Case, string Answer, bool Right)> Examples, string ExamplesTitle);
