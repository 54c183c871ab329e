using Permafrost.Kernels;
using Permafrost.Studies;
using ScottPlot;
using ScottPlot.Plottables;
using ScottPlot.TickGenerators;
using SkiaSharp;

namespace Permafrost.Cli.Figures;

/// <summary>
/// Draws a report's plot on a canvas: curves and axes by ScottPlot, and under them what the lines mean, where nothing can cover a curve. On the page, which names curves
/// and baselines itself, without title and without names.
/// </summary>
internal sealed class FigureDrawing
{
    private const int LegendLine = 21;
    private const int LegendSwatch = 34;
    private const int Edge = 12;

    // The style sheet of the page replaces these by its own colours, light or dark: change them in both places.
    private static readonly string[] Curves = ["#1857C4", "#DD6B00", "#12946E", "#C45CCB", "#7A3B00", "#2D333B"];
    private const string Ink = "#17202A";
    private const string Soft = "#55616E";
    private const string Grid = "#E3E9EE";
    private const string Ground = "#FFFFFF";

    private static readonly float[] BaselineDash = [4, 4];

    private readonly Figure figure;
    private readonly bool isWhole;
    private readonly int width;
    private readonly int plotHeight;
    private readonly (double Low, double High) range;
    private readonly string[] curveNames = [];
    private readonly string[] baselineNames = [];
    private readonly int rows;

    /// <param name="figure">The plot to draw.</param>
    /// <param name="width">The width, in pixels.</param>
    /// <param name="height">The height without the legend, in pixels.</param>
    /// <param name="isWhole">Whether to draw title, axis titles and legend, so that the plot can stand alone.</param>
    public FigureDrawing(Figure figure, int width, int height, bool isWhole)
    {
        FigureFont.Register();
        (this.figure, this.width, plotHeight, this.isWhole) = (figure, width, height, isWhole);
        range = FigureAxes.Range(figure);
        if (!isWhole) return;
        using SKFont font = FigureFont.Of(LegendSize);
        string Named(string name) => FigureFont.Cut(FigureFont.Drawable(name), font, width - 2 * Edge - LegendSwatch);
        curveNames = [.. figure.Curves.Select(curve => Named(curve.Run))];
        baselineNames = [.. figure.Baselines.Select(baseline => Named(BaselineName(baseline)))];
        float widest = curveNames.Select(name => font.MeasureText(name)).DefaultIfEmpty(0).Max();
        int columns = Math.Clamp((int)((width - 2 * Edge) / (widest + LegendSwatch + 18)), 1, Math.Max(1, curveNames.Length));
        rows = (curveNames.Length + columns - 1) / columns;
    }

    /// <summary>The width of the figure, in pixels.</summary>
    public int Width => width;

    /// <summary>The height of the figure with its legend, in pixels.</summary>
    public int Height => plotHeight + (isWhole ? (rows + baselineNames.Length) * LegendLine + Edge : 0);

    /// <summary>Texts as they are, by what is drawn of them in a font that may lack a sign; alike ones in the order of drawing.</summary>
    public ILookup<string, string> Originals => new[] { FigureAxes.Title(figure), figure.Title }
        .Concat(figure.Curves.Select(curve => curve.Run))
        .Concat(figure.Baselines.Select(BaselineName))
        .ToLookup(FigureFont.Drawable);

    private static float LegendSize => 13;

    private float AxisSize => isWhole ? 13 : 12;

