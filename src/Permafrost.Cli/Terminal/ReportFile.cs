using Permafrost.Cli.Figures;
using Permafrost.Studies;

namespace Permafrost.Cli.Terminal;

/// <summary>The report that a training leaves in its folder. Where it cannot be made, the training is none the worse.</summary>
internal static class ReportFile
{
    /// <summary>The path of a run folder's report.</summary>
    public static string In(string folder) => Path.Combine(folder, "report.html");

    /// <summary>Writes it, with an opening of its own where there is one; returns where, or null.</summary>
    public static string? Write(string folder, IReadOnlyList<string> runs, ReportLead? lead = null)
    {
        try
        {
            RunReport.Write(In(folder), runs, new ReportOptions { Lead = lead, Draw = FigureFiles.ForPage });
            return In(folder);
        }
        catch (PermafrostException error)
        {
            Output.Note($"permafrost: no report: {error.Message}");
            return null;
        }
    }
}
