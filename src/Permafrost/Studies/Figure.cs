namespace Permafrost.Studies;

/// <summary>One plot of a report as plain values: what is drawn, not how.</summary>
/// <param name="Title">What it shows, such as Validation accuracy.</param>
/// <param name="Unit">What its values are counted in; empty for a share, or where there is no unit.</param>
/// <param name="IsShare">Whether values are shares from 0 to 1, to be read as percentages.</param>
/// <param name="FirstStep">Where the axis of steps begins; the same in all plots of a report.</param>
/// <param name="LastStep">Where it ends.</param>
/// <param name="Curves">The runs that logged such values.</param>
/// <param name="Floors">What trivial rules score, the highest first.</param>
public sealed record Figure(string Title, string Unit, bool IsShare, long FirstStep, long LastStep, IReadOnlyList<FigureCurve> Curves, IReadOnlyList<FigureFloor> Floors);

/// <summary>One run's values over the steps.</summary>
/// <param name="Run">What the report calls the run.</param>
/// <param name="Colour">The curve's colour, one of six; the same run has the same in every plot.</param>
/// <param name="Dash">How its line is broken: 0 not at all, 1 dashes, 2 dots.</param>
/// <param name="Steps">Steps, rising.</param>
/// <param name="Logged">What was logged at them; null where that was not finite.</param>
/// <param name="Drawn">The curve: what was logged, or its moving average where single batches are noisy.</param>
public sealed record FigureCurve(string Run, int Colour, int Dash, IReadOnlyList<long> Steps, IReadOnlyList<double?> Logged, IReadOnlyList<double?> Drawn)
{
    /// <summary>Whether the curve is an average of what was logged, so that the latter is worth a faint line.</summary>
    public bool IsSmoothed => !ReferenceEquals(Logged, Drawn);
}

/// <summary>What a trivial rule scores.</summary>
/// <param name="Name">The rule, with its task where the report has several.</param>
/// <param name="Score">Its score.</param>
public sealed record FigureFloor(string Name, double Score);

/// <summary>Draws a plot as an SVG element for a page: text as text, colours as presentation attributes, no style and no script, names of its own for what it refers to.</summary>
/// <param name="figure">The plot; the page itself says its title and unit, and names curves and floors.</param>
/// <param name="width">How wide, in pixels; text is sized for this width.</param>
/// <param name="height">How high.</param>
public delegate string FigureDrawer(Figure figure, int width, int height);
