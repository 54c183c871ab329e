using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;

namespace Permafrost.Cli.Bench;

/// <summary>
/// One training step of GPT-2 base, ours beside PyTorch's, taking turns in one run: medians, memory, and the machine's own matrix-product rates.
/// Each side runs with OPENBLAS_CORETYPE as it is set and, where it is set, without it too; ratios are against the peer's better one.
/// </summary>
internal static class StepBenchmark
{
    public const string Name = "fpt-step";

    private sealed record Side(string Kind, BenchProcess Process, List<double> Seconds);

    public static JsonObject Run(int batch, int tokens, int rounds, CancellationToken cancellation)
    {
        bool coreTypeSet = Environment.GetEnvironmentVariable("OPENBLAS_CORETYPE") is { Length: > 0 };
        var sides = new List<Side>();
        try
        {
            foreach (bool keep in coreTypeSet ? new[] { true, false } : [true])
            {
                string suffix = coreTypeSet ? keep ? "" : ", OPENBLAS_CORETYPE unset" : "";
                sides.Add(new Side("own", BenchProcess.Own("permafrost" + suffix, keep), []));
                foreach (string composition in new[] { "hf", "tuned" })
                    if (BenchProcess.Peer($"PyTorch {composition}{suffix}", keep) is { } peer) sides.Add(new Side(composition, peer, []));
            }
            JsonObject setup = new() { ["cmd"] = "setup", ["case"] = Name, ["batch"] = batch, ["tokens"] = tokens, ["input_dim"] = 48, ["classes"] = 10, ["dropout"] = 0.1, ["threads"] = Environment.ProcessorCount };
            foreach (Side side in sides)
            {
                JsonObject own = setup.DeepClone().AsObject();
                if (side.Kind != "own") own["composition"] = side.Kind;
                Output.Note($"setting up {side.Process.Name}");
                side.Process.Ask(own);
                side.Process.Ask(new JsonObject { ["cmd"] = "run", ["steps"] = 2 });  // the first steps allocate and pack
            }
            for (int round = 0; round < rounds; round++)
            {
                cancellation.ThrowIfCancellationRequested();
                // Another order each round, so that nobody always runs after the same neighbour.
                foreach (Side side in sides.Skip(round % sides.Count).Concat(sides.Take(round % sides.Count)))
                    side.Seconds.Add((double)side.Process.Ask(new JsonObject { ["cmd"] = "run", ["steps"] = 1 })["seconds"]!.AsArray()[0]!);
                Output.Note($"round {round + 1} of {rounds}");
            }
            return Report(sides, batch, tokens);
        }
        finally
        {
            foreach (Side side in sides) side.Process.Dispose();
        }
    }

    private static JsonObject Report(List<Side> sides, int batch, int tokens)
    {
        var result = new JsonObject { ["case"] = $"{Name} B{batch} T{tokens}" };
        Side own = Best(sides, "own")!;
        double flops = NominalFlops(batch, tokens);
        result["seconds"] = Math.Round(Median(own.Seconds), 4);
        result["gflops"] = Math.Round(flops / Median(own.Seconds) / 1e9, 1);
        long memory = Memory(own);
        result["peak_bytes"] = memory;
        foreach (string kind in new[] { "hf", "tuned" })
        {
            if (Best(sides, kind) is not { } peer) continue;
            result[$"speed_ratio_{kind}"] = Math.Round(Median(peer.Seconds) / Median(own.Seconds), 3);
            if (kind == "hf") result["memory_ratio"] = Math.Round((double)memory / Memory(peer), 3);
        }
        var all = new JsonArray();
        foreach (Side side in sides)
            all.Add(new JsonObject { ["name"] = side.Process.Name, ["median_seconds"] = Math.Round(Median(side.Seconds), 4), ["best_seconds"] = Math.Round(side.Seconds.Min(), 4), ["peak_bytes"] = Memory(side) });
        result["sides"] = all;
        foreach (Side side in sides.Where(side => side.Kind == "tuned"))
            foreach (string dtype in new[] { "float32", "bfloat16" })
            {
                JsonObject rate = side.Process.Ask(new JsonObject { ["cmd"] = "gemm-step", ["batch"] = batch, ["tokens"] = tokens, ["dtype"] = dtype, ["threads"] = Environment.ProcessorCount, ["repeat"] = 3 });
                double previous = (double?)result[$"ceiling_gflops_{dtype}"] ?? 0;
                result[$"ceiling_gflops_{dtype}"] = Math.Round(Math.Max(previous, (double)rate["gflops"]!), 1);
            }
        return result;
    }

    // Products with weights, forward and backward by the input, of the 12 layers: 4 C^2 + 8 C^2 weights, 2 operations each way.
    private static double NominalFlops(int batch, int tokens) => 2.0 * 2 * batch * tokens * 12 * 12 * 768 * 768;

    private static Side? Best(List<Side> sides, string kind) => sides.Where(side => side.Kind == kind).MinBy(side => Median(side.Seconds));

    private static long Memory(Side side) => (long)side.Process.Ask(new JsonObject { ["cmd"] = "memory" })["peak_bytes"]!;

    private static double Median(List<double> values)
    {
        double[] ordered = [.. values.Order()];
        return ordered.Length % 2 == 1 ? ordered[ordered.Length / 2] : (ordered[ordered.Length / 2 - 1] + ordered[ordered.Length / 2]) / 2;
    }
}
