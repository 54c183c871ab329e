using System.Text.Json.Nodes;

namespace Permafrost.Cli.Bench;

/// <summary>Who takes turns: <c>own</c>, <c>hf</c> and <c>tuned</c> (PyTorch), the same two with <c>_passive</c> waiting, and the <c>ceiling</c>.</summary>
/// <param name="Kind">Which of them.</param>
/// <param name="Environment">What was changed in the environment.</param>
internal sealed record BenchSide(string Kind, BenchEnvironment Environment)
{
    public const string Own = "own";
    public const string Ceiling = "ceiling";

    /// <summary>The two ways the peer is composed; see bench/peer/gpt2.py.</summary>
    public static IReadOnlyList<string> Compositions { get; } = ["hf", "tuned"];

    public List<double> Seconds { get; } = [];

    public List<long> PeakBytes { get; } = [];

    /// <summary>What the process said of itself.</summary>
    public JsonObject Facts { get; set; } = [];

    public double Median => MedianOf(Seconds);

    public long Memory => PeakBytes.Count == 0 ? 0 : (long)MedianOf([.. PeakBytes.Select(bytes => (double)bytes)]);

    /// <summary>For people.</summary>
    public string Name => $"{Kind switch { Own => "permafrost", Ceiling => "products alone", _ => $"PyTorch, {Kind.Replace("_passive", "", StringComparison.Ordinal)}" }}{(Environment.ToString() is { Length: > 0 } changed ? $" ({changed})" : "")}";

    public BenchProcess Start() => Kind == Own ? BenchProcess.Own(Name, Environment) : BenchProcess.Peer(Name, Environment);

    public JsonObject ToJson()
    {
        var json = new JsonObject { ["kind"] = Kind, ["name"] = Name, ["median_seconds"] = Rounded(Median), ["best_seconds"] = Rounded(Seconds.Min()), ["times"] = Seconds.Count };
        if (PeakBytes.Count > 0) json["peak_bytes"] = Memory;
        foreach (string fact in new[] { "torch", "blas", "threads" }) if (Facts[fact] is { } value) json[fact] = value.DeepClone();
        return json;
    }

    /// <summary>Four digits that count.</summary>
    public static double Rounded(double value) => value == 0 ? 0 : Math.Round(value, Math.Clamp(3 - (int)Math.Floor(Math.Log10(Math.Abs(value))), 0, 9));

    private static double MedianOf(IReadOnlyList<double> values)
    {
        double[] ordered = [.. values.Order()];
        return ordered.Length % 2 == 1 ? ordered[ordered.Length / 2] : (ordered[ordered.Length / 2 - 1] + ordered[ordered.Length / 2]) / 2;
    }
}
