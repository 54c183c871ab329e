using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Permafrost.Cli.Bench;
using Permafrost.Cli.Terminal;
using Permafrost.Training;
using Spectre.Console;

namespace Permafrost.Cli.Commands;

internal static class BenchCommand
{
    public static Command Create()
    {
        var command = new Command("bench", "measure speed and memory as ratios against PyTorch in one run, and the machine's own ceiling");
        var name = new Argument<string>("NAME") { Description = "fpt-step, door, or all", DefaultValueFactory = _ => "all" };
        name.AcceptOnlyFromAmong("all", StepBenchmark.Name, "door");
        var batch = new Option<int>("--batch") { Description = "examples a step", DefaultValueFactory = _ => 16 };
        var tokens = new Option<int>("--tokens") { Description = "tokens an example", DefaultValueFactory = _ => 64 };
        var rounds = new Option<int>("--rounds") { Description = "how often each side takes its turn", DefaultValueFactory = _ => 7 };
        var csv = new Option<string?>("--csv") { Description = "write the results to this file too, with the hardware", HelpName = "FILE" };
        var worker = new Option<bool>("--worker") { Hidden = true };
        Option<bool> json = CommonOptions.Json();
        command.Add(name);
        foreach (Option option in new Option[] { batch, tokens, rounds, csv, worker, json }) command.Add(option);
        command.SetAction((parsed, cancellation) => Task.FromResult(parsed.GetValue(worker) ? Serve()
            : Run(parsed.GetRequiredValue(name), parsed.GetValue(batch), parsed.GetValue(tokens), parsed.GetValue(rounds), parsed.GetValue(csv), parsed.GetValue(json), cancellation)));
        return command;
    }

    private static int Serve()
    {
        BenchWorker.Serve();
        return 0;
    }

    private static int Run(string name, int batch, int tokens, int rounds, string? csv, bool json, CancellationToken cancellation)
    {
        if (batch < 1 || tokens is < 1 or > 1024 || rounds < 1) throw new UsageException("--batch and --rounds must be at least 1, --tokens from 1 to 1024");
        var cases = new JsonArray();
        if (name is "all" or "door") cases.Add(Door());
        if (name is "all" or StepBenchmark.Name) cases.Add(StepBenchmark.Run(batch, tokens, rounds, cancellation));
        var result = new JsonObject { ["cases"] = cases, ["environment"] = EnvironmentInfo.Collect() };
        if (csv is not null) Formats.AtomicFile.WriteText(csv, Csv(result));
        if (json) Output.Json(result);
        else foreach (JsonNode? node in cases) Print(node!.AsObject());
        return 0;
    }

    private static JsonObject Door()
    {
        using BenchProcess own = BenchProcess.Own("permafrost", keepCoreType: true);
        return new JsonObject { ["case"] = "door", ["nanoseconds_per_call"] = Math.Round((double)own.Ask(new JsonObject { ["cmd"] = "door" })["nanoseconds"]!, 0) };
    }

    private static void Print(JsonObject result)
    {
        if (result["nanoseconds_per_call"] is { } door)
        {
            Output.Line($"door: {door} ns a call (one addition of two numbers, from C#)");
            return;
        }
        Table table = Output.Table($"{result["case"]}", "median s", "best s", "peak memory");
        foreach (JsonNode? side in result["sides"]!.AsArray())
            table.AddRow(Markup.Escape($"{side!["name"]}"), Number(side["median_seconds"], 3), Number(side["best_seconds"], 3), Output.Bytes((long)side["peak_bytes"]!));
        Output.Write(table);
        foreach (string kind in new[] { "hf", "tuned" })
            if (result[$"speed_ratio_{kind}"] is { } ratio) Output.Line($"speed against PyTorch composed as {(kind == "hf" ? "Hugging Face's" : "a careful user's")}, at its better BLAS setting: {Number(ratio, 2)}x");
        if (result["memory_ratio"] is { } memory) Output.Line($"peak memory against it: {Number(memory, 2)}x");
        if (result["speed_ratio_hf"] is null) Output.Line("no peer: bench/peer/peer.py and a Python with PyTorch are needed (Debian: python3-torch)");
        Output.Line($"this step: {Number(result["gflops"], 0)} GFLOP/s of products with weights; the products alone: {Number(result["ceiling_gflops_float32"], 0)} in float32, {Number(result["ceiling_gflops_bfloat16"], 0)} in bfloat16");
    }

    private static string Number(JsonNode? node, int digits) => node is null ? "-" : ((double)node).ToString("F" + digits, CultureInfo.InvariantCulture);

    private static string Csv(JsonObject result)
    {
        JsonNode environment = result["environment"]!;
        var text = new StringBuilder("case,measure,value,cpu,cores,libtorch,blas\n");
        string machine = $"\"{environment["cpu"]}\",{environment["cores"]},{environment["libtorch"]},\"{environment["blas"]}\"";
        foreach (JsonNode? node in result["cases"]!.AsArray())
        {
            foreach ((string measure, JsonNode? value) in node!.AsObject())
            {
                if (measure == "case") continue;
                if (value is not JsonArray sides) { text.Append(CultureInfo.InvariantCulture, $"{node["case"]},{measure},{value},{machine}\n"); continue; }
                foreach (JsonNode? side in sides)
                    foreach (string inner in new[] { "median_seconds", "best_seconds", "peak_bytes" }) text.Append(CultureInfo.InvariantCulture, $"{node["case"]},\"{side!["name"]}: {inner}\",{side[inner]},{machine}\n");
            }
        }
        return text.ToString();
    }
}
