using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Spectre.Console;

namespace Permafrost.Cli.Bench;

/// <summary>Results for people, one table for each kind of case, and as CSV.</summary>
internal static class BenchReport
{
    private static readonly (string Key, string Title)[] Ratios =
        [("speed_ratio_hf", "hf"), ("speed_ratio_tuned", "tuned"), ("speed_ratio_hf_passive", "hf*"), ("speed_ratio_tuned_passive", "tuned*")];

    public static void Print(IReadOnlyList<JsonObject> cases)
    {
        if (cases[0]["nanoseconds_per_call"] is { } door)
        {
            Output.Line($"door: {door} ns a call (one addition of two numbers, from C#)");
            return;
        }
        (string, string)[] ratios = [.. Ratios.Where(ratio => cases.Any(one => one[ratio.Key] is not null))];
        bool memory = cases.Any(one => one["peak_bytes"] is not null), ceiling = cases.Any(one => one["ceiling_fraction"] is not null);
        Table table = Output.Table(["case", "time", .. ratios.Select(ratio => $"x {ratio.Item2}"), .. memory ? new[] { "memory", "of hf's", "of tuned's" } : [], .. ceiling ? new[] { "ceiling" } : []]);
        table.Columns[0].NoWrap();
        foreach (JsonObject one in cases)
        {
            var cells = new List<string> { $"{one["case"]}", Seconds((double)one["seconds"]!) };
            cells.AddRange(ratios.Select(ratio => Number(one[ratio.Item1])));
            if (memory) cells.AddRange([one["peak_bytes"] is { } bytes ? Output.Bytes((long)bytes) : "-", Number(one["memory_ratio"]), Number(one["memory_ratio_tuned"])]);
            if (ceiling) cells.Add(Number(one["ceiling_fraction"]));
            table.AddRow([.. cells.Select(Markup.Escape)]);
        }
        Output.Write(table);
        if (cases[0]["version_seconds"] is { } version) Output.Line($"with libtorch loaded, beside `python3 -c 'import torch'`; `permafrost --version`, which does not need it: {Seconds((double)version)}");
    }

    /// <summary>How to read the tables.</summary>
    public static void Legend(IReadOnlyList<JsonObject> cases)
    {
        if (cases.All(one => one["seconds"] is null)) return;
        if (cases.All(one => one["speed_ratio_hf"] is null))
        {
            Output.Line("no peer: bench/peer/peer.py and a Python with PyTorch are needed (Debian: python3-torch)");
            return;
        }
        Output.Line("time: ours, median of one interleaved run. x hf, x tuned: how many times as fast as PyTorch composed as Hugging Face's GPT2Model and as a careful user's,");
        Output.Line("in PyTorch's own default environment; *: with OMP_WAIT_POLICY=passive and OPENBLAS_THREAD_TIMEOUT=4, which we set for ourselves.");
        Output.Line("memory: our peak, and as a share of theirs. ceiling: our rate, counting what we compute, as a share of the rate of the step's products alone.");
        if (cases.Any(one => one["calibration"] is not null)) Output.Line("OPENBLAS_CORETYPE is set: each side tried two steps with it and two without, and ran with its better one.");
        foreach (string dtype in new[] { "bfloat16", "float32" })
            if (string.Join(", ", cases.Where(one => (string?)one["ceiling_dtype"] == dtype).Select(one => $"{one["ceiling_gflops"]} ({one["case"]})")) is { Length: > 0 } list) Output.Line($"{dtype} products alone, in GFLOP/s: {list}");
    }

    /// <summary>One line a measure, with the machine.</summary>
    public static string Csv(IReadOnlyList<JsonObject> cases, JsonObject environment)
    {
        var text = new StringBuilder("case,side,measure,value,cpu,cores,gpu,libtorch,blas\n");
        string machine = string.Join(',', new[] { "cpu", "cores", "gpu", "libtorch", "blas" }.Select(fact => Quoted(environment[fact]?.ToString() ?? "")));
        void Add(JsonNode? name, string side, string measure, JsonNode? value) => text.Append(CultureInfo.InvariantCulture, $"{name},{Quoted(side)},{measure},{Quoted(value?.ToString() ?? "")},{machine}\n");
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
                        if (inner is not ("kind" or "name")) Add(one["case"], (measure == "calibration" ? "calibration: " : "") + side["name"], inner, number);
            }
        return text.ToString();
    }

    private static string Quoted(string value) => value.Contains(',', StringComparison.Ordinal) ? $"\"{value}\"" : value;

    private static string Seconds(double value) => value < 0.1 ? (1000 * value).ToString("F2", CultureInfo.InvariantCulture) + " ms" : value.ToString("F3", CultureInfo.InvariantCulture) + " s";

    private static string Number(JsonNode? node) => node is null ? "-" : ((double)node).ToString("F2", CultureInfo.InvariantCulture);
}