    public void Draw(SKCanvas canvas)
    {
        using var plot = new Plot();
        Prepare(plot);
        foreach (FigureCurve curve in figure.Curves.Where(curve => curve.IsSmoothed)) Line(plot, curve, curve.Logged, 1, 0.28);
        foreach (FigureCurve curve in figure.Curves) Line(plot, curve, curve.Drawn, 2, 1);
        foreach (FigureBaseline baseline in figure.Baselines)
        {
            HorizontalLine line = plot.Add.HorizontalLine(baseline.Score, 1.2f, Color.FromHex(Soft), new LinePattern(BaselineDash, 0, "baseline"));
            line.EnableAutoscale = false;
        }
        // A few pixels beyond both ends, where a mark would be cut in half.
        double beyond = 6.0 / (width - 110) * (figure.LastStep - figure.FirstStep);
        plot.Axes.SetLimits(figure.FirstStep - beyond, figure.LastStep + beyond, range.Low, range.High);
        // ScottPlot draws twice on the same canvas: the first time it finds out how much room the labels need.
        plot.RenderInMemory(width, plotHeight);
        canvas.Clear(SKColor.Parse(Ground));
        plot.Render(canvas, new PixelRect(0, width, plotHeight, 0));
        DrawBaselines(canvas, plot);
        DrawLegend(canvas);
    }

    private void Prepare(Plot plot)
    {
        plot.FigureBackground.Color = Color.FromHex(Ground);
        plot.DataBackground.Color = Colors.Transparent;
        plot.Grid.MajorLineColor = Color.FromHex(Grid);
        plot.Axes.Frame(false);
        foreach (IAxis axis in new IAxis[] { plot.Axes.Bottom, plot.Axes.Left })
        {
            axis.FrameLineStyle.IsVisible = false;
            axis.MajorTickStyle.Length = axis.MinorTickStyle.Length = 0;
            axis.TickLabelStyle.FontName = axis.Label.FontName = FigureFont.Family;
            axis.TickLabelStyle.FontSize = AxisSize;
            axis.TickLabelStyle.ForeColor = Color.FromHex(Soft);
            axis.Label.FontSize = AxisSize;
            axis.Label.Bold = false;
            axis.Label.ForeColor = Color.FromHex(Ink);
        }
        string Value(double value) => figure.IsShare ? FigureAxes.ShortPercent(value) : FigureAxes.Short(value);
        int mostSteps = Math.Max(2, width / 80), mostValues = Math.Max(3, plotHeight / 45);
        plot.Axes.Bottom.TickGenerator = new NumericManual([.. FigureAxes.Steps(figure, mostSteps).Select(step => new Tick(step, FigureAxes.Step(step, figure.LastStep)))]);
        plot.Axes.Left.TickGenerator = new NumericManual([.. FigureAxes.Values(range, mostValues).Select(value => new Tick(value, Value(value)))]);
        plot.Axes.Bottom.Label.Text = "Step";
        plot.Axes.Top.MinimumSize = isWhole ? 8 : 6;
        plot.Axes.Right.MinimumSize = plot.Axes.Right.MaximumSize = figure.Baselines.Count > 0 ? 62 : 24;
        plot.Axes.Title.IsVisible = isWhole;
        if (!isWhole) return;
        plot.Axes.Left.Label.Text = FigureFont.Drawable(FigureAxes.Title(figure));
        plot.Axes.Title.Label.Text = FigureFont.Drawable(figure.Title);
        plot.Axes.Title.Label.FontName = FigureFont.Family;
        plot.Axes.Title.Label.FontSize = 16;
        plot.Axes.Title.Label.Bold = true;
        plot.Axes.Title.Label.ForeColor = Color.FromHex(Ink);
    }

    private void Line(Plot plot, FigureCurve curve, IReadOnlyList<double?> values, float thickness, double opacity)
    {
        double[] steps = [.. curve.Steps.Select(step => (double)step)], heights = [.. values.Select(value => value ?? double.NaN)];
        Color colour = Color.FromHex(Curves[curve.Colour % Curves.Length]).WithOpacity(opacity);
        Scatter line = plot.Add.ScatterLine(steps, heights, colour);
        line.LineWidth = thickness;
        line.LinePattern = opacity < 1 || Intervals(curve.Dash) is not { } dash ? LinePattern.Solid : new LinePattern(dash, 0, "own");
        if (opacity < 1) return;
        // Points are marked where there are few of them, or where one has no neighbour to draw a line to.
        bool isSparse = steps.Length > 0 && 14 * (steps.Length - 1) <= width * (steps[^1] - steps[0]) / (figure.LastStep - figure.FirstStep);
        int[] marked = [.. Enumerable.Range(0, steps.Length).Where(i => double.IsFinite(heights[i]) && (isSparse || !(IsThere(i - 1) || IsThere(i + 1))))];
        bool IsThere(int i) => i >= 0 && i < heights.Length && double.IsFinite(heights[i]);
        if (marked.Length == 0) return;
        Markers markers = plot.Add.Markers(marked.Select(i => new Coordinates(steps[i], heights[i])).ToArray(), MarkerShape.FilledCircle, 6, Color.FromHex(Ground));
        markers.MarkerStyle.OutlineColor = colour;
        markers.MarkerStyle.OutlineWidth = 1.6f;
    }

