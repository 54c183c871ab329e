using System.Text.Json.Nodes;

namespace Permafrost.Cli.Bench;

/// <summary>One of the programs that are measured in turns.</summary>
/// <param name="Kind">One of the constants; those of plain TorchSharp may end with <see cref="Passive"/>.</param>
/// <param name="Program">For <see cref="Other"/>, the other build's dll or executable.</param>
internal sealed record BenchSide(string Kind, string? Program = null)
{
    public const string Own = "own";

    /// <summary>The same model in plain TorchSharp, held and multiplied in bfloat16 or float32.</summary>
    public const string Bf16 = "bf16", Float32 = "float32";

    /// <summary>Another build of this program.</summary>
    public const string Other = "against";

    /// <summary>The step's products alone, by libtorch and by our kernels; the fastest is its ceiling.</summary>
    public const string TorchProducts = "products_libtorch", KernelProducts = "products_kernels";

    /// <summary>The same model file in ONNX Runtime, float32.</summary>
    public const string Onnx = "onnx";

    /// <summary>Ends the kind of a side whose threads are told to wait passively.</summary>
    public const string Passive = "_passive";

    private readonly List<List<double>> turns = [];

    public bool IsPassive => Kind.EndsWith(Passive, StringComparison.Ordinal);

    /// <summary>The kind, however threads wait.</summary>
    public string Model => IsPassive ? Kind[..^Passive.Length] : Kind;

    /// <summary>Whether it speaks our own worker's commands.</summary>
    public bool IsOurs => Model is Own or Other or KernelProducts;

    public bool IsProducts => Model is TorchProducts or KernelProducts;

    public IReadOnlyList<double> Seconds => [.. turns.SelectMany(turn => turn)];

    /// <summary>The median of each turn.</summary>
    public IReadOnlyList<double> Rounds => [.. turns.Select(PairedRatio.MedianOf)];

    public List<long> PeakBytes { get; } = [];

    /// <summary>What the process reported about itself when it was set up.</summary>
    public JsonObject Facts { get; set; } = [];

    public double Median => PairedRatio.MedianOf(Seconds);

    public long Memory => PeakBytes.Count == 0 ? 0 : (long)PairedRatio.MedianOf([.. PeakBytes.Select(bytes => (double)bytes)]);

    /// <summary>The name in messages and tables.</summary>
    public string Name => Model switch
    {
        Own => "permafrost",
        Other => "the other build",
        TorchProducts => "products alone, libtorch",
        KernelProducts => "products alone, our kernels",
        Onnx => "ONNX Runtime, float32",
        Bf16 or Float32 => $"plain TorchSharp, {Model}",
        _ => Kind,
    } + (IsPassive ? " (passive waiting)" : "");

    public BenchProcess Start() => BenchProcess.Start(this);

    public void AddTurn(IEnumerable<double> seconds) => turns.Add([.. seconds]);

    public void Forget() => turns.Clear();

    public JsonObject ToJson()
    {
        var json = new JsonObject { ["kind"] = Kind, ["name"] = Name, ["median_seconds"] = Rounded(Median), ["best_seconds"] = Rounded(Seconds.Min()), ["times"] = Seconds.Count };
        if (PeakBytes.Count > 0) json["peak_bytes"] = Memory;
        if (Program is not null) json["program"] = Program;
        foreach (string fact in new[] { "torch", "kernels", "threads" }) if (Facts[fact] is { } value) json[fact] = value.DeepClone();
        return json;
    }

    /// <summary>Rounded to four significant digits.</summary>
    public static double Rounded(double value) => value == 0 ? 0 : Math.Round(value, Math.Clamp(3 - (int)Math.Floor(Math.Log10(Math.Abs(value))), 0, 9));
}
