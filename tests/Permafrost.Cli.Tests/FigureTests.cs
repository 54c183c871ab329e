using System.Text.RegularExpressions;
using System.Xml.Linq;
using Permafrost.Cli.Figures;
using Permafrost.Studies;
using SkiaSharp;

namespace Permafrost.Cli.Tests;

/// <summary>`report --figures`, and the page that holds its figures where there is no uPlot.</summary>
public sealed partial class FigureTests : IDisposable
{
    private static readonly XNamespace Svg = "http://www.w3.org/2000/svg";
    private readonly SampleRun samples = new();

    public void Dispose() => samples.Dispose();

    [Fact]
    public void Every_plot_becomes_an_SVG_and_a_PNG_with_names_units_and_every_point()
    {
        string folder = samples.At("new/figures");
        CliResult result = InProcess.Run("report", samples.Add("a"), samples.Add("b", seed: 1), "--output", samples.At("r.html"), "--figures", folder, "--json").Succeeded();
        string[] names = ["training-loss", "validation-accuracy", "validation-loss", "gradient-norm"];
        string[] files = [.. names.SelectMany(name => new[] { $"{name}.svg", $"{name}.png" }).Select(name => Path.Combine(folder, name))];
        Assert.Equal(files, result.Json["figures"]!.AsArray().Select(file => (string?)file));
        Assert.Equal(files.Order(), Directory.GetFiles(folder).Order());

        foreach (string name in names)
        {
            XElement svg = Read(Path.Combine(folder, name + ".svg"));
            string[] texts = [.. svg.Descendants(Svg + "text").Select(text => text.Value)];
            foreach (string text in new[] { "seed 0", "seed 1", "Step", "0", "200" }) Assert.Contains(text, texts);
            int isSmoothed = name is "training-loss" or "gradient-norm" ? 1 : 0, points = isSmoothed == 1 ? 40 : 4;
            foreach (string colour in new[] { "#1857C4", "#DD6B00" })
            {
                // The faint line of what was logged, the curve, and a line of two points in the legend.
                IEnumerable<XElement> paths = svg.Descendants(Svg + "path").Where(path => (string?)path.Attribute("stroke") == colour);
                int[] lines = [.. paths.Select(path => Point().Count((string)path.Attribute("d")!))];
                Assert.Equal(Enumerable.Repeat(points, isSmoothed + 1).Append(2), lines);
            }
            Assert.DoesNotContain(svg.DescendantsAndSelf(), element => element.Attribute("style") is not null || element.Name.LocalName is "script" or "image" or "use");
            Assert.All(svg.Descendants(Svg + "text"), text => Assert.EndsWith("sans-serif", (string?)text.Attribute("font-family")));
        }
        Assert.Contains("Training loss (nats)", Words(folder, "training-loss"));
        Assert.Contains("Gradient norm (before clipping)", Words(folder, "gradient-norm"));
        Assert.Contains("Validation accuracy (%)", Words(folder, "validation-accuracy"));
        Assert.Contains("baseline: linear on the inputs 50.30\u00a0%", Words(folder, "validation-accuracy"));
    }

    [Fact]
    public void Values_that_differ_by_rounding_alone_have_a_range_with_ticks()
    {
        double value = 0.80284771323204037, next = Math.BitIncrement(value);
        var figure = new Figure("Training loss", "nats", IsShare: false, 2, 2, [new FigureCurve("run", 0, 0, [2], [value], [next])], []);
        (double low, double high) = FigureAxes.Range(figure);
        Assert.InRange(high - low, 0.1, 1);
        Assert.InRange(FigureAxes.Values((low, high), 5).Take(100).Count(), 1, 10);
    }

    [Fact]
    public void Pictures_have_words_where_a_system_has_no_fonts()
    {
        string folder = samples.At("figures");
        InProcess.Run("report", samples.Add("a"), "--output", samples.At("r.html"), "--figures", folder).Succeeded();
        using SKBitmap picture = SKBitmap.Decode(Path.Combine(folder, "training-loss.png"));
        Assert.Equal(1920, picture.Width);
        Assert.Equal(SKColors.White, picture.GetPixel(2, 2));
        // The name under the plot, right of its line, in the ink of words.
        int inked = 0;
        for (int x = 180; x < 400; x++)
            for (int y = 1200; y < picture.Height; y++)
                if (picture.GetPixel(x, y) == SKColor.Parse("#17202A")) inked++;
        Assert.InRange(inked, 30, 5000);
    }

