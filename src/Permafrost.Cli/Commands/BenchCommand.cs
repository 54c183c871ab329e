using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Bench;
using Permafrost.Cli.Bench.Peer;
using Permafrost.Cli.Terminal;
using Permafrost.Models;
using Permafrost.Runs;

namespace Permafrost.Cli.Commands;

internal static class BenchCommand
{
    public static Command Create()
    {
        var command = new Command("bench", "measure speed and memory as ratios against plain TorchSharp in one run, and the machine's own ceiling");
        var names = new Argument<string[]>("CASE")
        {
            Description = "fpt-step and forward (also with -bert, -t5, -bart, -vit, -longformer, -qwen2), load, ...; another word lists all; with a size: fpt-step B4 T10",
        };
        var batch = new Option<int?>("--batch") { Description = "examples at a time, for cases named without" };
        var tokens = new Option<int?>("--tokens") { Description = "tokens an example, for cases named without" };
        var rounds = new Option<int>("--rounds") { Description = "how often each side takes its turn", DefaultValueFactory = _ => 9 };
        var backbone = new Option<string>("--backbone") { Description = "a preset, with random weights, for the cases of its family", DefaultValueFactory = _ => "gpt2" };
        var device = new Option<string>("--device") { Description = "cpu, cuda or cuda:N; on a GPU memory is the GPU's", DefaultValueFactory = _ => "cpu" };
        var against = new Option<string?>("--against") { Description = "another build's Permafrost.Cli.dll, to be measured against in place of the peers", HelpName = "FILE" };
        var csv = new Option<string?>("--csv") { Description = "write everything that was measured to this file too, with the hardware", HelpName = "FILE" };
        var lengths = new Option<int[]>("--lengths") { Description = "tokens of a sequence, several, for mixer-length: default 64 to 4096", AllowMultipleArgumentsPerToken = true };
        var sizes = new Option<string[]>("--sizes") { Description = "mini, base or both, for mixer-length: 4 layers of 256, 12 of 768", AllowMultipleArgumentsPerToken = true };
        var worker = new Option<bool>("--worker") { Hidden = true };
        var peer = new Option<bool>("--peer-worker") { Hidden = true };
        Option<bool> json = CommonOptions.Json();
        command.Add(names);
        foreach (Option option in new Option[] { batch, tokens, rounds, backbone, device, lengths, sizes, against, csv, worker, peer, json }) command.Add(option);
        command.SetAction((parsed, cancellation) =>
        {
            if (parsed.GetValue(worker)) return Task.FromResult(Serve(BenchWorker.Serve));
            if (parsed.GetValue(peer)) return Task.FromResult(Serve(PeerWorker.Serve));
            IReadOnlyList<BenchCase> chosen = BenchCase.Parse(parsed.GetValue(names) ?? [], parsed.GetValue(batch), parsed.GetValue(tokens));
            var settings = new BenchSettings(parsed.GetValue(rounds), parsed.GetRequiredValue(backbone), parsed.GetRequiredValue(device), parsed.GetValue(against))
            {
                Lengths = parsed.GetValue(lengths) ?? [],
                Sizes = parsed.GetValue(sizes) ?? [],
            };
            return Task.FromResult(Run(chosen, settings, parsed.GetValue(csv), parsed.GetValue(json), cancellation));
        });
        return command;
    }

    private static int Serve(Action worker)
    {
        worker();
        return 0;
    }

    private static int Run(IReadOnlyList<BenchCase> chosen, BenchSettings settings, string? csv, bool json, CancellationToken cancellation)
    {
        if (settings.Rounds < 1) throw new UsageException("--rounds must be at least 1");
        CheckBackbone(chosen, settings.Backbone);
        // A worker is started in whatever folder, and a path that is none would only say that a process ended.
        if (settings.Against is { } other)
        {
            if (!File.Exists(other)) throw new UsageException($"--against '{other}' does not exist; give the path of a Permafrost.Cli.dll");
            settings = settings with { Against = Path.GetFullPath(other) };
        }
        if (chosen.Any(one => one.Kind == ExchangeBenchmark.Kind) && !Processes.Join().IsFirst)
        {
            ExchangeBenchmark.Measure(Processes.Group, settings.Rounds);
            return 0;
        }
        var results = new List<JsonObject>();
        using var folders = new BenchFolders();
        foreach (IGrouping<string, BenchCase> group in chosen.GroupBy(one => one.Kind))
        {
            JsonObject[] measured = [.. group.Select(one => Measure(one, settings, folders, cancellation))];
            results.AddRange(measured);
            if (!json) BenchReport.Print(measured);
        }
        JsonObject environment = EnvironmentInfo.Collect();
        if (GpuMemory.Name(settings.Device) is { } gpu) environment["gpu"] = gpu;
        if (csv is not null) Formats.AtomicFile.WriteText(csv, BenchReport.Csv(results, environment));
        if (json) Output.Json(new JsonObject { ["cases"] = new JsonArray([.. results]), ["environment"] = environment });
        else BenchReport.Legend(results);
        return 0;
    }

    private static void CheckBackbone(IReadOnlyList<BenchCase> chosen, string name)
    {
        Preset? known = ModelRegistry.Presets.FirstOrDefault(preset => preset.Name == name);
        if (known is null) throw new UsageException($"--backbone '{name}' is no preset; there are {string.Join(", ", ModelRegistry.Presets.Select(preset => preset.Name))}");
        string family = known.Config.ModelType;
        if (name == "gpt2" || chosen.Any(one => one.Family == family)) return;
        string[] measuring = [.. BenchCase.All.Where(one => one.Family == family).Select(one => one.Kind).Distinct()];
        string cases = measuring.Length == 0 ? "no case measures" : $"{string.Join(", ", measuring)} measure; name one of them";
        throw new UsageException($"--backbone {name} is a {family}, which {cases}");
    }

    private static JsonObject Measure(BenchCase what, BenchSettings settings, BenchFolders folders, CancellationToken cancellation)
    {
        var benchmark = new CaseBenchmark(what, settings, folders, cancellation);
        return what.Kind switch
        {
            "load" => benchmark.Load(),
            "startup" => benchmark.Startup(),
            "door" => benchmark.Door(),
            "embed" or "embed-mixed" => new EmbedBenchmark(what, settings, folders, cancellation).Compute(),
            "wordpiece" or "bpe" or "unigram" => TokenizerBenchmark.Measure(what.Kind, folders, settings.Rounds, cancellation),
            "longformer-length" => new LengthBenchmark(what, settings, folders, cancellation).Measure(),
            ExchangeBenchmark.Kind => ExchangeBenchmark.Measure(Processes.Group, settings.Rounds),
            "mixer-length" => new MixerBenchmark(settings, folders, cancellation).Measure(),
            _ => benchmark.Compute(),
        };
    }
}
