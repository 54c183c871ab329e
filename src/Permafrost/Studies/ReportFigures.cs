using Permafrost.Tasks.Metrics;

namespace Permafrost.Studies;

/// <summary>The plots of a report, the same for the page's script, its static figures and figures as files.</summary>
internal sealed class ReportFigures
{
    private const int Colours = 6;
    private const int Dashes = 3;

    // Plots in the order of the page; other values that a run logs of its validation follow.
    private static readonly (string Key, string Title, string Unit)[] Known =
    [
        ("train/loss", "Training loss", "nats"),
        ("eval/accuracy", "Validation accuracy", ""),
        ("eval/loss", "Validation loss", "nats"),
        ("train/grad_norm", "Gradient norm", "before clipping"),
    ];

    private readonly IReadOnlyList<ReportRun> runs;
    private readonly Dictionary<(ReportRun Run, string Key), Curve> thinned = [];

    public ReportFigures(IReadOnlyList<ReportRun> runs, IReadOnlyList<string> labels)
    {
        this.runs = runs;
        IEnumerable<(string, string, string)> others = runs.SelectMany(Keys).Distinct().Where(key => Known.All(known => known.Key != key))
            .Select(key => (key, "Validation " + key["eval/".Length..].Replace('_', ' '), ""));
        (string Key, string Title, string Unit)[] plots = [.. Known.Concat(others).Where(plot => runs.Any(run => run.Curves.ContainsKey(plot.Item1)))];
        IEnumerable<List<long>> steps = runs.SelectMany(run => Keys(run).Select(key => run.Curves[key].Steps)).Where(steps => steps.Count > 0);
        (long first, long last) = (steps.Select(steps => steps[0]).Append(0).Min(), steps.Select(steps => steps[^1]).Append(1).Max());
        All = [.. plots.Select(plot => (plot.Key, IsSmooth(plot.Key), Plot(plot.Key, plot.Title, plot.Unit, labels, first, last)))];
    }

    /// <summary>The plots with the key of metrics.jsonl that each shows, and whether its curves are averaged.</summary>
    public IReadOnlyList<(string Key, bool IsSmooth, Figure Figure)> All { get; }

    /// <summary>The keys of a run that are plotted.</summary>
    public static IEnumerable<string> Keys(ReportRun run) =>
        run.Curves.Keys.Where(key => key.StartsWith("eval/", StringComparison.Ordinal) || Known.Any(known => known.Key == key));

    /// <summary>A run's colour and dash, by its place in the report.</summary>
    public static (int Colour, int Dash) Look(int run) => (run % Colours, run / Colours % Dashes);

    /// <summary>A run's curve with no more points than a screen shows.</summary>
    public Curve Thinned(ReportRun run, string key)
    {
        if (!thinned.TryGetValue((run, key), out Curve? curve)) thinned[(run, key)] = curve = run.Curves[key].Thinned();
        return curve;
    }

    /// <summary>The best trivial rule of each task, the highest score first.</summary>
    public IEnumerable<(string Task, string Name, double Score)> Baselines()
    {
        bool several = runs.Select(run => run.Fact("task")).Distinct().Skip(1).Any();
        return runs.Where(run => run.MainMetric == "accuracy" && run.Baselines().Count > 0).GroupBy(run => run.Fact("task")).Select(task =>
        {
            (string rule, double score) = task.Select(run => run.Baselines()[0]).MaxBy(baseline => baseline.Score);
            return (task.Key, $"{(several ? task.Key + " " : "")}baseline: {BaselineNames.Of(rule)}", score);
        }).OrderByDescending(baseline => baseline.score);
    }

    private static bool IsSmooth(string key) => key.StartsWith("train/", StringComparison.Ordinal);

    private Figure Plot(string key, string title, string unit, IReadOnlyList<string> labels, long first, long last)
    {
        var curves = new List<FigureCurve>();
        for (int i = 0; i < runs.Count; i++)
        {
            if (!runs[i].Curves.ContainsKey(key)) continue;
            Curve curve = Thinned(runs[i], key);
            (int colour, int dash) = Look(i);
            curves.Add(new FigureCurve(labels[i], colour, dash, curve.Steps, curve.Values, IsSmooth(key) ? curve.Smoothed() : curve.Values));
        }
        FigureBaseline[] baselines = key == "eval/accuracy" ? [.. Baselines().Select(baseline => new FigureBaseline(baseline.Name, baseline.Score))] : [];
        return new Figure(title, unit, MetricInfo.IsShare(key[(key.IndexOf('/', StringComparison.Ordinal) + 1)..]), first, last, curves, baselines);
    }
}
