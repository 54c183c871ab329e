using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Models;

namespace Permafrost.Cli.Bench;

/// <summary>How the time and memory of our frozen step grow with the length, at one example: each length a process of its own, one after the other.</summary>
/// <param name="what">The case.</param>
/// <param name="settings">Rounds, backbone and device.</param>
/// <param name="folders">Where a body with enough positions is described.</param>
/// <param name="cancellation">Stops between steps.</param>
internal sealed class LengthBenchmark(BenchCase what, BenchSettings settings, BenchFolders folders, CancellationToken cancellation)
{
    // Short sequences are bound by what a step costs at any length, so the growth is that of the last two doublings.
    private const int Fitted = 3;

    /// <summary>The lengths that are measured, in tokens.</summary>
    public static IReadOnlyList<int> Lengths { get; } = [512, 1024, 2048, 4096, 8192];

    /// <summary>Measures a preset with random weights, whose positions are as many as the longest sequence needs.</summary>
    /// <exception cref="UsageException">Another build is asked for.</exception>
    public JsonObject Measure()
    {
        if (settings.Against is not null) throw new UsageException($"{what.Kind} measures how one build's step grows; leave --against away, or name another case");
        string backbone = what.BackboneFor(settings.Backbone);
        var json = (JsonObject)JsonNode.Parse(ModelRegistry.Presets.Single(preset => preset.Name == backbone).Json)!;
        json["max_position_embeddings"] = Lengths[^1] + (int)json["pad_token_id"]! + 1;
        return Measure(backbone, folders.Described(json), Lengths);
    }

    /// <summary>Measures a body.</summary>
    /// <param name="name">How it is called.</param>
    /// <param name="folder">A folder with its configuration; its weights are drawn.</param>
    /// <param name="lengths">Tokens, from the shortest sequence to the longest.</param>
    public JsonObject Measure(string name, string folder, IReadOnlyList<int> lengths)
    {
        BenchSide[] sides = [.. lengths.Select(tokens => Run(folder, tokens))];
        var result = new JsonObject { ["case"] = what.Name, ["backbone"] = name, ["device"] = settings.Device };
        double[] tokens = [.. lengths.Select(length => (double)length)], seconds = [.. sides.Select(side => side.Median)], bytes = [.. sides.Select(side => (double)side.Memory)];
        result["time_power"] = Math.Round(Power(tokens[^Fitted..], seconds[^Fitted..]), 3);
        result["memory_power"] = Math.Round(Power(tokens[^Fitted..], bytes[^Fitted..]), 3);
        result["time_power_all"] = Math.Round(Power(tokens, seconds), 3);
        result["memory_power_all"] = Math.Round(Power(tokens, bytes), 3);
        result["rounds"] = settings.Rounds;
        result["lengths"] = new JsonArray([.. lengths.Zip(sides, JsonNode (length, side) =>
        {
            JsonObject one = side.ToJson();
            (one["name"], one["tokens"]) = ($"{length} tokens", length);
            return one;
        })]);
        return result;
    }

    /// <summary>The power p of y = c x^p that fits best: the slope of the logarithms by least squares.</summary>
    public static double Power(IReadOnlyList<double> x, IReadOnlyList<double> y)
    {
        double[] a = [.. x.Select(value => Math.Log(value))], b = [.. y.Select(value => Math.Log(value))];
        (double meanA, double meanB) = (a.Average(), b.Average());
        return a.Zip(b, (one, other) => (one - meanA) * (other - meanB)).Sum() / a.Sum(one => (one - meanA) * (one - meanA));
    }

    private BenchSide Run(string folder, int tokens)
    {
        Output.Note($"{what.Name}: {tokens} tokens");
        var side = new BenchSide(BenchSide.Own);
        long? before = GpuMemory.Used(settings.Device);
        using BenchProcess process = side.Start();
        side.Facts = process.Ask(new JsonObject
        {
            ["cmd"] = "setup",
            ["case"] = what.StepKind,
            ["backbone"] = folder,
            ["batch"] = 1,
            ["tokens"] = tokens,
            ["threads"] = BenchSettings.Threads,
            ["device"] = settings.Device,
        });
        var step = new JsonObject { ["cmd"] = "run", ["steps"] = 1 };
        process.Ask(step);  // the first step allocates and packs
        for (int round = 0; round < settings.Rounds; round++)
        {
            cancellation.ThrowIfCancellationRequested();
            side.AddTurn([(double)process.Ask(step)["seconds"]![0]!]);
        }
        side.PeakBytes.Add(before is { } used ? GpuMemory.Used(settings.Device)!.Value - used : (long)process.Ask(new JsonObject { ["cmd"] = "memory" })["peak_bytes"]!);
        return side;
    }
}
