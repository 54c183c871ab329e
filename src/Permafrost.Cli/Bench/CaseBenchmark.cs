using System.Globalization;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;

namespace Permafrost.Cli.Bench;

/// <summary>The settings that all cases of a benchmark share.</summary>
/// <param name="Rounds">The number of turns that each side takes.</param>
/// <param name="Backbone">The name of a preset.</param>
/// <param name="Device">The name of the device to compute on.</param>
/// <param name="Against">Another build's dll or executable, to be measured in place of the peers; null for the peers.</param>
internal sealed record BenchSettings(int Rounds, string Backbone, string Device, string? Against)
{
    /// <summary>Of a case that goes over lengths: which, in tokens; empty for its own.</summary>
    public IReadOnlyList<int> Lengths { get; init; } = [];

    /// <summary>Of a case that goes over sizes: which; empty for its own.</summary>
    public IReadOnlyList<string> Sizes { get; init; } = [];

    /// <summary>The threads of every side.</summary>
    public static int Threads
    {
        get
        {
            string? given = Environment.GetEnvironmentVariable("OMP_NUM_THREADS");
            bool isNumber = int.TryParse(given, NumberStyles.None, CultureInfo.InvariantCulture, out int threads);
            return isNumber && threads > 0 ? threads : Environment.ProcessorCount;
        }
    }
}

/// <summary>
/// Measures one case: ours, the same model in plain TorchSharp in bfloat16 and float32, and the case's matrix products alone (its ceiling), each a process of its
/// own, taking turns in one run; or ours and another build's.
/// </summary>
internal sealed class CaseBenchmark(BenchCase what, BenchSettings settings, BenchFolders folders, CancellationToken cancellation)
{
    // The length of a turn: long enough that most of the short steps in it do not come right after another side's.
    private const double TurnSeconds = 0.5;
    private const int MostSteps = 50;

    // Two ways to compute logits in bfloat16 differ by a percent or so of the logits; with a wrong scale, mask or weight it is tens of percent.
    private const double BFloat16Difference = 0.05;
    private const double Float32Difference = 1e-4;

    private readonly JsonObject differences = [];
    private JsonObject model = [];
    private string frozenType = "bfloat16";

    private string Backbone => what.BackboneFor(settings.Backbone);

    private bool Float32Only => what.Kind == "fpt-step-float32";

    // A bfloat16 peer beside our float32 would compare two different things.
    private string[] Peers => Float32Only ? [BenchSide.Float32] : [BenchSide.Bf16, BenchSide.Float32];

    private IEnumerable<BenchSide> Whole =>
        settings.Against is { } other ? [new(BenchSide.Own), new(BenchSide.Other, other)] : [new(BenchSide.Own), .. Peers.Select(peer => new BenchSide(peer))];

