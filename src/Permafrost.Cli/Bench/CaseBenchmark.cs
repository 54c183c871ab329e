using System.Globalization;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;

namespace Permafrost.Cli.Bench;

/// <summary>How to measure.</summary>
/// <param name="Rounds">How often each side takes its turn.</param>
/// <param name="Backbone">A preset.</param>
/// <param name="Device">Where to compute.</param>
internal sealed record BenchSettings(int Rounds, string Backbone, string Device)
{
    /// <summary>The threads of every side.</summary>
    public static int Threads => int.TryParse(Environment.GetEnvironmentVariable("OMP_NUM_THREADS"), NumberStyles.None, CultureInfo.InvariantCulture, out int threads) && threads > 0 ? threads : Environment.ProcessorCount;
}

/// <summary>
/// Measures one case: ours, the PyTorch peer in its two compositions, and the case's matrix products alone (its ceiling), each a process of its own,
/// taking turns in one run. Where OPENBLAS_CORETYPE is set, each side first tries two steps with it and two without (more of short ones), and goes on with its better one.
/// </summary>
internal sealed class CaseBenchmark(BenchCase what, BenchSettings settings, CancellationToken cancellation)
{
    // A turn lasts about so long, so that short steps are not all the first one after somebody else's.
    private const double TurnSeconds = 0.5;
    private const int MostSteps = 50;

    private readonly JsonArray calibration = [];
    private JsonObject model = [];
    private string productType = "bfloat16";

    /// <summary>A computation on examples: fpt-step, full-step, forward, predict.</summary>
    public JsonObject Compute()
    {
        var sides = new List<(BenchSide Side, BenchProcess Process)>();
        try
        {
            sides.Add(Better(BenchSide.Own, waits: false));
            if (BenchProcess.HasPeer)
            {
                foreach (string composition in BenchSide.Compositions) sides.Add(Better(composition, waits: false));
                // They look for their better kernels themselves: spinning threads hide what the kernels do.
                foreach (string composition in BenchSide.Compositions) sides.Add(Better(composition + "_passive", waits: true));
                sides.Add(Better(BenchSide.Ceiling, waits: true));
            }
            int steps = (int)Math.Clamp(TurnSeconds / sides.Max(side => side.Side.Seconds.Min()), 1, MostSteps);
            foreach ((BenchSide side, _) in sides) side.Seconds.Clear();
            for (int round = 0; round < settings.Rounds; round++)
            {
                // Another order each round, so that nobody always runs after the same neighbour.
                foreach ((BenchSide side, BenchProcess process) in sides.Skip(round % sides.Count).Concat(sides.Take(round % sides.Count)))
                {
                    cancellation.ThrowIfCancellationRequested();
                    Steps(side, process, steps);
                }
                Output.Note($"{what.Name}: round {round + 1} of {settings.Rounds}");
            }
            foreach ((BenchSide side, BenchProcess process) in sides) if (side.PeakBytes.Count == 0 && side.Kind != BenchSide.Ceiling) side.PeakBytes.Add(Peak(process));
            return Report([.. sides.Select(side => side.Side)]);
        }
        finally
        {
            foreach ((_, BenchProcess process) in sides) process.Dispose();
        }
    }

