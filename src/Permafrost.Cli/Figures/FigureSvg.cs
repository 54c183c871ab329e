using System.Globalization;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using Permafrost.Kernels;
using SkiaSharp;

namespace Permafrost.Cli.Figures;

/// <summary>
/// What Skia writes as SVG, made fit for pages and papers: words in one piece and in whatever sans-serif font the reader has, fitted to the width they were laid out for;
/// names that do not clash on a page with several figures; no more digits than a screen shows.
/// </summary>
internal static partial class FigureSvg
{
    private const string Families = "Inter, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";
    private static readonly XNamespace Svg = "http://www.w3.org/2000/svg";

    /// <summary>The drawing as an SVG element.</summary>
    /// <param name="drawing">The drawing.</param>
    /// <param name="prefix">The beginning of every name inside it, so that no two figures on a page share one.</param>
    /// <param name="title">What it is, for those who hear it; null where its surroundings say so.</param>
    public static string Of(FigureDrawing drawing, string prefix, string? title)
    {
        using var stream = new MemoryStream();
        using (SKCanvas canvas = SKSvgCanvas.Create(new SKRect(0, 0, drawing.Width, drawing.Height), stream)) drawing.Draw(canvas);
        stream.Position = 0;
        XElement svg = XDocument.Load(stream).Root!;
        svg.SetAttributeValue("viewBox", $"0 0 {drawing.Width} {drawing.Height}");
        svg.Attribute(XNamespace.Xmlns + "xlink")?.Remove();
        var originals = drawing.Originals.ToDictionary(group => group.Key, group => new Queue<string>(group));
        foreach (XElement element in svg.Descendants().ToArray())
        {
            if (element.Name == Svg + "text") Simplify(element, originals);
            if (element.Attribute("d") is { } line && Nothing().IsMatch(line.Value))
            {
                element.Remove();
                continue;
            }
            if (element.Attribute("d") is { } path) path.Value = Digits().Replace(path.Value, number => Rounded(number.Value));
            foreach (XAttribute attribute in element.Attributes())
            {
                if (attribute.Name == "id") attribute.Value = prefix + attribute.Value;
                else attribute.Value = attribute.Value.Replace("url(#", $"url(#{prefix}", StringComparison.Ordinal);
            }
        }
        if (title is not null) svg.AddFirst(new XElement(Svg + "title", title));
        return svg.ToString(SaveOptions.DisableFormatting);
    }

    // Skia places every letter by itself, which looks right only in the font that it measured with.
    private static void Simplify(XElement text, Dictionary<string, Queue<string>> originals)
    {
        string drawn = text.Value.Trim(' ', '\t', '\r', '\n');
        float size = float.Parse(text.Attribute("font-size")!.Value, CultureInfo.InvariantCulture);
        bool isStrong = text.Attribute("font-weight") is { } weight && (weight.Value == "bold" || int.TryParse(weight.Value, out int number) && number > 450);
        using SKFont font = FigureFont.Of(size, isStrong);
        text.Value = originals.TryGetValue(drawn, out Queue<string>? names) && names.Count > 0 ? names.Dequeue() : drawn;
        foreach (string axis in new[] { "x", "y" })
            if (text.Attribute(axis) is { } places) places.Value = Rounded(places.Value.Split(',')[0].Trim());
        text.SetAttributeValue("font-family", Families);
        text.SetAttributeValue("font-weight", isStrong ? "600" : null);
        text.SetAttributeValue("textLength", Rounded(font.MeasureText(drawn).ToString(CultureInfo.InvariantCulture)));
        text.SetAttributeValue("lengthAdjust", "spacingAndGlyphs");
    }

    private static string Rounded(string number) => Math.Round(double.Parse(number, CultureInfo.InvariantCulture), 2).ToString(CultureInfo.InvariantCulture);

    // Lines without length, which ScottPlot draws for ticks.
    [GeneratedRegex(@"^M(\S+ \S+)L\1$")]
    private static partial Regex Nothing();

    [GeneratedRegex(@"\d+\.\d{3,}(?:e-?\d+)?")]
    private static partial Regex Digits();
}
