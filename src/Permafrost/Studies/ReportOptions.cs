namespace Permafrost.Studies;

/// <summary>What goes into a report's page beside its runs.</summary>
public sealed record ReportOptions
{
    /// <summary>What the page opens with, in place of a sentence on each run; null for those.</summary>
    public ReportLead? Lead { get; init; }

    /// <summary>Whether uPlot draws the curves, to zoom into, switch and smooth. By default where the build holds uPlot.</summary>
    public bool Interactive { get; init; } = RunReport.HasCharts;

    /// <summary>
    /// Draws the curves of a page that is not interactive. Without it such a page has none, and says so: this library draws nothing itself, so that whoever trains with it
    /// does not carry a graphics library.
    /// </summary>
    public FigureDrawer? Draw { get; init; }
}
