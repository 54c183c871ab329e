using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Models;
using Permafrost.Tokenizers;

namespace Permafrost.Cli.Bench;

/// <summary>Measures our embeddings of texts beside ONNX Runtime's: both as processes of their own that take turns, with the same texts and the same tokenizer.</summary>
internal sealed class EmbedBenchmark(BenchCase what, BenchSettings settings, BenchFolders folders, CancellationToken cancellation)
{
    private const string Body = "all-MiniLM-L6-v2";
    private const int Texts = 1024;
    private const double TurnSeconds = 1;
    private const int MostSteps = 500;

    // The mean of so many tokens as texts have, rounded to bfloat16, differs from float32's by no more; another model or another pooling differs by far more.
    private const double LeastCosine = 0.999;

    public JsonObject Compute()
    {
        if (settings.Device != "cpu") throw new UsageException($"--device {settings.Device}: embeddings are measured on the CPU, where the peer computes");
        string model = settings.Against is null ? folders.OnnxModel() : "";
        string body = BackboneSource.Resolve(Body).Folder ?? throw new PermafrostException($"{Body} is no folder");
        string texts = folders.File($"texts-{what.Batch}-{what.Tokens}.txt");
        File.WriteAllLines(texts, EmbedCorpus.Make(TokenizerFiles.Load(body), what.Tokens, Texts));
        var setup = new JsonObject
        {
            ["cmd"] = "setup",
            ["case"] = "embed",
            ["threads"] = BenchSettings.Threads,
            ["folder"] = body,
            ["model"] = model,
            ["texts"] = texts,
            ["batch"] = what.Batch,
        };
        BenchSide[] sides = [new(BenchSide.Own), settings.Against is { } other ? new(BenchSide.Other, other) : new(BenchSide.Onnx)];
        double cosine = Agreement(sides, setup);
        var running = new List<(BenchSide Side, BenchProcess Process)>();
        try
        {
            foreach (BenchSide side in sides) running.Add((side, Begin(side, setup)));
            int steps = (int)Math.Clamp(TurnSeconds / sides.Max(side => side.Seconds.Min()), 1, MostSteps);
            foreach (BenchSide side in sides) side.Forget();
            for (int round = 0; round < settings.Rounds; round++)
            {
                foreach ((BenchSide side, BenchProcess process) in round % 2 == 0 ? running : Enumerable.Reverse(running))
                {
                    cancellation.ThrowIfCancellationRequested();
                    Turn(side, process, steps);
                }
                Output.Note($"{what.Name}: round {round + 1} of {settings.Rounds}");
            }
            foreach ((BenchSide side, BenchProcess process) in running) side.PeakBytes.Add((long)process.Ask(new JsonObject { ["cmd"] = "memory" })["peak_bytes"]!);
        }
        finally
        {
            foreach ((_, BenchProcess process) in running) process.Dispose();
        }
        return Report(sides[0], sides[1], cosine);
    }

    // In processes of their own, so that the measured ones hold nothing of it.
    private double Agreement(BenchSide[] sides, JsonObject setup)
    {
        Output.Note($"{what.Name}: do both sides compute the same?");
        string[] files = [.. sides.Select(side => folders.File($"embeddings-{side.Kind}.bin"))];
        foreach ((BenchSide side, string file) in sides.Zip(files))
        {
            cancellation.ThrowIfCancellationRequested();
            using BenchProcess process = side.Start();
            process.Ask(setup);
            process.Ask(new JsonObject { ["cmd"] = "embeddings", ["file"] = file });
        }
        double cosine = EmbedTexts.LowestCosine(files[0], files[1], Texts);
        return cosine >= LeastCosine ? cosine
            : throw new PermafrostException(FormattableString.Invariant(
                $"{what.Name}: the lowest cosine of both sides' embeddings is {cosine:F5}; a race between different computations says nothing"));
    }

    private BenchProcess Begin(BenchSide side, JsonObject setup)
    {
        Output.Note($"{what.Name}: setting up {side.Name}");
        BenchProcess process = side.Start();
        try
        {
            side.Facts = process.Ask(setup);
            // The first steps allocate, and sizes of batches are new to them.
            for (int i = 0; i < 3; i++) Turn(side, process, 1);
            if (side.Seconds.Min() < TurnSeconds / 5) Turn(side, process, (int)Math.Clamp(TurnSeconds / 2 / side.Seconds.Min(), 1, MostSteps));
            return process;
        }
        catch
        {
            process.Dispose();
            throw;
        }
    }

    private static void Turn(BenchSide side, BenchProcess process, int steps)
    {
        side.AddTurn(process.Ask(new JsonObject { ["cmd"] = "run", ["steps"] = steps })["seconds"]!.AsArray().Select(seconds => (double)seconds!));
        // Idle threads spin on for some milliseconds, which must not slow down the next turn.
        Thread.Sleep(50);
    }

    private JsonObject Report(BenchSide own, BenchSide peer, double cosine)
    {
        var result = new JsonObject
        {
            ["case"] = what.Name,
            ["backbone"] = Body,
            ["seconds"] = BenchSide.Rounded(own.Median),
            ["sentences_per_second"] = BenchSide.Rounded(what.Batch / own.Median),
            ["peak_bytes"] = own.Memory,
        };
        BenchReport.AddRatio(result, $"speed_ratio_{peer.Kind}", PairedRatio.Of(peer.Rounds, own.Rounds));
        BenchReport.AddRatio(result, $"time_ratio_{peer.Kind}", PairedRatio.Of(own.Rounds, peer.Rounds));
        result[$"memory_ratio_{peer.Kind}"] = BenchSide.Rounded((double)own.Memory / peer.Memory);
        result["lowest_cosine"] = Math.Round(cosine, 6);
        result["rounds"] = settings.Rounds;
        result["sides"] = new JsonArray(own.ToJson(), peer.ToJson());
        return result;
    }
}
