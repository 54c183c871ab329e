using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Spectre.Console;

namespace Permafrost.Cli.Bench;

/// <summary>Results as tables, one for each kind of case, and as CSV.</summary>
internal static class BenchReport
{
    private static readonly (string Key, string Title)[] Ratios =
        [("bf16", "bf16"), ("float32", "float32"), ("bf16_passive", "bf16*"), ("float32_passive", "float32*"),
            ("onnx", "ONNX Runtime"), ("torchsharp", "TorchSharp alone"), ("tokenizers_dotnet", "Tokenizers.DotNet"), ("against", "the other build")];

    public static void Print(IReadOnlyList<JsonObject> cases)
    {
        if (cases[0]["nanoseconds_per_add"] is not null)
        {
            Door(cases[0]);
            return;
        }
        if (cases[0]["lengths"] is JsonArray lengths)
        {
            Growth(cases[0], lengths);
            return;
        }
        if (cases[0]["points"] is JsonArray points)
        {
            Mixers(cases[0], points);
            return;
        }
        (string Key, string Title)[] speeds = [.. Ratios.Where(ratio => cases.Any(one => one[$"speed_ratio_{ratio.Key}"] is not null))];
        (string Key, string Title)[] memories = [.. Ratios.Where(ratio => cases.Any(one => one[$"memory_ratio_{ratio.Key}"] is not null))];
        bool memory = cases.Any(one => one["peak_bytes"] is not null), ceiling = cases.Any(one => one["ceiling_fraction"] is not null);
        bool rate = cases.Any(one => one["megabytes_per_second"] is not null);
        var columns = new List<string> { "case", "time" };
        if (rate) columns.Add("MB/s a core");
        columns.AddRange(speeds.Select(ratio => $"x {ratio.Title}"));
        if (memory) columns.Add("memory");
        columns.AddRange(memories.Select(ratio => $"of {ratio.Title}"));
        if (ceiling) columns.Add("ceiling");
        Table table = Output.Table([.. columns]);
        table.Columns[0].NoWrap();
        foreach (JsonObject one in cases)
        {
            var cells = new List<string> { $"{one["case"]}", Seconds((double)one["seconds"]!) };
            if (rate) cells.Add(Number(one["megabytes_per_second"]));
            cells.AddRange(speeds.Select(ratio => WithInterval(one, $"speed_ratio_{ratio.Key}")));
            if (memory) cells.Add(one["peak_bytes"] is { } bytes ? Output.Bytes((long)bytes) : "-");
            cells.AddRange(memories.Select(ratio => Number(one[$"memory_ratio_{ratio.Key}"])));
            if (ceiling) cells.Add(Number(one["ceiling_fraction"]));
            table.AddRow([.. cells.Select(Markup.Escape)]);
        }
        Output.Write(table);
        foreach (JsonObject one in cases)
        {
            if (one["sentences_per_second"] is { } sentences)
                Output.Line($"{one["case"]}: {sentences} sentences a second; lowest cosine with the peer's embeddings {one["lowest_cosine"]}");
            if (one["steps_per_second"] is { } steps) Output.Line($"{one["case"]} is {one["backbone"]}: {steps} steps a second");
            if (one["version_seconds"] is { } version) Output.Line($"with libtorch loaded; `permafrost --version`, which does not need it: {Seconds((double)version)}");
        }
    }

    private static void Growth(JsonObject growth, JsonArray lengths)
    {
        Table table = Output.Table($"{growth["case"]}", "time", "memory");
        foreach (JsonNode? one in lengths)
            table.AddRow([.. new[] { $"{one!["name"]}", Seconds((double)one["median_seconds"]!), Output.Bytes((long)one["peak_bytes"]!) }.Select(Markup.Escape)]);
        Output.Write(table);
        string powers = $"time grows as the length to the power of {Number(growth["time_power"])}, memory {Number(growth["memory_power"])}";
        Output.Line($"{growth["backbone"]}: {powers} (from the last three lengths; from all: {Number(growth["time_power_all"])}, {Number(growth["memory_power_all"])})");
    }

    private static void Mixers(JsonObject growth, JsonArray points)
    {
        if (growth["processes"] is { } processes)
        {
            Table sums = Output.Table($"exchange, {processes} processes", "time", "GB/s of gradients");
            foreach (JsonNode? one in points) sums.AddRow($"{one!["name"]}", Seconds((double)one["median_seconds"]!), Number(one["gigabytes_per_second"]));
            Output.Write(sums);
            return;
        }
        Table table = Output.Table("mixer-length", "time", "tokens/s", "GFLOP", "memory");
        foreach (JsonNode? one in points)
        {
            string rate = ((double)one!["tokens_per_second"]!).ToString("N0", CultureInfo.InvariantCulture);
            string[] cells = [$"{one["name"]}", Seconds((double)one["median_seconds"]!), rate, Number(one["gflop"]), Output.Bytes((long)one["peak_bytes"]!)];
            table.AddRow([.. cells.Select(Markup.Escape)]);
        }
        Output.Write(table);
        foreach (JsonNode? one in growth["slopes"]!.AsArray())
        {
            string powers = $"time grows as the length to the power of {Number(one!["time_power"])}, memory {Number(one["memory_power"])}";
            Output.Line($"{one["name"]}: {powers} (from the last three lengths; time from all: {Number(one["time_power_all"])})");
        }
    }

