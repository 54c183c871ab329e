using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json.Nodes;
using System.Text.Unicode;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Studies;

/// <summary>The parts of the page that hold a run's facts, as HTML; every text goes through <see cref="Text"/>.</summary>
internal sealed class ReportPage
{
    // Sizes in pixels of the static figures: for cards side by side, and for a phone. The style sheet shows one of the two.
    private static readonly (string Class, int Width, int Height)[] Sizes = [("broad", 560, 270), ("slim", 340, 230)];

    // Facts of results.json that the table of all runs shows already.
    private static readonly string[] InTable = ["task", "backbone", "init", "policy", "seed", "steps", "seconds", "tokens_per_second"];

    private static readonly HtmlEncoder Encoder = HtmlEncoder.Create(UnicodeRanges.All);
    private readonly IReadOnlyList<ReportRun> runs;
    private readonly string[] labels;
    private readonly ReportFigures figures;
    private readonly string tasks;
    private readonly int taskCount;

    public ReportPage(IReadOnlyList<ReportRun> runs)
    {
        this.runs = runs;
        labels = Labels(runs);
        figures = new ReportFigures(runs, labels);
        string[] names = [.. runs.Select(run => run.Fact("task")).Distinct()];
        tasks = names.Length == 1 ? names[0] : "";
        taskCount = names.Length;
    }

    /// <summary>Text, safe between tags and in quoted attributes.</summary>
    public static string Text(string text) => Encoder.Encode(text);

    public string Title
    {
        get
        {
            if (runs.Count > 1)
            {
                if (tasks.Length > 0) return $"{runs.Count} runs of {tasks}";
                return taskCount > 1 ? $"{runs.Count} runs on {taskCount} tasks" : $"{runs.Count} runs";
            }
            string backbone = runs[0].Fact("backbone");
            return tasks.Length > 0 && backbone.Length > 0 ? $"{tasks} on {Short(backbone)}" : runs[0].Name;
        }
    }

    public string Subtitle()
    {
        if (runs.Count == 1) return $"<code>{Text(runs[0].Path)}</code>";
        var facts = new List<string>();
        foreach ((string key, string before) in new[] { ("backbone", ""), ("init", "init "), ("policy", "policy "), ("learning_rate", "learning rate ") })
        {
            string fact = runs[0].Fact(key);
            if (fact.Length > 0 && runs.All(run => run.Fact(key) == fact)) facts.Add(before + Short(fact));
        }
        string shared = string.Join(", ", facts);
        return shared.Length > 0 ? "The same in all: " + Text(shared) : "";
    }