    // Each baseline's score goes beside the right end of its line, none over another, as report.js places them.
    private void DrawBaselines(SKCanvas canvas, Plot plot)
    {
        const float Gap = 14;
        PixelRect data = plot.RenderManager.LastRender.DataRect;
        FigureBaseline[] baselines = [.. figure.Baselines];
        if (baselines.Length == 0 || baselines.Length * Gap > data.Height) return;
        float[] lines = [.. baselines.Select(baseline => plot.GetPixel(new Coordinates(figure.LastStep, baseline.Score)).Y)], places = [.. lines];
        for (int i = 1; i < places.Length; i++) places[i] = Math.Max(places[i], places[i - 1] + Gap);
        float low = data.Bottom;
        for (int i = places.Length - 1; i >= 0; i--, low -= Gap) places[i] = Math.Min(places[i], low);
        using SKFont font = FigureFont.Of(11.5f);
        using var ink = new SKPaint { Color = SKColor.Parse(Soft), IsAntialias = true, StrokeWidth = 1 };
        for (int i = 0; i < baselines.Length; i++)
        {
            if (Math.Abs(lines[i] - places[i]) > 0.5f) canvas.DrawLine(data.Right, lines[i], data.Right + 6, places[i], ink);
            canvas.DrawText(FigureAxes.Percent(baselines[i].Score), data.Right + 8, places[i] + 4, SKTextAlign.Left, font, ink);
        }
    }

    private void DrawLegend(SKCanvas canvas)
    {
        using SKFont font = FigureFont.Of(LegendSize);
        using var ink = new SKPaint { Color = SKColor.Parse(Ink), IsAntialias = true };
        int columns = rows > 0 ? (curveNames.Length + rows - 1) / rows : 1;
        // Entries go down and then to the right, as columns are read; baselines, which have longer names, get lines of their own.
        for (int i = 0; i < curveNames.Length; i++)
        {
            FigureCurve curve = figure.Curves[i];
            Entry(Edge + i / rows * (width - 2f * Edge) / columns, i % rows, curveNames[i], Curves[curve.Colour % Curves.Length], 2.4f, Intervals(curve.Dash));
        }
        for (int i = 0; i < baselineNames.Length; i++) Entry(Edge, rows + i, baselineNames[i], Soft, 1.2f, BaselineDash);

        void Entry(float x, int row, string name, string colour, float thickness, float[]? dash)
        {
            float y = plotHeight + LegendLine * (row + 0.5f) + 2;
            using SKPathEffect? effect = dash is null ? null : SKPathEffect.CreateDash(dash, 0);
            using var swatch = new SKPaint { Color = SKColor.Parse(colour), IsAntialias = true, IsStroke = true, StrokeWidth = thickness, PathEffect = effect };
            canvas.DrawLine(x, y, x + 24, y, swatch);
            canvas.DrawText(name, x + LegendSwatch, y + 4.5f, SKTextAlign.Left, font, ink);
        }
    }

    private static string BaselineName(FigureBaseline baseline) => $"{baseline.Name} {FigureAxes.Percent(baseline.Score)}";

    private static float[]? Intervals(int dash) => dash switch { 1 => [9, 6], 2 => [2, 5], _ => null };
}