    private static void Door(JsonObject door)
    {
        foreach ((string suffix, string who) in new[] { ("", ""), ("_against", ", the other build") })
        {
            if (door["nanoseconds_per_add" + suffix] is { } add) Output.Line($"door{who}: {add} ns a call (one addition of two numbers, from C#)");
            if (door["nanoseconds_per_segment" + suffix] is { } segment) Output.Line($"door{who}: {segment} ns a segment with next to nothing in it, forward and backward");
        }
    }

    /// <summary>Writes a ratio into a result, with its interval where there is one.</summary>
    public static void AddRatio(JsonObject result, string name, PairedRatio ratio)
    {
        result[name] = BenchSide.Rounded(ratio.Median);
        if (ratio.Interval is not { } interval) return;
        result[name + "_low"] = BenchSide.Rounded(interval.Low);
        result[name + "_high"] = BenchSide.Rounded(interval.High);
    }

    /// <summary>How to read the tables.</summary>
    public static void Legend(IReadOnlyList<JsonObject> cases)
    {
        if (cases.All(one => one["seconds"] is null)) return;
        Output.Line("time: ours, median of one interleaved run. x: how many times as fast we are, median of the rounds' ratios, in brackets where");
        Output.Line("it lies with 95 % confidence (six rounds or more).");
        if (cases.All(one => one["speed_ratio_bf16"] is null && one["peak_bytes"] is null) || cases.Any(one => one["speed_ratio_against"] is not null)) return;
        Output.Line("bf16, float32: the same model in plain TorchSharp, in the environment as it is; *: with OMP_WAIT_POLICY=passive, which we set for ourselves.");
        Output.Line("Before anything was timed, both sides gave the same logits.");
        Output.Line("memory: our peak, and as a share of theirs. ceiling: our rate, counting what we compute, as a share of the rate of the step's products alone.");
        foreach (string dtype in new[] { "bfloat16", "float32" })
        {
            string list = string.Join(", ", cases.Where(one => (string?)one["ceiling_dtype"] == dtype).Select(one => $"{one["ceiling_gflops"]} ({one["case"]})"));
            if (list.Length > 0) Output.Line($"{dtype} products alone, in GFLOP/s: {list}");
        }
    }

    /// <summary>One line a measure, with the machine.</summary>
    public static string Csv(IReadOnlyList<JsonObject> cases, JsonObject environment)
    {
        var text = new StringBuilder("case,side,measure,value,cpu,cores,gpu,libtorch,torchsharp,kernels\n");
        string[] facts = ["cpu", "cores", "gpu", "libtorch", "torchsharp", "kernels"];
        string machine = string.Join(',', facts.Select(fact => Quoted(environment[fact]?.ToString() ?? "")));
        void Add(JsonNode? name, string side, string measure, JsonNode? value) =>
            text.Append(CultureInfo.InvariantCulture, $"{name},{Quoted(side)},{measure},{Quoted(value?.ToString() ?? "")},{machine}\n");
        foreach (JsonObject one in cases)
            foreach ((string measure, JsonNode? value) in one)
            {
                if (measure == "case") continue;
                if (value is not JsonArray sides)
                {
                    Add(one["case"], "", measure, value);
                    continue;
                }
                foreach (JsonNode? side in sides)
                    foreach ((string inner, JsonNode? number) in side!.AsObject())
                        if (inner is not ("kind" or "name")) Add(one["case"], $"{side["name"]}", inner, number);
            }
        return text.ToString();
    }

    private static string Quoted(string value) => value.Contains(',', StringComparison.Ordinal) ? $"\"{value}\"" : value;

    private static string Seconds(double value) =>
        value < 0.1 ? (1000 * value).ToString("F2", CultureInfo.InvariantCulture) + " ms" : value.ToString("F3", CultureInfo.InvariantCulture) + " s";

    private static string WithInterval(JsonObject one, string name) =>
        one[name + "_low"] is { } low ? $"{Number(one[name])} ({Number(low)}-{Number(one[name + "_high"])})" : Number(one[name]);

    private static string Number(JsonNode? node) => node is null ? "-" : ((double)node).ToString("F2", CultureInfo.InvariantCulture);
}