    /// <summary>A computation on examples: a step, forward, predict.</summary>
    public JsonObject Compute()
    {
        var sides = new List<(BenchSide Side, BenchProcess Process)>();
        try
        {
            if (settings.Against is null) CheckAgreement();
            foreach (BenchSide side in Whole) sides.Add(Begin(side));
            if (settings.Against is null)
            {
                foreach (string kind in Peers) sides.Add(Begin(new BenchSide(kind + BenchSide.Passive)));
                // Spinning threads start the next product sooner, but take time from others where the cores are busy.
                foreach (string waits in new[] { "", BenchSide.Passive }) sides.Add(Begin(new BenchSide(BenchSide.TorchProducts + waits)));
                if (settings.Device == "cpu" && (string?)sides[0].Side.Facts["kernels"] != "none") sides.Add(Begin(new BenchSide(BenchSide.KernelProducts)));
                CheckTrained([.. sides.Select(side => side.Side)]);
            }
            // The same number of steps for every side, so that a fast side is not measured by its first step alone.
            int steps = (int)Math.Clamp(TurnSeconds / sides.Where(side => !side.Side.IsProducts).Max(side => side.Side.Seconds.Min()), 1, MostSteps);
            foreach ((BenchSide side, _) in sides) side.Forget();
            for (int round = 0; round < settings.Rounds; round++)
            {
                // Another order in each round, so that no side always runs after the same other.
                foreach ((BenchSide side, BenchProcess process) in Turned(sides, round))
                {
                    cancellation.ThrowIfCancellationRequested();
                    Turn(side, process, steps);
                }
                Output.Note($"{what.Name}: round {round + 1} of {settings.Rounds}");
            }
            foreach ((BenchSide side, BenchProcess process) in sides) if (side.PeakBytes.Count == 0 && !side.IsProducts) side.PeakBytes.Add(Peak(process));
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
        Output.Note($"{what.Name}: writing a {Backbone} with random weights");
        string folder = folders.Of(Backbone);
        BenchSide[] sides = [.. Whole];
        Once(folder, new BenchSide(BenchSide.Own));  // learns the model's sizes
        for (int round = 0; round < settings.Rounds; round++)
        {
            foreach (BenchSide side in Turned(sides, round))
            {
                cancellation.ThrowIfCancellationRequested();
                Once(folder, side);
            }
            Output.Note($"{what.Name}: round {round + 1} of {settings.Rounds}");
        }
        return Report(sides);
    }

    /// <summary>A process that loads libtorch and ends, beside one that loads it through TorchSharp alone; and the program's version, which needs no libtorch.</summary>
    public JsonObject Startup()
    {
        BenchSide[] sides = [new(BenchSide.Own), settings.Against is { } other ? new(BenchSide.Other, other) : new("torchsharp")];
        var version = new BenchSide("version");
        for (int round = -1; round < settings.Rounds; round++)
        {
            foreach (BenchSide side in Turned(sides, Math.Max(round, 0)))
            {
                cancellation.ThrowIfCancellationRequested();
                side.AddTurn([BenchProcess.Time(BenchProcess.WorkerCommand(side), """{"cmd":"hello"}""" + "\n")]);
            }
            version.AddTurn([BenchProcess.Time(BenchProcess.OwnCommand("--version"))]);
            if (round < 0) foreach (BenchSide side in sides.Append(version)) side.Forget();  // fills the page cache
        }
        JsonObject result = Report(sides);
        result["version_seconds"] = BenchSide.Rounded(version.Median);
        return result;
    }

    /// <summary>What a call of an operator costs, and what a segment does.</summary>
    public JsonObject Door()
    {
        var result = new JsonObject { ["case"] = what.Name };
        var sides = new List<BenchSide> { new(BenchSide.Own) };
        if (settings.Against is { } other) sides.Add(new BenchSide(BenchSide.Other, other));
        foreach (BenchSide side in sides)
        {
            using BenchProcess process = side.Start();
            JsonObject answer = process.Ask(new JsonObject { ["cmd"] = "door" });
            string suffix = side.Kind == BenchSide.Own ? "" : $"_{side.Kind}";
            result["nanoseconds_per_add" + suffix] = Math.Round((double)answer["nanoseconds"]!, 0);
            if (answer["segment_nanoseconds"] is { } segment) result["nanoseconds_per_segment" + suffix] = Math.Round((double)segment, 0);
        }
        return result;
    }

    private static IEnumerable<T> Turned<T>(IReadOnlyCollection<T> sides, int round) => sides.Skip(round % sides.Count).Concat(sides.Take(round % sides.Count));

    // Before anything is timed: from the same weights and the same input, without dropout, do both sides compute the same logits? In processes of their own, so
    // that the measured ones hold nothing of it.
    private void CheckAgreement()
    {
        cancellation.ThrowIfCancellationRequested();
        Output.Note($"{what.Name}: do both sides compute the same?");
        string folder = folders.Of(Backbone), file = folders.File("answer.safetensors");
        foreach (string kind in Peers)
        {
            // Each peer beside ours of its own type: in float32 both must be the same model, not only about the same.
            bool exact = kind == BenchSide.Float32;
            var own = new BenchSide(BenchSide.Own);
            using (BenchProcess process = own.Start())
            {
                SetUp(own, process, folder, exact);
                process.Ask(new JsonObject { ["cmd"] = "answer", ["file"] = file });
            }
            var peer = new BenchSide(kind);
            using BenchProcess other = peer.Start();
            SetUp(peer, other, folder);
            double difference = (double)other.Ask(new JsonObject { ["cmd"] = "agree", ["file"] = file })["difference"]!;
            double allowed = exact ? Float32Difference : BFloat16Difference;
            if (!(difference <= allowed))
            {
                string numbers = FormattableString.Invariant($"differ from ours by {difference:G3} of their size, {allowed:G3} is allowed");
                throw new PermafrostException($"{what.Name}: the logits of {peer.Name} {numbers}; a race between different computations says nothing");
            }
            differences[kind] = BenchSide.Rounded(difference);
        }
    }

    private static void CheckTrained(IReadOnlyList<BenchSide> sides)
    {
        long[] counts = [.. sides.Where(side => side.Facts["trained"] is not null).Select(side => (long)side.Facts["trained"]!).Distinct()];
        if (counts.Length > 1) throw new PermafrostException($"the sides train different numbers of parameters: {string.Join(", ", counts)}");
    }

    private (BenchSide, BenchProcess) Begin(BenchSide side)
    {
        cancellation.ThrowIfCancellationRequested();
        Output.Note($"{what.Name}: setting up {side.Name}");
        long? before = GpuMemory.Used(settings.Device);
        BenchProcess process = side.Start();
        try
        {
            SetUp(side, process, null);
            process.Ask(new JsonObject { ["cmd"] = "run", ["steps"] = 1 });  // the first step allocates and packs
            Turn(side, process, 1);
            if (side.Seconds[0] < 1) Turn(side, process, 1);
            if (side.Seconds.Min() < TurnSeconds / 5) Turn(side, process, (int)Math.Clamp(TurnSeconds / 2 / side.Seconds.Min(), 1, MostSteps));  // two steps are too few to measure
            if (before is { } used) side.PeakBytes.Add(GpuMemory.Used(settings.Device)!.Value - used);
            return (side, process);
        }
        catch
        {
            process.Dispose();
            throw;
        }
    }

    private void SetUp(BenchSide side, BenchProcess process, string? folder, bool float32 = false)
    {
        var command = new JsonObject
        {
            ["cmd"] = "setup",
            ["case"] = side.IsProducts ? "products" : what.StepKind,
            ["threads"] = BenchSettings.Threads,
            ["device"] = settings.Device,
        };
        if (folder is not null) command["folder"] = folder;
        if (what.Computes) (command["batch"], command["tokens"], command["input_dim"]) = (what.Batch, what.Tokens, what.Inputs);
        if (side.IsProducts) command["passes"] = new JsonArray([.. what.Passes.Select(pass => (JsonNode)pass)]);
        if (side.IsOurs)
        {
            command["backbone"] = Backbone;
            command["frozen_dtype"] = Float32Only || float32 ? "float32" : "auto";
        }
        else
        {
            command["dtype"] = side.Model switch
            {
                BenchSide.TorchProducts => frozenType,
                BenchSide.Bf16 => "bfloat16",
                _ => "float32",
            };
        }
        if (side.IsProducts || !side.IsOurs) foreach ((string size, JsonNode? value) in model) command[size] = value!.DeepClone();
        side.Facts = process.Ask(command);
        if (side.Kind != BenchSide.Own) return;
        model = side.Facts["model"]!.AsObject();
        frozenType = (string)side.Facts["frozen_dtype"]!;
    }

    private static void Turn(BenchSide side, BenchProcess process, int count)
    {
        side.AddTurn(process.Ask(new JsonObject { ["cmd"] = "run", ["steps"] = count })["seconds"]!.AsArray().Select(seconds => (double)seconds!));
        // Idle OpenMP threads spin on for some milliseconds, which must not slow down the next turn.
        Thread.Sleep(50);
    }

    private void Once(string folder, BenchSide side)
    {
        long? before = GpuMemory.Used(settings.Device);
        using BenchProcess process = side.Start();
        SetUp(side, process, folder);
        Turn(side, process, 1);
        side.PeakBytes.Add(before is { } used ? GpuMemory.Used(settings.Device)!.Value - used : Peak(process));
    }

    private static long Peak(BenchProcess process) => (long)process.Ask(new JsonObject { ["cmd"] = "memory" })["peak_bytes"]!;

    private JsonObject Report(IReadOnlyList<BenchSide> sides)
    {
        BenchSide own = sides[0];
        var result = new JsonObject { ["case"] = what.Name, ["backbone"] = Backbone, ["device"] = settings.Device, ["seconds"] = BenchSide.Rounded(own.Median) };
        if (what.Kind == "tiny") result["steps_per_second"] = BenchSide.Rounded(1 / own.Median);
        if (own.PeakBytes.Count > 0) result["peak_bytes"] = own.Memory;
        foreach (BenchSide peer in sides.Where(side => side.Model != BenchSide.Own && !side.IsProducts))
        {
            BenchReport.AddRatio(result, $"speed_ratio_{peer.Kind}", PairedRatio.Of(peer.Rounds, own.Rounds));
            if (peer.Kind == BenchSide.Other) BenchReport.AddRatio(result, $"time_ratio_{peer.Kind}", PairedRatio.Of(own.Rounds, peer.Rounds));
            if (peer.PeakBytes.Count > 0 && !peer.IsPassive) result[$"memory_ratio_{peer.Kind}"] = BenchSide.Rounded((double)own.Memory / peer.Memory);
        }
        foreach ((string peer, JsonNode? difference) in differences) result[$"logits_difference_{peer}"] = difference!.DeepClone();
        if (what.Computes && model.Count > 0) Rates(result, own, [.. sides.Where(side => side.IsProducts)]);
        result["rounds"] = settings.Rounds;
        result["sides"] = new JsonArray([.. sides.Select(side => side.ToJson())]);
        return result;
    }

    private void Rates(JsonObject result, BenchSide own, IReadOnlyList<BenchSide> products)
    {
        StepShape shape = StepShape.Parse(model, what.Batch, what.Tokens);
        StepFlops flops = StepFlops.Of(shape, BenchBody.IsCausal(what.Family) ? StepShortcuts.Of(shape) : StepShortcuts.None(shape), what.Passes.Count);
        result["nominal_gflop"] = BenchSide.Rounded(flops.Nominal / 1e9);
        result["executed_gflop"] = BenchSide.Rounded(flops.Executed / 1e9);
        double rate = flops.Executed / own.Median / 1e9, most = 0;
        result["gflops"] = BenchSide.Rounded(rate);
        foreach (BenchSide side in products)
        {
            double alone = (double)side.Facts["flops"]! / side.Median / 1e9;
            result[$"{side.Kind}_gflops"] = BenchSide.Rounded(alone);
            if (alone <= most) continue;
            most = alone;
            (result["ceiling_gflops"], result["ceiling_of"], result["ceiling_dtype"]) = (BenchSide.Rounded(most), side.Kind, frozenType);
        }
        if (most > 0) result["ceiling_fraction"] = BenchSide.Rounded(rate / most);
    }
}