    [Fact]
    public void Names_that_no_font_or_file_system_likes_stay_whole_and_harmless()
    {
        const string Evil = "<script>alert(1)<script>]]>{{data}}\"'&", Foreign = "日本語 🧊";
        string a = samples.Add("a", task: Evil, baselines: "\"majority\":0.5");
        string b = samples.Add("b", task: Foreign), c = samples.Add("c", task: new string('w', 55));
        foreach (string key in new[] { "eval/../../x", "eval/" + Evil, "eval/語", "eval/言" })
            File.AppendAllText(Path.Combine(a, "metrics.jsonl"), $"{{\"step\":300,{System.Text.Json.JsonSerializer.Serialize(key)}:1}}\n");
        string folder = samples.At("figures");
        InProcess.Run("report", a, b, c, "--output", samples.At("r.html"), "--figures", folder).Succeeded();
        string[] files = [.. Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Select(file => Path.GetRelativePath(folder, file))];
        Assert.Equal(16, files.Length);
        Assert.All(files, file => Assert.Matches("^[a-z0-9-]{4,85}\\.(svg|png)$", file));
        IEnumerable<string> drawings = files.Where(file => file.EndsWith(".svg", StringComparison.Ordinal));
        Assert.All(drawings, file => Assert.DoesNotContain(Read(Path.Combine(folder, file)).Descendants(), element => element.Name.LocalName == "script"));
        foreach (string name in new[] { Evil, Foreign }) Assert.Contains(name, Words(folder, "training-loss"));

        string html = RunReport.Html([a, b, c], new ReportOptions { Interactive = false, Draw = FigureFiles.ForPage });
        Assert.Equal(2, Regex.Count(html, "<script"));
        Assert.Equal(2, Regex.Count(html, "</script"));
        Assert.DoesNotContain("alert(1)<", html);
    }

    [Fact]
    public void A_page_without_uPlot_embeds_them_and_points_nowhere()
    {
        string html = RunReport.Html([samples.Add("a"), samples.Add("b", seed: 1)], new ReportOptions { Interactive = false, Draw = FigureFiles.ForPage });
        Assert.Equal(4, Regex.Count(html, "<figure class=\"chart drawn\""));
        XElement[] figures = [.. Regex.Matches(html, "<div class=\"(?:broad|slim)\">(<svg.*?</svg>)</div>", RegexOptions.Singleline)
            .Select(match => XElement.Parse(match.Groups[1].Value))];
        Assert.Equal(8, figures.Length);
        string[] names = [.. figures.SelectMany(figure => figure.Descendants().Attributes("id")).Select(id => id.Value)];
        Assert.Equal(names.Distinct(), names);
        Assert.All(figures.SelectMany(figure => figure.Descendants().Attributes("clip-path")), clip => Assert.Contains(clip.Value["url(#".Length..^1], names));
        Assert.DoesNotContain("class=\"controls\"", html);
        Assert.DoesNotMatch(@"(src|href)\s*=\s*[""'](?!data:)", html);
        Assert.DoesNotMatch(@"url\((?!#)|@import|\sstyle=", html);
        // The style sheet knows every colour of the figures, so that they can be dark.
        string style = Regex.Match(html, "<style>(.*?)</style>", RegexOptions.Singleline).Groups[1].Value;
        IEnumerable<XAttribute> colours = figures.SelectMany(figure => figure.Descendants().Attributes()).Where(attribute => attribute.Name.LocalName is "fill" or "stroke");
        foreach (string colour in colours.Where(colour => colour.Value != "none").Select(colour => $"[{colour.Name}=\"{colour.Value}\" i]").Distinct())
            Assert.Contains(colour, style, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public void Gaps_single_points_and_flat_or_no_curves_are_drawn_as_they_are()
    {
        string run = samples.Add("a"), folder = samples.At("figures");
        File.WriteAllLines(Path.Combine(run, "metrics.jsonl"),
            ["{\"step\":1,\"train/loss\":0.5}", "{\"step\":2,\"train/loss\":0.5}", "{\"step\":3,\"train/loss\":null}",
                "{\"step\":4,\"train/loss\":0.5,\"eval/loss\":1e-7,\"eval/accuracy\":0.5}"]);
        InProcess.Run("report", run, "--output", samples.At("r.html"), "--figures", folder).Succeeded();
        Assert.Equal(3, Read(Path.Combine(folder, "training-loss.svg")).Descendants(Svg + "ellipse").Count(mark => (string?)mark.Attribute("stroke") == "#1857C4"));
        Assert.Single(Read(Path.Combine(folder, "validation-loss.svg")).Descendants(Svg + "ellipse"), mark => (string?)mark.Attribute("stroke") == "#1857C4");

        File.WriteAllText(Path.Combine(run, "metrics.jsonl"), "{\"step\":1,\"lr\":0.5}\n");
        Assert.Contains("figures: none", InProcess.Run("report", run, "--output", samples.At("r.html"), "--figures", samples.At("none")).Succeeded().Output);
        Assert.False(Directory.Exists(samples.At("none")));
        InProcess.Run("report", run, "--output", samples.At("r.html"), "--figures", Path.Combine(run, "config.yaml")).Refused(2, "--figures", "is a file");
    }

    private static XElement Read(string path) => XDocument.Load(path).Root!;

    private static string[] Words(string folder, string name) => [.. Read(Path.Combine(folder, name + ".svg")).Descendants(Svg + "text").Select(text => text.Value)];

    [GeneratedRegex("[ML]")]
    private static partial Regex Point();
}
