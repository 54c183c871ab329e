using System.Diagnostics;
using System.Text.Json.Nodes;
using Permafrost.Kernels;

namespace Permafrost.Cli.Bench;

/// <summary>What a step of a training on several processes costs beside its computing: the sum of all gradients over the processes.</summary>
internal static class ExchangeBenchmark
{
    /// <summary>The kind of the case.</summary>
    public const string Kind = "exchange";

    // Numbers of one tensor; a model's are exchanged one tensor after the other.
    private const int Largest = 1 << 20;

    private static readonly int[] Parameters = [1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24];

    /// <summary>Measures on every process; the first's times are those of the slowest, since all wait for each other.</summary>
    /// <exception cref="UsageException">It is alone.</exception>
    public static JsonObject Measure(ProcessGroup group, int rounds)
    {
        if (group.Size == 1) throw new UsageException($"{Kind} measures several processes: start it as `mpirun -n 2 permafrost bench {Kind}`");
        return new JsonObject
        {
            ["case"] = Kind,
            ["processes"] = group.Size,
            ["points"] = new JsonArray([.. Parameters.Select(parameters => (JsonNode)Measure(group, parameters, rounds))]),
        };
    }

    private static JsonObject Measure(ProcessGroup group, int parameters, int rounds)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        Tensor[] tensors = [.. Enumerable.Range(0, Math.Max(1, parameters / Largest)).Select(_ => torch.zeros(Math.Min(parameters, Largest)))];
        foreach (Tensor tensor in tensors) tensor.grad = torch.ones_like(tensor);
        var seconds = new List<double>();
        for (int round = -1; round < rounds; round++)
        {
            group.Wait();
            long start = Stopwatch.GetTimestamp();
            group.SumGradients(tensors);
            // The first round brings the buffers into being.
            if (round >= 0) seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        double median = PairedRatio.MedianOf(seconds);
        return new JsonObject
        {
            ["name"] = FormattableString.Invariant($"{parameters:N0} parameters"),
            ["parameters"] = parameters,
            ["median_seconds"] = BenchSide.Rounded(median),
            ["best_seconds"] = BenchSide.Rounded(seconds.Min()),
            ["gigabytes_per_second"] = BenchSide.Rounded(4e-9 * parameters / median),
        };
    }
}
