namespace Permafrost.Studies;

/// <summary>One plot of a report as plain values: what is drawn, not how.</summary>
/// <param name="Title">The name of what is plotted, such as Validation accuracy.</param>
/// <param name="Unit">The unit of the values; empty for a share, or where there is none.</param>
/// <param name="IsShare">Whether values are shares from 0 to 1, to be read as percentages.</param>
/// <param name="FirstStep">The first step on the axis; the same in all plots of a report.</param>
/// <param name="LastStep">The last step on the axis.</param>
/// <param name="Curves">The runs that logged such values.</param>
/// <param name="Baselines">The scores of trivial rules, the highest first.</param>
public sealed record Figure(string Title, string Unit, bool IsShare, long FirstStep, long LastStep, IReadOnlyList<FigureCurve> Curves, IReadOnlyList<FigureBaseline> Baselines);

/// <summary>One run's values over the steps.</summary>
/// <param name="Run">The run's name in the report.</param>
/// <param name="Colour">The curve's colour, one of six; the same run has the same in every plot.</param>
/// <param name="Dash">The style of the line: 0 solid, 1 dashed, 2 dotted.</param>
/// <param name="Steps">Steps, rising.</param>
/// <param name="Logged">The values that were logged at these steps; null where one was not finite.</param>
/// <param name="Drawn">The curve: what was logged, or its moving average where single batches are noisy.</param>
public sealed record FigureCurve(string Run, int Colour, int Dash, IReadOnlyList<long> Steps, IReadOnlyList<double?> Logged, IReadOnlyList<double?> Drawn)
{
    /// <summary>Whether the curve is an average of what was logged, so that the latter is worth a faint line.</summary>
    public bool IsSmoothed => !ReferenceEquals(Logged, Drawn);
}

/// <summary>The score of a trivial rule, drawn as a line across the plot.</summary>
/// <param name="Name">The rule, with its task where the report has several.</param>
/// <param name="Score">A share from 0 to 1.</param>
public sealed record FigureBaseline(string Name, double Score);

/// <summary>Draws a plot as an SVG element for a page: text as text, colours as presentation attributes, no style and no script, names of its own for what it refers to.</summary>
/// <param name="figure">The plot; the page itself says its title and unit, and names curves and baselines.</param>
/// <param name="width">The width, in pixels; text is sized for it.</param>
/// <param name="height">The height, in pixels.</param>
public delegate string FigureDrawer(Figure figure, int width, int height);