    /// <summary>From a model file, in the page cache, to ready for a step. Every time in a new process: nobody loads a model twice.</summary>
    public JsonObject Load()
    {
        string folder = Directory.CreateTempSubdirectory("permafrost-bench-").FullName;
        try
        {
            Output.Note($"{what.Name}: writing a {settings.Backbone} with random weights");
            var plain = new BenchEnvironment(KeepsCoreType: true, Waits: false);
            using (BenchProcess writer = BenchProcess.Own("permafrost", plain)) writer.Ask(new JsonObject { ["cmd"] = "save", ["backbone"] = settings.Backbone, ["folder"] = folder });
            BenchSide[] sides = [.. Kinds().Select(kind => new BenchSide(kind, plain))];
            Once(folder, new BenchSide(BenchSide.Own, plain));  // learns the model's sizes
            for (int round = 0; round < settings.Rounds; round++)
            {
                foreach (BenchSide side in sides.Skip(round % sides.Length).Concat(sides.Take(round % sides.Length)))
                {
                    cancellation.ThrowIfCancellationRequested();
                    Once(folder, side);
                }
                Output.Note($"{what.Name}: round {round + 1} of {settings.Rounds}");
            }
            return Report(sides);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>A process that loads libtorch and ends, beside `python3 -c 'import torch'`; and the program's version, which needs no libtorch.</summary>
    public JsonObject Startup()
    {
        var plain = new BenchEnvironment(KeepsCoreType: true, Waits: false);
        BenchSide[] sides = [.. Kinds().Take(2).Select(kind => new BenchSide(kind, plain))];
        var version = new BenchSide("version", plain);
        (string program, string[] worker) = BenchProcess.OwnCommand("bench", "--worker");
        for (int round = -1; round < settings.Rounds; round++)
        {
            cancellation.ThrowIfCancellationRequested();
            foreach (BenchSide side in sides)
                side.Seconds.Add(side.Kind == BenchSide.Own ? BenchProcess.Time(program, worker, plain, """{"cmd":"hello"}""" + "\n") : BenchProcess.Time(BenchProcess.Python, ["-c", "import torch"], plain));
            version.Seconds.Add(BenchProcess.Time(program, BenchProcess.OwnCommand("--version").Arguments, plain));
            if (round < 0) foreach (BenchSide side in sides.Append(version)) side.Seconds.Clear();  // fills the page cache
        }
        JsonObject result = Report(sides);
        if (result["speed_ratio_hf"] is { } ratio) result["speed_ratio_tuned"] = ratio.DeepClone();  // both import torch
        result["version_seconds"] = BenchSide.Rounded(version.Median);
        return result;
    }

    /// <summary>What a call of an operator costs.</summary>
    public JsonObject Door()
    {
        using BenchProcess own = BenchProcess.Own("permafrost", new BenchEnvironment(KeepsCoreType: true, Waits: false));
        return new JsonObject { ["case"] = what.Name, ["nanoseconds_per_call"] = Math.Round((double)own.Ask(new JsonObject { ["cmd"] = "door" })["nanoseconds"]!, 0) };
    }

    private static IEnumerable<string> Kinds() => BenchProcess.HasPeer ? [BenchSide.Own, .. BenchSide.Compositions] : [BenchSide.Own];

    // With OPENBLAS_CORETYPE as it is set and without: the process of the better one goes on, so that its peak memory is of this case alone.
    private (BenchSide, BenchProcess) Better(string kind, bool waits)
    {
        (BenchSide Side, BenchProcess Process) best = Begin(kind, new BenchEnvironment(KeepsCoreType: true, waits));
        if (!BenchEnvironment.CoreTypeIsSet) return best;
        (BenchSide Side, BenchProcess Process) other;
        try
        {
            other = Begin(kind, best.Side.Environment with { KeepsCoreType = false });
        }
        catch
        {
            best.Process.Dispose();
            throw;
        }
        foreach ((BenchSide side, _) in new[] { best, other }) calibration.Add(new JsonObject { ["name"] = side.Name, ["best_seconds"] = BenchSide.Rounded(side.Seconds.Min()) });
        if (other.Side.Seconds.Min() < best.Side.Seconds.Min()) (best, other) = (other, best);
        other.Process.Dispose();
        return best;
    }

    private (BenchSide Side, BenchProcess Process) Begin(string kind, BenchEnvironment environment)
    {
        cancellation.ThrowIfCancellationRequested();
        var side = new BenchSide(kind, environment);
        Output.Note($"{what.Name}: setting up {side.Name}");
        long? before = GpuMemory.Used(settings.Device);
        BenchProcess process = side.Start();
        try
        {
            SetUp(side, process, null);
            process.Ask(new JsonObject { ["cmd"] = "run", ["steps"] = 1 });  // the first step allocates and packs
            Steps(side, process, 1);
            if (side.Seconds[0] < 1) Steps(side, process, 1);
            if (side.Seconds.Min() < TurnSeconds / 5) Steps(side, process, (int)Math.Clamp(TurnSeconds / 2 / side.Seconds.Min(), 1, MostSteps));  // two would say nothing
            if (before is { } used) side.PeakBytes.Add(GpuMemory.Used(settings.Device)!.Value - used);
            return (side, process);
        }
        catch
        {
            process.Dispose();
            throw;
        }
    }

    private void SetUp(BenchSide side, BenchProcess process, string? folder)
    {
        var command = new JsonObject
        {
            ["cmd"] = "setup",
            ["case"] = side.Kind == BenchSide.Ceiling ? "products" : what.StepKind,
            ["threads"] = BenchSettings.Threads,
            ["device"] = settings.Device,
        };
        if (folder is not null) command["folder"] = folder;
        if (what.Computes) (command["batch"], command["tokens"]) = (what.Batch, what.Tokens);
        if (side.Kind == BenchSide.Own)
        {
            command["backbone"] = settings.Backbone;
            command["frozen_dtype"] = what.Kind == "fpt-step-float32" ? "float32" : "auto";
        }
        else
        {
            foreach ((string size, JsonNode? value) in model) command[size] = value!.DeepClone();
            command["composition"] = side.Kind.StartsWith("tuned", StringComparison.Ordinal) ? "tuned" : "hf";
            if (side.Kind == BenchSide.Ceiling) (command["dtype"], command["passes"]) = (productType, new JsonArray([.. what.Passes.Select(pass => (JsonNode)pass)]));
        }
        side.Facts = process.Ask(command);
        if (side.Kind != BenchSide.Own) return;
        model = side.Facts["model"]!.AsObject();
        productType = (string)side.Facts["frozen_dtype"]!;
    }

    private static void Steps(BenchSide side, BenchProcess process, int count)
    {
        foreach (JsonNode? seconds in process.Ask(new JsonObject { ["cmd"] = "run", ["steps"] = count })["seconds"]!.AsArray()) side.Seconds.Add((double)seconds!);
        // Waiting threads of a plain OpenMP or OpenBLAS spin on for some milliseconds, which the next one's turn must not pay for.
        Thread.Sleep(50);
    }

    private void Once(string folder, BenchSide side)
    {
        long? before = GpuMemory.Used(settings.Device);
        using BenchProcess process = side.Start();
        SetUp(side, process, folder);
        Steps(side, process, 1);
        side.PeakBytes.Add(before is { } used ? GpuMemory.Used(settings.Device)!.Value - used : Peak(process));
    }

    private static long Peak(BenchProcess process) => (long)process.Ask(new JsonObject { ["cmd"] = "memory" })["peak_bytes"]!;

    private JsonObject Report(IReadOnlyList<BenchSide> sides)
    {
        BenchSide own = sides[0];
        var result = new JsonObject { ["case"] = what.Name, ["backbone"] = settings.Backbone, ["device"] = settings.Device, ["seconds"] = BenchSide.Rounded(own.Median) };
        if (own.PeakBytes.Count > 0) result["peak_bytes"] = own.Memory;
        foreach (BenchSide peer in sides.Skip(1).Where(side => side.Kind != BenchSide.Ceiling))
        {
            result[$"speed_ratio_{peer.Kind}"] = BenchSide.Rounded(peer.Median / own.Median);
            if (peer.PeakBytes.Count > 0 && BenchSide.Compositions.Contains(peer.Kind)) result[peer.Kind == "hf" ? "memory_ratio" : $"memory_ratio_{peer.Kind}"] = BenchSide.Rounded((double)own.Memory / peer.Memory);
        }
        if (what.Computes) Rates(result, own, sides.FirstOrDefault(side => side.Kind == BenchSide.Ceiling));
        result["rounds"] = settings.Rounds;
        result["sides"] = new JsonArray([.. sides.Select(side => side.ToJson())]);
        if (calibration.Count > 0) result["calibration"] = calibration.DeepClone();
        return result;
    }

    private void Rates(JsonObject result, BenchSide own, BenchSide? ceiling)
    {
        var shape = new StepShape(what.Batch, what.Tokens, (int)model["layers"]!, (int)model["width"]!, (int)model["inner"]!);
        StepFlops flops = StepFlops.Of(shape, StepShortcuts.Of(shape), what.Passes.Count);
        result["nominal_gflop"] = BenchSide.Rounded(flops.Nominal / 1e9);
        result["executed_gflop"] = BenchSide.Rounded(flops.Executed / 1e9);
        double rate = flops.Executed / own.Median / 1e9;
        result["gflops"] = BenchSide.Rounded(rate);
        if (ceiling is null) return;
        double most = (double)ceiling.Facts["flops"]! / ceiling.Median / 1e9;
        result["ceiling_gflops"] = BenchSide.Rounded(most);
        result["ceiling_dtype"] = productType;
        result["ceiling_fraction"] = BenchSide.Rounded(rate / most);
    }
}
