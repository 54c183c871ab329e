using Permafrost.Cli.Figures;
using Permafrost.Studies;

namespace Permafrost.Cli.Terminal;

/// <summary>The report that a training leaves in its folder. Where it cannot be made, the training is none the worse.</summary>
internal static class ReportFile
{
    /// <summary>Where it lies.</summary>
    public static string In(string folder) => Path.Combine(folder, "report.html");

    /// <summary>Writes it, with what is to be said of the runs together; returns where, or null.</summary>
    public static string? Write(string folder, IReadOnlyList<string> runs, IReadOnlyList<string>? findings = null)
    {
        try
        {
            RunReport.Write(In(folder), runs, new ReportOptions { Findings = findings ?? [], Draw = FigureFiles.ForPage });
            return In(folder);
        }
        catch (PermafrostException error)
        {
            Output.Note($"permafrost: no report: {error.Message}");
            return null;
        }
    }
}
