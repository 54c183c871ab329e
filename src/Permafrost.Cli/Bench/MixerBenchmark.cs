using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Models;

namespace Permafrost.Cli.Bench;

/// <summary>
/// How the time and memory of encoders that differ in their mixer alone grow with the length: lightweight, dynamic and dilated convolutions and attention in one trunk, forward
/// and in a training step of all weights (Tay et al. 2021, section 5.3). One example at a time; each mixer, size and length is a process of its own.
/// </summary>
/// <param name="settings">Rounds, device, and which lengths and sizes.</param>
/// <param name="folders">Where the bodies are described.</param>
/// <param name="cancellation">Stops between steps.</param>
internal sealed class MixerBenchmark(BenchSettings settings, BenchFolders folders, CancellationToken cancellation)
{
    // Short sequences are bound by what a step costs at any length, so the growth is that of the last two doublings.
    private const int Fitted = 3;

    /// <summary>The lengths, in tokens, where none are named.</summary>
    public static IReadOnlyList<int> Lengths { get; } = [64, 128, 256, 512, 1024, 2048, 4096];

    /// <summary>The sizes where none is named: 4 layers of 256 and 12 of 768.</summary>
    public static IReadOnlyList<string> Sizes { get; } = ["mini", "base"];

    private static readonly (string Mixer, string Suffix)[] Mixers = [("lightweight", ""), ("dynamic", "-dynamic"), ("dilated", "-dilated"), ("attention", "-attention")];
    private static readonly (string Pass, string Case)[] Passes = [("forward", "forward"), ("training", "full-step")];

    /// <summary>Measures every mixer in every size at every length.</summary>
    /// <exception cref="UsageException">A length or size cannot be, or another build is asked for.</exception>
    public JsonObject Measure()
    {
        if (settings.Against is not null) throw new UsageException("mixer-length measures one build; leave --against away, or name another case");
        IReadOnlyList<int> lengths = settings.Lengths.Count > 0 ? [.. settings.Lengths.Distinct().Order()] : Lengths;
        IReadOnlyList<string> sizes = settings.Sizes.Count > 0 ? settings.Sizes : Sizes;
        if (lengths.Any(length => length is < 8 or > 1 << 16)) throw new UsageException("--lengths must be 8 to 65536 tokens");
        if (sizes.FirstOrDefault(size => !Sizes.Contains(size)) is { } unknown) throw new UsageException($"--sizes '{unknown}' is none; there are {string.Join(" and ", Sizes)}");
        var points = new JsonArray();
        var slopes = new JsonArray();
        foreach (string size in sizes)
            foreach ((string mixer, string suffix) in Mixers)
            {
                var json = (JsonObject)JsonNode.Parse(ModelRegistry.Presets.Single(preset => preset.Name == $"conv-seq2seq-{size}{suffix}").Json)!;
                // The encoder alone is measured; the fewest weights that have to lie beside it.
                (json["num_decoder_layers"], json["vocab_size"]) = (1, 64);
                if (json["dilation"] is not null) json["decoder_dilation"] = 1;
                string folder = folders.Described(json);
                JsonObject[][] measured = [.. lengths.Select(length => Measure($"{size} {mixer}", folder, json, length))];
                for (int pass = 0; pass < Passes.Length; pass++)
                {
                    JsonObject[] curve = [.. measured.Select(at => at[pass])];
                    if (lengths.Count > 1) slopes.Add((JsonNode)Slope($"{size} {mixer} {Passes[pass].Pass}", lengths, curve));
                    foreach (JsonObject point in curve) points.Add((JsonNode)point);
                }
            }
        return new JsonObject { ["case"] = "mixer-length", ["device"] = settings.Device, ["rounds"] = settings.Rounds, ["slopes"] = slopes, ["points"] = points };
    }

    /// <summary>Floating-point operations of the encoder's products and convolutions, two for each multiplication and addition.</summary>
    /// <param name="config">The encoder's configuration.</param>
    /// <param name="tokens">T.</param>
    /// <param name="training">Whether gradients are computed too: of each product's two sides.</param>
    public static double Flops(JsonObject config, int tokens, bool training)
    {
        (double layers, double C, double F, double T) = ((int)config["num_layers"]!, (int)config["d_model"]!, (int)config["d_ff"]!, tokens);
        string mixer = (string)config["mixer"]!;
        double taps = (int?)config["kernel_size"] ?? 0, predicted = mixer == "dynamic" ? C * taps * (int)config["conv_heads"]! : 0;
        // Attention: queries, keys, values, output, and each query with each key twice. Convolutions: the two sides of the gate, output, and the taps of each channel.
        double mixing = mixer == "attention" ? 4 * C * C + 2 * T * C : 3 * C * C + taps * C + predicted;
        return (training ? 3 : 1) * layers * 2 * T * (mixing + 2 * C * F);
    }

    private static JsonObject Slope(string name, IReadOnlyList<int> lengths, JsonObject[] curve)
    {
        double[] x = [.. lengths.Select(length => (double)length)], seconds = [.. curve.Select(point => (double)point["median_seconds"]!)];
        double[] bytes = [.. curve.Select(point => (double)(long)point["peak_bytes"]!)];
        int last = Math.Min(Fitted, x.Length);
        return new JsonObject
        {
            ["name"] = name,
            ["time_power"] = Math.Round(LengthBenchmark.Power(x[^last..], seconds[^last..]), 3),
            ["time_power_all"] = Math.Round(LengthBenchmark.Power(x, seconds), 3),
            ["memory_power"] = Math.Round(LengthBenchmark.Power(x[^last..], bytes[^last..]), 3),
        };
    }

    private JsonObject[] Measure(string name, string folder, JsonObject config, int tokens)
    {
        Output.Note($"mixer-length: {name}, {tokens} tokens");
        long? before = GpuMemory.Used(settings.Device);
        using BenchProcess process = new BenchSide(BenchSide.Own).Start();
        return [.. Passes.Select(pass =>
        {
            // Forward comes first: the process's highest memory afterwards is the training step's.
            var side = new BenchSide(BenchSide.Own);
            side.Facts = process.Ask(new JsonObject
            {
                ["cmd"] = "setup", ["case"] = pass.Case, ["backbone"] = folder, ["batch"] = 1, ["tokens"] = tokens, ["threads"] = BenchSettings.Threads,
                ["device"] = settings.Device,
            });
            var step = new JsonObject { ["cmd"] = "run", ["steps"] = 1 };
            process.Ask(step);  // the first step allocates and packs
            for (int round = 0; round < settings.Rounds; round++)
            {
                cancellation.ThrowIfCancellationRequested();
                side.AddTurn([(double)process.Ask(step)["seconds"]![0]!]);
            }
            double flops = Flops(config, tokens, pass.Pass == "training");
            return new JsonObject
            {
                ["name"] = $"{name} {pass.Pass} T{tokens}",
                ["tokens"] = tokens,
                ["median_seconds"] = BenchSide.Rounded(side.Median),
                ["tokens_per_second"] = BenchSide.Rounded(tokens / side.Median),
                ["gflop"] = BenchSide.Rounded(flops / 1e9),
                ["gflops"] = BenchSide.Rounded(flops / 1e9 / side.Median),
                ["peak_bytes"] = before is { } used ? GpuMemory.Used(settings.Device)!.Value - used : (long)process.Ask(new JsonObject { ["cmd"] = "memory" })["peak_bytes"]!,
            };
        })];
    }
}