    public string Headlines()
    {
        var html = new StringBuilder();
        foreach ((ReportRun run, int i) in runs.Select((run, i) => (run, i)))
        {
            Headline headline = Headline.Of(run);
            string name = runs.Count > 1 ? $"<span class=\"who\">{Swatch(i)} {Text(labels[i])}</span> " : "";
            html.Append($"<li{(run.Results is null ? " class=\"unfinished\"" : "")}>{name}<strong>{Text(headline.Score)}</strong>{Text(headline.Rest)}</li>\n");
        }
        return html.ToString();
    }

    public string Table()
    {
        var html = new StringBuilder();
        foreach ((ReportRun run, int i) in runs.Select((run, i) => (run, i)))
        {
            void Cell(string label, string content, string kind = "number") =>
                html.Append($"<td class=\"{kind}\" data-label=\"{label}\">{(content.Length > 0 ? content : "\u2013")}</td>");
            string Formatted(Func<double, string> format, params ReadOnlySpan<string> keys) => run.Number(keys) is { } number ? Text(format(number)) : "";
            string under = labels[i] == run.Name ? $"{run.Fact("task")} on {Short(run.Fact("backbone"))}" : run.Name;
            html.Append($"<tr><th scope=\"row\">{Who(i)}<small class=\"name\">{Text(under)}</small></th>");
            Cell("Test", run.Results is null ? $"<em>unfinished</em>{LastValidation(run)}" : Score(run, i, "test"), "score");
            Cell("Baselines", string.Concat(run.Baselines().Select(baseline => Baseline(run, baseline))), "baselines");
            Cell("Validation", run.Score("validation") is { } validation ? Text(run.Shown(validation)) : "");
            Cell("Trained", Formatted(share => share.ToString("0.##", CultureInfo.InvariantCulture) + "\u00a0%", "parameters", "trained_percent"));
            Cell("Steps", run.Results is null && run.LastStep >= 0 ? Headline.Count(run.LastStep) : Formatted(Headline.Count, "steps"));
            Cell("Seconds", Formatted(seconds => seconds.ToString("N1", CultureInfo.InvariantCulture), "seconds"));
            Cell("Tokens/s", Formatted(Headline.Count, "tokens_per_second"));
            Cell("Init", Text(run.Fact("init")), "word");
            Cell("Policy", Text(run.Fact("policy")), "word");
            Cell("Seed", Text(run.Fact("seed")));
            html.Append("</tr>\n");
        }
        return html.ToString();
    }

    private static string Baseline(ReportRun run, (string Rule, double Score) baseline) =>
        $"<div class=\"baseline\"><b>{Text(run.Shown(baseline.Score))}</b> {Text(BaselineNames.Of(baseline.Rule))}</div>";

    /// <summary>The plots, as plain values.</summary>
    public IReadOnlyList<Figure> Figures => [.. figures.All.Select(plot => plot.Figure)];

    public string Curves(ReportOptions options)
    {
        if (figures.All.Count == 0) return "<p class=\"note\">No curves: none of metrics.jsonl\u2019s lines holds a loss or a score.</p>";
        if (options.Interactive) return Charts();
        if (options.Draw is { } draw) return Drawn(draw);
        return "<p class=\"note\">No curves: this build of the library has no uPlot, and it was given nothing else to draw them with. " +
            "Each run\u2019s metrics.jsonl holds them.</p>";
    }

    // Controls and an empty place, which the script fills with charts.
    private string Charts()
    {
        var html = new StringBuilder("<div class=\"controls\" hidden>\n<div class=\"legend\" role=\"group\" aria-label=\"Runs shown\">");
        for (int i = 0; i < runs.Count; i++)
        {
            html.Append($"<button type=\"button\" class=\"key\" data-run=\"{i}\" aria-pressed=\"true\" title=\"{Text(runs[i].Path)}\">");
            html.Append($"{Swatch(i)} <span>{Text(labels[i])}</span></button>\n");
        }
        html.Append("</div>\n<div class=\"tools\">\n");
        string[] names = [.. runs.Select(run => run.Fact("task")).Distinct()];
        if (names.Length > 1)
        {
            html.Append("<div class=\"switch\" role=\"group\" aria-label=\"Task\"><button type=\"button\" data-task=\"\" aria-pressed=\"true\">All tasks</button>");
            foreach (string name in names) html.Append($"<button type=\"button\" data-task=\"{Text(name)}\" aria-pressed=\"false\">{Text(name)}</button>");
            html.Append("</div>\n");
        }
        html.Append("<div class=\"switch\" role=\"group\" aria-label=\"Scale of losses and norms\">");
        html.Append("<button type=\"button\" data-scale=\"linear\" aria-pressed=\"true\">Linear</button>");
        html.Append("<button type=\"button\" data-scale=\"log\" aria-pressed=\"false\">Log</button></div>\n");
        html.Append("""
            <label class="slider">Smoothing <input id="smoothing" type="range" min="0" max="0.99" step="0.01" value="0.6"> <output for="smoothing">0.60</output></label>
            <button type="button" id="zoom-out" hidden>All steps</button>
            </div>
            </div>
            <noscript><p class="note">The curves need JavaScript.</p></noscript>
            <div id="charts"></div>

            """);
        html.Append("<p class=\"note hint\" hidden>Drag across a chart to zoom in, double-click to zoom out; with the keyboard, focus a chart and use the arrow keys. ");
        html.Append("Smoothing is an exponential moving average of the training curves; the faint line is what was logged.</p>");
        return html.ToString();
    }

    // Every plot twice, for wide and for narrow cards: text that shrinks with its picture cannot be read on a phone.
    private string Drawn(FigureDrawer draw)
    {
        var html = new StringBuilder();
        if (runs.Count > 1)
        {
            html.Append("<ul class=\"keys\">\n");
            for (int i = 0; i < runs.Count; i++) html.Append($"<li class=\"who\">{Swatch(i)} <span class=\"name\">{Text(labels[i])}</span></li>\n");
            html.Append("</ul>\n");
        }
        html.Append("<div id=\"charts\">\n");
        foreach (Figure figure in Figures)
        {
            string unit = figure.Unit.Length > 0 ? $" <small>{Text(figure.Unit)}</small>" : "";
            html.Append($"<figure class=\"chart drawn\" role=\"img\" aria-label=\"{Text(Described(figure))}\"><figcaption>{Text(figure.Title)}{unit}</figcaption>\n");
            foreach ((string name, int width, int height) in Sizes) html.Append($"<div class=\"{name}\">{draw(figure, width, height)}</div>\n");
            string baselines = string.Concat(figure.Baselines.Select(baseline => $"<li>{Text(baseline.Name)} <b>{Headline.Percent(baseline.Score)}</b></li>"));
            if (baselines.Length > 0) html.Append($"<ul class=\"baseline-key\">{baselines}</ul>\n");
            html.Append("</figure>\n");
        }
        html.Append("</div>\n");
        if (figures.All.Any(plot => plot.IsSmooth)) html.Append("<p class=\"note hint\">Training curves are exponential moving averages; the faint line is what was logged.</p>\n");
        return html.ToString();
    }

    // Read aloud by a screen reader in place of the picture.
    private static string Described(Figure figure)
    {
        string Label(double value) => figure.IsShare ? Headline.Percent(value) : value.ToString("G4", CultureInfo.InvariantCulture);
        string Ends(double[] values) => values.Length > 0 ? $"from {Label(values[0])} to {Label(values[^1])}" : "no values";
        IEnumerable<string> ends = figure.Curves.Take(8).Select(curve => $"{curve.Run}: {Ends([.. curve.Logged.OfType<double>()])}");
        return $"{figure.Title} over steps. {string.Join("; ", ends)}";
    }

    public string Differences()
    {
        if (runs.Count < 2) return "";
        ReportRun[] configured = [.. runs.Where(run => run.Options.Count > 0)];
        bool Differs(string key) => key != "output_dir" && configured.Select(run => run.Options.GetValueOrDefault(key, "")).Distinct().Count() > 1;
        string[] keys = [.. configured.SelectMany(run => run.Options.Keys).Distinct().Where(Differs)];
        if (keys.Length == 0) return "";
        var html = new StringBuilder("<section><h2>Options that differ</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Options that differ\">");
        html.Append("<table class=\"plain\"><thead><tr><th scope=\"col\">Run</th>");
        foreach (string key in keys) html.Append($"<th scope=\"col\"><code>{Text(key)}</code></th>");
        html.Append("</tr></thead><tbody>");
        for (int i = 0; i < runs.Count; i++)
        {
            html.Append($"<tr><th scope=\"row\">{Who(i)}</th>");
            foreach (string key in keys) html.Append($"<td><span class=\"value\">{Text(runs[i].Options.GetValueOrDefault(key, "\u2013"))}</span></td>");
            html.Append("</tr>");
        }
        return html.Append("</tbody></table></div></section>").ToString();
    }

    public string Details()
    {
        var html = new StringBuilder();
        for (int i = 0; i < runs.Count; i++)
        {
            ReportRun run = runs[i];
            html.Append($"<details class=\"run\"{(runs.Count == 1 ? " open" : "")}><summary>{Who(i)}<small class=\"name\">{Text(run.Path)}</small></summary>\n");
            html.Append("<div class=\"facts\">\n");
            html.Append($"<div class=\"wide\"><h3>Command</h3>{Command(run)}</div>\n");
            html.Append($"<div><h3>Parameters</h3>{Parameters(run, i)}</div>\n");
            html.Append($"<div><h3>Run</h3>{(run.Results is null ? None("results.json") : Facts(run.Results, InTable))}</div>\n");
            html.Append($"<div class=\"wide\"><h3>Environment</h3>{(run.Environment is null ? None("env.json") : Facts(run.Environment, []))}</div>\n");
            html.Append($"<div class=\"wide\"><h3>Configuration</h3>{Configuration(run)}</div>\n</div></details>\n");
        }
        return html.ToString();
    }

    private static string Command(ReportRun run)
    {
        if (run.Command is null) return None("command.txt");
        return $"<div class=\"command\"><pre>{Wrapped(run.Command.Split(' '))}</pre><button type=\"button\" class=\"copy\" hidden>Copy</button></div>";
    }

    private static string Configuration(ReportRun run)
    {
        if (run.Config is null) return None("config.yaml");
        return $"<details><summary>config.yaml, every option resolved</summary><pre tabindex=\"0\">{Text(run.Config.TrimEnd())}</pre></details>";
    }

    /// <summary>The curves, as JSON that is safe inside a script element: its encoder writes no less-than sign.</summary>
    public string Data()
    {
        var charts = new JsonArray();
        foreach ((string key, bool isSmooth, Figure figure) in figures.All)
        {
            var baselines = new JsonArray();
            if (figure.Baselines.Count > 0)
                foreach ((string task, string name, double score) in figures.Baselines())
                    baselines.Add((JsonNode?)new JsonObject { ["task"] = task, ["name"] = name, ["score"] = score });
            charts.Add((JsonNode?)new JsonObject
            {
                ["key"] = key,
                ["title"] = figure.Title,
                ["unit"] = figure.Unit,
                ["percent"] = figure.IsShare,
                ["smooth"] = isSmooth,
                ["baselines"] = baselines,
            });
        }
        var lines = new JsonArray();
        for (int i = 0; i < runs.Count; i++)
        {
            var curves = new JsonObject();
            foreach (string key in ReportFigures.Keys(runs[i]))
            {
                Curve curve = figures.Thinned(runs[i], key);
                JsonArray steps = [.. curve.Steps.Select(step => (JsonNode)step)];
                JsonArray values = [.. curve.Values.Select(value => (JsonNode?)Rounded(value))];
                curves[key] = new JsonArray(steps, values);
            }
            lines.Add((JsonNode?)new JsonObject { ["label"] = labels[i], ["task"] = runs[i].Fact("task"), ["look"] = Look(i), ["curves"] = curves });
        }
        return new JsonObject { ["charts"] = charts, ["runs"] = lines }.ToJsonString();
    }

    // As few facts as tell the runs apart; where facts cannot, the folders' names, and where those are alike, the paths.
    private static string[] Labels(IReadOnlyList<ReportRun> runs)
    {
        string[] labels = [.. runs.Select(_ => "")];
        (string Key, string Before)[] telling = [("task", ""), ("init", ""), ("policy", ""), ("backbone", ""), ("seed", "seed "), ("learning_rate", "rate ")];
        if (runs.Count == 1) telling = [];
        foreach ((string key, string before) in telling)
        {
            string[] longer = [.. runs.Select((run, i) => Longer(labels[i], before, run.Fact(key)))];
            if (longer.Distinct().Count() > labels.Distinct().Count()) labels = longer;
        }
        if (runs.Count > 1 && labels.All(label => label.Length is > 0 and < 60) && labels.Distinct().Count() == runs.Count) return labels;
        string[] names = [.. runs.Select(run => run.Name)];
        return names.Distinct().Count() == runs.Count ? names : [.. runs.Select(run => run.Path)];
    }

    private static string Longer(string label, string before, string fact)
    {
        if (fact.Length == 0) return label;
        return label.Length > 0 ? $"{label} \u00b7 {before}{Short(fact)}" : before + Short(fact);
    }

    private static string Short(string reference) => reference.Contains('/') ? reference.TrimEnd('/').Split('/')[^1] : reference;

    // A flag is not broken after its dashes.
    private static string Wrapped(string[] command) => string.Join(' ', command.Select(word => $"<span>{Text(word)}</span>"));

    private static string Words(string key) => key.Replace('_', ' ');

    private static string Look(int run)
    {
        (int colour, int dash) = ReportFigures.Look(run);
        return $"c{colour} d{dash}";
    }

    private static string Swatch(int run) => $"<svg class=\"swatch {Look(run)}\" viewBox=\"0 0 24 8\" aria-hidden=\"true\"><line x1=\"2\" y1=\"4\" x2=\"22\" y2=\"4\"/></svg>";

    private string Who(int run) => $"<span class=\"who\">{Swatch(run)} <span class=\"name\">{Text(labels[run])}</span></span>";

    private static string None(string file) => $"<p class=\"note\">{file} is missing or cannot be read.</p>";

    private static string LastValidation(ReportRun run)
    {
        if (!run.Curves.TryGetValue($"eval/{run.MainMetric}", out Curve? curve) || curve.Values[^1] is not { } score) return "";
        return $"<small>validation {Text(run.Shown(score))} at step {Headline.Count(curve.Steps[^1])}</small>";
    }

    // A bar from 0 to 100 %; whoever begins it ends the svg element.
    private static string Bar(int run, double share) => string.Create(CultureInfo.InvariantCulture,
        $"<svg class=\"bar {Look(run)}\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"track\" width=\"100\" height=\"8\"/>" +
        $"<rect class=\"fill\" width=\"{100 * Math.Clamp(share, 0, 1):F2}\" height=\"8\"/>");

    private static string Score(ReportRun run, int i, string split)
    {
        if (run.Score(split) is not { } score) return "";
        string main = run.MainMetric;
        bool isBar = MetricInfo.IsShare(main);
        var html = new StringBuilder($"<b>{(main == "accuracy" ? "" : Text(Words(main)) + " ")}{Text(run.Shown(score))}</b>{(isBar ? Bar(i, score) : "")}");
        // Baselines are marks on the bar.
        foreach ((_, double baseline) in isBar ? run.Baselines() : [])
        {
            string x = (100 * Math.Clamp(baseline, 0, 1)).ToString("F2", CultureInfo.InvariantCulture);
            foreach (string kind in new[] { "gap", "mark" }) html.Append($"<line class=\"{kind}\" x1=\"{x}\" x2=\"{x}\" y1=\"0\" y2=\"8\"/>");
        }
        if (isBar) html.Append("</svg>");
        foreach ((string key, JsonNode? _) in (JsonObject)run.Results!["metrics"]![split]!)
        {
            bool isShare = MetricInfo.IsShare(key);
            if (key != main && key != "count" && (isShare ? run.Share("metrics", split, key) : run.Number("metrics", split, key)) is { } number)
                html.Append($"<small>{Text(Words(key))} {(isShare ? Headline.Percent(number) : Text(Compact(number)))}</small>");
        }
        return html.ToString();
    }

    private static string Parameters(ReportRun run, int i)
    {
        if (run.Number("parameters", "total") is not { } total || run.Number("parameters", "trained") is not { } trained) return None("the count in results.json");
        double unused = run.Number("parameters", "unused") ?? 0;
        string Row(string name, double number, string share) => $"<dt>{name}</dt><dd>{Headline.Count(number)}{share}</dd>";
        string percent = run.Number("parameters", "trained_percent") is { } share ? $" <small>{share.ToString("0.####", CultureInfo.InvariantCulture)}\u00a0%</small>" : "";
        var html = new StringBuilder($"{Bar(i, trained / Math.Max(1, total))}</svg><dl>");
        html.Append(Row("trained", trained, percent));
        html.Append(Row("frozen", Math.Max(0, total - trained - unused), "")).Append(Row("unused by these inputs", unused, "")).Append(Row("total", total, ""));
        if (run.Number("parameters", "position_rows_used") is { } rows) html.Append(Row("position rows used", rows, ""));
        return html.Append("</dl>").ToString();
    }

    // Plain facts as they are; an object becomes one line of key=value, except those that are shown elsewhere.
    private static string Facts(JsonObject facts, string[] except)
    {
        var html = new StringBuilder("<dl>");
        foreach ((string key, JsonNode? value) in facts)
        {
            if (except.Contains(key) || key is "parameters" or "metrics" or "baselines") continue;
            string text = value switch
            {
                null => "\u2013",
                JsonObject map => map.Count == 0 ? "none set" : string.Join(" ", map.Select(pair => $"{pair.Key}={pair.Value}")),
                _ when key.EndsWith("_bytes", StringComparison.Ordinal) && value is JsonValue number && number.TryGetValue(out double bytes) => Bytes(bytes),
                _ => value.ToString(),
            };
            html.Append($"<dt>{Text(Words(key.EndsWith("_bytes", StringComparison.Ordinal) ? key[..^"_bytes".Length] : key))}</dt><dd>{Text(text)}</dd>");
        }
        return html.Append("</dl>").ToString();
    }

    private static string Bytes(double bytes) => bytes >= 1L << 30
        ? FormattableString.Invariant($"{bytes / (1L << 30):F2} GiB")
        : FormattableString.Invariant($"{bytes / (1L << 20):F0} MiB");

    private static string Compact(double number) => number.ToString(number != 0 && Math.Abs(number) < 1e-3 ? "0.00e-0" : "0.####", CultureInfo.InvariantCulture);

    private static double? Rounded(double? value) => value is { } number ? double.Parse(number.ToString("G6", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture) : null;
}
