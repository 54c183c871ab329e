using System.Globalization;
using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Studies;

/// <summary>A run's folder as the report reads it: whatever is missing or damaged becomes a remark, never a failure.</summary>
internal sealed class ReportRun
{
    private ReportRun(string path) => Path = path;

    /// <summary>The folder, as it was given.</summary>
    public string Path { get; }

    /// <summary>The folder's own name.</summary>
    public string Name => System.IO.Path.GetFileName(System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(Path)));

    /// <summary>results.json; null in an unfinished run.</summary>
    public JsonObject? Results { get; private set; }

    /// <summary>env.json; null when it is not there.</summary>
    public JsonObject? Environment { get; private set; }

    /// <summary>command.txt; null when it is not there.</summary>
    public string? Command { get; private set; }

    /// <summary>config.yaml as text; null when it is not there.</summary>
    public string? Config { get; private set; }

    /// <summary>config.yaml as key and value, flat.</summary>
    public Dictionary<string, string> Options { get; } = [];

    /// <summary>metrics.jsonl by key.</summary>
    public SortedDictionary<string, Curve> Curves { get; private set; } = [];

    /// <summary>Files that are not there.</summary>
    public List<string> Missing { get; } = [];

    /// <summary>Sentences about files that are there but damaged.</summary>
    public List<string> Damage { get; } = [];

    /// <summary>The last step that was logged; -1 without any.</summary>
    public long LastStep => Curves.Values.Select(curve => curve.Steps.Count > 0 ? curve.Steps[^1] : -1).DefaultIfEmpty(-1).Max();

    /// <summary>Whether a folder holds any of the files of a run.</summary>
    public static bool IsRun(string path) => new[] { "config.yaml", "metrics.jsonl", "results.json" }.Any(file => File.Exists(System.IO.Path.Combine(path, file)));

    /// <summary>Reads whatever files of a run the folder holds.</summary>
    public static ReportRun Read(string path)
    {
        var run = new ReportRun(path);
        run.Results = run.Open("results.json", JsonFile.Read);
        run.CheckShares();
        run.Config = run.Open("config.yaml", File.ReadAllText);
        run.Curves = run.Open("metrics.jsonl", Curve.ReadAll) ?? [];
        run.Environment = run.Open("env.json", JsonFile.Read);
        run.Command = run.Open("command.txt", File.ReadAllText)?.Trim();
        if (run.Config is not null) run.ReadOptions(run.Config);
        return run;
    }

    /// <summary>A fact of results.json, or else of config.yaml, as text; empty when neither has it.</summary>
    public string Fact(string key) => Results?[key] is JsonValue value ? value.ToString() : Options.GetValueOrDefault(key, "");

    /// <summary>A number of results.json; null when it is missing or not a number.</summary>
    public double? Number(params ReadOnlySpan<string> keys)
    {
        JsonNode? node = Results;
        foreach (string key in keys) node = (node as JsonObject)?[key];
        return node is JsonValue value && value.TryGetValue(out double number) && double.IsFinite(number) ? number : null;
    }

    /// <summary>A share of results.json, from 0 to 1; null when it is missing or not a share.</summary>
    public double? Share(params ReadOnlySpan<string> keys) => Number(keys) is >= 0 and <= 1 and var share ? share : null;

    /// <summary>The metric that choices were made by: the first that results.json holds.</summary>
    public string MainMetric => Main("test") ?? Main("validation") ?? "accuracy";

    private string? Main(string split) =>
        (Results?["metrics"] as JsonObject)?[split] is JsonObject scores ? scores.Select(pair => pair.Key).FirstOrDefault(key => key is not ("loss" or "count")) : null;

    /// <summary>The score of a split by <see cref="MainMetric"/>; null when it is missing, or no share where it must be one.</summary>
    public double? Score(string split) => MetricInfo.IsShare(MainMetric) ? Share("metrics", split, MainMetric) : Number("metrics", split, MainMetric);

    /// <summary>A value of <see cref="MainMetric"/>, in percent where it is a share.</summary>
    public string Shown(double score) => MetricInfo.IsShare(MainMetric) ? Headline.Percent(score) : score.ToString("0.####", CultureInfo.InvariantCulture);

    /// <summary>The baselines by rule, the best first.</summary>
    public IReadOnlyList<(string Rule, double Score)> Baselines()
    {
        var baselines = new List<(string Rule, double Score)>();
        foreach (string[] path in BaselinePaths())
            if ((MetricInfo.IsShare(MainMetric) ? Share(path) : Number(path)) is { } score) baselines.Add((path[^1], score));
        return [.. baselines.OrderByDescending(baseline => MetricInfo.IsError(MainMetric) ? -baseline.Score : baseline.Score)];
    }

    // Trivial and strong ones; the first versions had only trivial ones, and called them floors.
    private IEnumerable<string[]> BaselinePaths()
    {
        foreach (string key in new[] { "baselines", "floors" })
            foreach ((string name, JsonNode? node) in Results?[key] as JsonObject ?? [])
                foreach (string[] path in node is JsonObject rules ? rules.Select(rule => new[] { key, name, rule.Key }) : [[key, name]]) yield return path;
    }

    private void CheckShares()
    {
        var keys = new List<string[]>();
        foreach ((string split, JsonNode? scores) in Results?["metrics"] as JsonObject ?? [])
            foreach ((string metric, _) in scores as JsonObject ?? [])
                if (MetricInfo.IsShare(metric)) keys.Add(["metrics", split, metric]);
        if (MetricInfo.IsShare(MainMetric)) keys.AddRange(BaselinePaths());
        string file = System.IO.Path.Combine(Path, "results.json");
        foreach (string[] key in keys.Where(key => Share(key) is null)) Damage.Add($"{file} is damaged: {string.Join('.', key)} is not a share from 0 to 1");
    }

    private T? Open<T>(string file, Func<string, T?> read)
    {
        string path = System.IO.Path.Combine(Path, file);
        if (!File.Exists(path))
        {
            Missing.Add(file);
            return default;
        }
        try
        {
            return read(path);
        }
        catch (Exception error) when (error is PermafrostException or IOException or UnauthorizedAccessException)
        {
            Damage.Add(error is PermafrostException ? error.Message : $"cannot read {path}: {error.Message.TrimEnd('.')}");
            return default;
        }
    }

    // Read line by line, as RunConfig writes it: a report should not fail where a YAML parser would.
    private void ReadOptions(string text)
    {
        string map = "";
        foreach (string line in text.Split('\n'))
        {
            int colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon < 1 || line.StartsWith('#')) continue;
            bool inner = line[0] == ' ';
            string key = Unquoted(line[..colon]), value = Unquoted(line[(colon + 1)..]);
            if (!inner) map = key;
            if (inner || value.Length > 0) Options[inner ? $"{map}.{key}" : key] = value;
        }
    }

    private static string Unquoted(string text)
    {
        text = text.Trim();
        return text.Length > 1 && text[0] == '"' && text[^1] == '"' ? text[1..^1] : text;
    }
}
