using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Permafrost.Formats;
using Permafrost.Runs;

namespace Permafrost.Studies;

/// <summary>
/// Runs as one HTML page that needs nothing but itself: scores beside their baselines, learning curves, what trained, where and how. Everything that
/// comes from a run's folder is text to it; the page's own policy (CSP) allows its own script and style by their hashes, and no request at all.
/// </summary>
public static partial class RunReport
{
    private const string Doctype = "<!doctype html>";

    /// <summary>Whether this build holds uPlot, which draws curves to zoom into: the build embeds it where npm could fetch it.</summary>
    public static bool HasCharts { get; } = Resource("uPlot.iife.min.js") is not null;

    /// <summary>Writes the page.</summary>
    /// <param name="output">The HTML file; replaced if it is a page already.</param>
    /// <param name="runs">Folders of runs, finished or not, or folders that hold such.</param>
    /// <param name="options">What it opens with, and who draws the curves.</param>
    /// <returns>What the page shows, as JSON: per run whether it is finished, its sentence, what is missing, its results.</returns>
    /// <exception cref="PermafrostException">There is no such run, or the file cannot be written.</exception>
    /// <exception cref="UsageException">The file exists and is not a page.</exception>
    public static JsonObject Write(string output, IReadOnlyList<string> runs, ReportOptions? options = null)
    {
        ReportRun[] read = Read(runs);
        CheckOutput(output);
        string page = Page(read, options ?? new ReportOptions());
        AtomicFile.WriteText(output, page);
        return new JsonObject
        {
            ["report"] = output,
            ["bytes"] = Encoding.UTF8.GetByteCount(page),
            ["runs"] = new JsonArray([.. read.Select(run => (JsonNode)new JsonObject
            {
                ["run"] = run.Path,
                ["finished"] = run.Results is not null,
                ["headline"] = Headline.Of(run).ToString(),
                ["missing"] = new JsonArray([.. run.Missing.Select(file => (JsonNode)file)]),
                ["results"] = run.Results?.DeepClone(),
            })]),
        };
    }

    /// <summary>The page as text.</summary>
    /// <exception cref="PermafrostException">There is no such run.</exception>
    public static string Html(IReadOnlyList<string> runs, ReportOptions? options = null) => Page(Read(runs), options ?? new ReportOptions());

    /// <summary>The plots of the page as plain values, for whoever draws them elsewhere.</summary>
    /// <exception cref="PermafrostException">There is no such run.</exception>
    public static IReadOnlyList<Figure> Figures(IReadOnlyList<string> runs) => new ReportPage(Read(runs)).Figures;

    private static ReportRun[] Read(IReadOnlyList<string> paths) => [.. Folders(paths).Select(ReportRun.Read)];

    private static List<string> Folders(IReadOnlyList<string> paths)
    {
        var folders = new List<string>();
        foreach (string path in paths)
        {
            if (!Directory.Exists(path)) throw new PermafrostException($"{path} is not a folder; `permafrost ls runs` lists the runs");
            if (ReportRun.IsRun(path)) folders.Add(path);
            else
            {
                string[] inside = [.. Directory.EnumerateDirectories(path).Where(ReportRun.IsRun).Order(StringComparer.Ordinal)];
                if (inside.Length == 0) throw new PermafrostException($"{path} is not a run: it has no config.yaml, metrics.jsonl or results.json, and no folder in it has one");
                folders.AddRange(inside);
            }
        }
        return [.. folders.DistinctBy(Path.GetFullPath)];
    }

    // A slip such as `--output runs/a/results.json` must not cost a result.
    private static void CheckOutput(string output)
    {
        if (Directory.Exists(output)) throw new UsageException($"`output` {output} is a folder; name a file in it, such as {Path.Combine(output, "report.html")}");
        if (Path.GetDirectoryName(Path.GetFullPath(output)) is { } folder && !Directory.Exists(folder))
            throw new UsageException($"`output` {output}: the folder {folder} does not exist");
        if (!File.Exists(output) || new FileInfo(output).Length == 0) return;
        var start = new char[Doctype.Length];
        using var reader = new StreamReader(output);
        int length = reader.ReadBlock(start);
        if (!Doctype.Equals(new string(start, 0, length), StringComparison.OrdinalIgnoreCase))
            throw new UsageException($"`output` {output} exists and is not an HTML page; choose another name, or remove it");
    }

    private static string Page(IReadOnlyList<ReportRun> runs, ReportOptions options)
    {
        var page = new ReportPage(runs);
        bool withUPlot = options.Interactive && HasCharts;
        string style = Required("report.css") + (withUPlot ? Resource("uPlot.min.css") : "");
        string[] scripts = withUPlot ? [$"/*\nuPlot:\n{Required("LICENSE").Trim()}\n*/\n{Required("uPlot.iife.min.js")}", Required("report.js")] : [Required("report.js")];
        var parts = new Dictionary<string, string>
        {
            ["policy"] = $"default-src 'none'; img-src data:; style-src {Hash(style)}; script-src {string.Join(' ', scripts.Select(Hash))}; base-uri 'none'; form-action 'none'",
            ["version"] = ReportPage.Text(EnvironmentInfo.Version.Split('+')[0]),
            ["style"] = style,
            ["scripts"] = string.Concat(scripts.Select(script => $"<script>{script}</script>\n")),
            ["title"] = ReportPage.Text(options.Lead?.Title ?? page.Title),
            ["subtitle"] = options.Lead is { } lead ? ReportPage.Text(lead.Subtitle) : page.Subtitle(),
            ["headlines"] = options.Lead is null ? $"<ul class=\"headlines\">\n{page.Headlines()}</ul>" : LeadPage.Html(options.Lead),
            ["table"] = page.Table(),
            ["curves"] = page.Curves(options with { Interactive = withUPlot }),
            ["differences"] = page.Differences(),
            ["runs"] = page.Details(),
            ["data"] = page.Data(),
            ["drawn"] = withUPlot ? " Curves by uPlot (MIT licence)." : "",
        };
        // One pass, so that placeholders inside a part are never replaced.
        return Placeholder().Replace(Required("report.html"), match => parts[match.Groups[1].Value]);
    }

    private static string Hash(string text) => $"'sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(text)))}'";

    private static string Required(string name) => Resource(name) ?? throw new InvalidOperationException($"the resource {name} is not embedded");

    private static string? Resource(string name)
    {
        using Stream? stream = Assembly.GetExecutingAssembly().GetManifestResourceStream("Report/" + name);
        if (stream is null) return null;
        using var reader = new StreamReader(stream);
        // A browser hashes a script after it has made every line ending a line feed.
        return reader.ReadToEnd().ReplaceLineEndings("\n");
    }

    [GeneratedRegex(@"\{\{(\w+)\}\}")]
    private static partial Regex Placeholder();
}
