using System.Text.Json.Nodes;
using Permafrost.Cli.Bench;

namespace Permafrost.Cli.Tests.Bench;

/// <summary>The benchmarks work, on a body small enough to prove only that.</summary>
public class BenchTests
{
    private static readonly string[] Sides = ["own", "bf16", "float32", "bf16_passive", "float32_passive", "products_libtorch", "products_libtorch_passive", "products_kernels"];

    [Theory]
    [InlineData("fpt-step B4 T10", "fpt-step B4 T10")]
    [InlineData("fpt-step B4", "fpt-step B4 T64")]
    [InlineData("tiny", "tiny B16 T10")]
    [InlineData("load forward T32 B2 door", "load, forward B2 T32, door")]
    [InlineData("fpt-step-t5 B2 T16 forward-vit B1", "fpt-step-t5 B2 T16, forward-vit B1 T196")]
    [InlineData("fpt-step-longformer", "fpt-step-longformer B16 T64, fpt-step-longformer B1 T4096")]
    [InlineData("longformer-length", "longformer-length")]
    [InlineData("predict load predict", "predict B1 T64, predict B64 T64, load")]
    public void Cases_are_named_by_kind_and_size(string words, string expected)
    {
        Assert.Equal(expected, string.Join(", ", BenchCase.Parse([words], null, null).Select(one => one.Name)));
        Assert.Equal(expected, string.Join(", ", BenchCase.Parse(words.Split(' '), null, null).Select(one => one.Name)));
    }

    [Fact]
    public void Without_a_name_it_is_all_of_them()
    {
        Assert.Equal(BenchCase.All.Where(one => one.Kind != ExchangeBenchmark.Kind), BenchCase.Parse([], null, null));
        Assert.Equal(["exchange"], BenchCase.Parse(["exchange"], null, null).Select(one => one.Name));
        Assert.Equal(["fpt-step B3 T7"], BenchCase.Parse(["fpt-step"], 3, 7).Select(one => one.Name));
    }

    [Theory]
    [InlineData("ftp-step", "did you mean fpt-step")]
    [InlineData("B4", "'B4' does not exist")]
    [InlineData("fpt-step B0", "fpt-step B0 T64")]
    [InlineData("fpt-step T2000", "1 to 1024")]
    [InlineData("fpt-step-vit T197", "1 to 196")]
    [InlineData("fpt-step --backbone t5-tiny", "fpt-step-t5, forward-t5 measure")]
    [InlineData("fpt-step --backbone lstm", "no case measures")]
    [InlineData("fpt-step --rounds 0", "--rounds")]
    [InlineData("fpt-step --backbone gpt3", "gpt2-tiny")]
    [InlineData("fpt-step --against nowhere.dll", "nowhere.dll")]
    [InlineData("exchange", "mpirun -n 2")]
    [InlineData("mixer-length --lengths 4", "--lengths")]
    [InlineData("mixer-length --sizes huge", "huge")]
    public void What_cannot_be_measured_is_refused(string words, string mention) => InProcess.Run(["bench", .. words.Split(' ')]).Refused(2, mention);

    [Fact]
    public void The_worker_answers_a_line_for_a_line()
    {
        string[] questions =
        [
            """{"cmd":"run"}""",
            """{"cmd":"setup","case":"fpt-step","backbone":"gpt2-tiny","batch":2,"tokens":5,"threads":1,"frozen_dtype":"float32"}""",
            """{"cmd":"run","steps":3}""",
            """{"cmd":"setup","case":"full-step","backbone":"gpt2-tiny","batch":2,"tokens":5,"threads":1}""",
            """{"cmd":"setup","case":"predict","backbone":"gpt2-tiny","batch":2,"tokens":5,"threads":1}""",
            """{"cmd":"run"}""",
            """{"cmd":"setup","case":"nothing"}""",
            """{"cmd":"memory"}""",
            """{"cmd":"door"}""",
            """{"cmd":"quit"}""",
        ];
        CliResult result = Cli.Run(new CliSettings { Input = string.Join('\n', questions) + "\n" }, "bench", "--worker").Succeeded();
        JsonNode[] answers = [.. result.Lines.Select(line => JsonNode.Parse(line)!)];
        Assert.Equal(questions.Length, answers.Length);
        Assert.Equal("run before setup", (string?)answers[0]["error"]);
        Assert.Equal(2, (int)answers[1]["model"]!["layers"]!);
        Assert.Equal("float32", (string?)answers[1]["frozen_dtype"]);
        Assert.Equal(3, answers[2]["seconds"]!.AsArray().Count);
        Assert.InRange((double)answers[2]["loss"]!, 0.01, 10);
        Assert.True((long)answers[3]["trained"]! > (long)answers[1]["trained"]!);
        Assert.InRange((double)answers[5]["loss"]!, 0, 1);  // a probability
        Assert.Contains("nothing", (string?)answers[6]["error"], StringComparison.Ordinal);
        Assert.True((long)answers[7]["peak_bytes"]! > 0);
        Assert.True((double)answers[8]["nanoseconds"]! > 0);
        Assert.True((double)answers[8]["segment_nanoseconds"]! > (double)answers[8]["nanoseconds"]!);
    }

    [Fact]
    public void The_peers_worker_answers_alike()
    {
        const string Passes = "\"passes\":[\"forward\",\"input\",\"weight\"]";
        const string Sizes = "\"layers\":2,\"width\":32,\"heads\":2,\"inner\":64,\"positions\":16,\"batch\":2,\"tokens\":5,\"threads\":1," + Passes;
        string Setup(string name, string type) => $$"""{"cmd":"setup","case":"{{name}}","dtype":"{{type}}",{{Sizes}}}""";
        const string Run = """{"cmd":"run","steps":2}""";
        string[] questions =
        [
            Run, Setup("fpt-step", "bfloat16"), Run, Setup("full-step", "bfloat16"), Run, Setup("forward", "float32"), Run, Setup("predict", "float32"), Run,
            Setup("products", "bfloat16"), Run, Setup("fpt-step", "float16"), """{"cmd":"memory"}""", """{"cmd":"nothing"}""", """{"cmd":"quit"}""",
        ];
        CliResult result = Cli.Run(new CliSettings { Input = string.Join('\n', questions) + "\n" }, "bench", "--peer-worker").Succeeded();
        JsonNode[] answers = [.. result.Lines.Select(line => JsonNode.Parse(line)!)];
        Assert.Equal(questions.Length, answers.Length);
        Assert.Equal("run before setup", (string?)answers[0]["error"]);
        // Norms 5 * 2 * 32, positions 16 * 32, input 48 * 32 + 32, output 32 * 10 + 10.
        Assert.Equal(320 + 512 + 1568 + 330, (long)answers[1]["trained"]!);
        Assert.Equal((long)answers[3]["parameters"]!, (long)answers[3]["trained"]!);
        foreach (int loss in new[] { 2, 4, 6 }) Assert.InRange((double)answers[loss]["loss"]!, 0.01, 10);
        Assert.InRange((double)answers[8]["loss"]!, 0, 1);  // a probability
        Assert.Equal(2.0 * 10 * 3 * 2 * (4 * 32 * 32 + 2 * 32 * 64), (double)answers[9]["flops"]!);
        Assert.Equal(2, answers[10]["seconds"]!.AsArray().Count);
        Assert.Contains("float16", (string?)answers[11]["error"], StringComparison.Ordinal);
        Assert.True((long)answers[12]["peak_bytes"]! > 0);
        Assert.Contains("nothing", (string?)answers[13]["error"], StringComparison.Ordinal);
    }

    [Fact]
    public void A_run_has_both_peers_and_the_ceiling()
    {
        using var scratch = new Scratch();
        string[] words = ["fpt-step", "B2", "T6", "load", "startup"];
        CliResult result = Cli.Run(["bench", .. words, "--backbone", "gpt2-tiny", "--rounds", "1", "--json", "--csv", scratch["bench.csv"]]).Succeeded();
        JsonArray cases = result.Json["cases"]!.AsArray();
        Assert.Equal(["fpt-step B2 T6", "load", "startup"], cases.Select(one => (string?)one!["case"]));

        JsonNode step = cases[0]!;
        string[] numbers =
        [
            "seconds", "speed_ratio_bf16", "speed_ratio_float32", "speed_ratio_bf16_passive", "speed_ratio_float32_passive", "memory_ratio_bf16", "memory_ratio_float32",
            "logits_difference_bf16", "logits_difference_float32", "ceiling_gflops", "ceiling_fraction", "nominal_gflop", "executed_gflop",
        ];
        foreach (string number in numbers) Assert.True((double)step[number]! > 0, number);
        // Without kernels there is no rate of theirs.
        bool kernels = (string?)step["sides"]![0]!["kernels"] != "none";
        Assert.Equal(kernels ? Sides : Sides[..^1], step["sides"]!.AsArray().Select(side => (string?)side!["kind"]));
        // Its numbers agree with each other.
        Assert.Equal((double)step["executed_gflop"]! / (double)step["seconds"]! / (double)step["ceiling_gflops"]!, (double)step["ceiling_fraction"]!, 0.01);
        string[] ceilings = ["products_libtorch_gflops", "products_libtorch_passive_gflops", "products_kernels_gflops"];
        double[] rates = [.. ceilings.Where(rate => step[rate] is not null).Select(rate => (double)step[rate]!)];
        Assert.Equal(rates.Max(), (double)step["ceiling_gflops"]!);
        Assert.True((double)cases[1]!["speed_ratio_bf16"]! > 0);
        Assert.True((double)cases[1]!["memory_ratio_bf16"]! > 0);
        Assert.True((double)cases[2]!["version_seconds"]! > 0);

        string[] lines = File.ReadAllLines(scratch["bench.csv"]);
        Assert.StartsWith("case,side,measure,value,cpu", lines[0], StringComparison.Ordinal);
        Assert.Contains(lines, line => line.StartsWith("fpt-step B2 T6,,speed_ratio_bf16,", StringComparison.Ordinal));
        Assert.Contains(lines, line => line.StartsWith("fpt-step B2 T6,\"plain TorchSharp, bf16 (passive waiting)\",median_seconds,", StringComparison.Ordinal));
    }

    [Fact]
    public void Another_familys_step_has_its_own_peer()
    {
        CliResult result = Cli.Run("bench", "fpt-step-t5", "B2", "T6", "--backbone", "t5-tiny", "--rounds", "1", "--json").Succeeded();
        JsonNode step = Assert.Single(result.Json["cases"]!.AsArray())!;
        Assert.Equal("t5-tiny", (string?)step["backbone"]);
        Assert.InRange((double)step["logits_difference_float32"]!, 0, 1e-4);
        Assert.InRange((double)step["logits_difference_bf16"]!, 0, 0.05);
        // 2 layers of 128 with 512 inner numbers, 12 tokens, forward and backward, and attention's 12 * 6 pairs.
        Assert.Equal(2 * (2 * 12 * 2 * (4 * 128 * 128 + 2 * 128 * 512) + 3 * 72 * 4 * 128) / 1e9, (double)step["executed_gflop"]!, 1e-4);
        Assert.True((double)step["speed_ratio_bf16"]! > 0);
    }

    [Fact]
    public void Growth_with_the_length_is_fitted()
    {
        double[] lengths = [512, 1024, 2048];
        Assert.Equal(1, LengthBenchmark.Power(lengths, [3, 6, 12]), 1e-9);
        Assert.Equal(2, LengthBenchmark.Power(lengths, [5, 20, 80]), 1e-9);
        Assert.Equal(0, LengthBenchmark.Power(lengths, [7, 7, 7]), 1e-9);

        using var scratch = new Scratch();
        Directory.CreateDirectory(scratch["body"]);
        File.WriteAllText(scratch["body/config.json"], """
            {"model_type": "longformer", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "attention_window": 8,
             "max_position_embeddings": 66, "vocab_size": 20, "pad_token_id": 1}
            """);
        using var folders = new BenchFolders();
        var benchmark = new LengthBenchmark(new BenchCase("longformer-length"), new BenchSettings(2, "gpt2", "cpu", null), folders, CancellationToken.None);
        JsonObject result = benchmark.Measure("small", scratch["body"], [8, 16, 64]);
        JsonNode[] measured = [.. result["lengths"]!.AsArray().Select(one => one!)];
        Assert.Equal([8, 16, 64], measured.Select(one => (int)one["tokens"]!));
        foreach (JsonNode one in measured) Assert.True((double)one["median_seconds"]! > 0 && (long)one["peak_bytes"]! > 0);
        // The power of three lengths is that of the last three.
        Assert.Equal((double)result["time_power"]!, (double)result["time_power_all"]!);
        Assert.InRange((double)result["memory_power"]!, -0.5, 0.5);  // next to nothing beside what libtorch takes
    }

    [Fact]
    public void Mixers_are_measured_over_lengths()
    {
        var attention = new JsonObject { ["mixer"] = "attention", ["num_layers"] = 2, ["d_model"] = 4, ["d_ff"] = 16 };
        // A token: four maps of 4 x 4, two of 4 x 16, 10 keys and 10 values of 4 numbers; 10 tokens, 2 layers, two operations each.
        Assert.Equal(2 * 2 * 10 * (4 * 16 + 2 * 64 + 2 * 10 * 4), MixerBenchmark.Flops(attention, 10, training: false));
        Assert.Equal(3 * MixerBenchmark.Flops(attention, 10, training: false), MixerBenchmark.Flops(attention, 10, training: true));
        var dynamic = new JsonObject { ["mixer"] = "dynamic", ["num_layers"] = 1, ["d_model"] = 4, ["d_ff"] = 16, ["kernel_size"] = 3, ["conv_heads"] = 2 };
        Assert.Equal(2 * 10 * (3 * 16 + 4 * 3 * 2 + 4 * 3 + 2 * 64), MixerBenchmark.Flops(dynamic, 10, training: false));

        using var scratch = new Scratch();
        string csv = scratch["mixers.csv"];
        JsonNode growth = Cli.Run("bench", "mixer-length", "--sizes", "mini", "--lengths", "32", "8", "--rounds", "1", "--json", "--csv", csv).Succeeded().Json["cases"]![0]!;
        JsonArray points = growth["points"]!.AsArray(), slopes = growth["slopes"]!.AsArray();
        Assert.Equal((16, 8), (points.Count, slopes.Count));
        Assert.Equal(["mini lightweight forward T8", "mini lightweight forward T32", "mini lightweight training T8"], points.Take(3).Select(one => (string?)one!["name"]));
        Assert.All(points, one => Assert.True((double)one!["tokens_per_second"]! > 0 && (double)one["gflop"]! > 0 && (long)one["peak_bytes"]! > 0));
        Assert.Equal("mini attention training", (string?)slopes[^1]!["name"]);
        Assert.Contains(File.ReadAllLines(csv), line => line.StartsWith("mixer-length,mini dynamic training T32,tokens_per_second,", StringComparison.Ordinal));
    }

    [Fact]
    public void Another_build_takes_turns_with_this_one()
    {
        string other = Path.Combine(AppContext.BaseDirectory, "Permafrost.Cli.dll");  // itself
        CliResult result = Cli.Run("bench", "tiny", "B2", "T6", "door", "--against", other, "--rounds", "6", "--json").Succeeded();
        JsonNode tiny = result.Json["cases"]![0]!, door = result.Json["cases"]![1]!;
        Assert.Equal(["own", "against"], tiny["sides"]!.AsArray().Select(side => (string?)side!["kind"]));
        Assert.Equal("gpt2-tiny", (string?)tiny["backbone"]);
        foreach (string ratio in new[] { "speed_ratio_against", "time_ratio_against" })
        {
            Assert.InRange((double)tiny[ratio]!, 0.01, 100);
            Assert.InRange((double)tiny[ratio]!, (double)tiny[ratio + "_low"]!, (double)tiny[ratio + "_high"]!);
        }
        Assert.InRange((double)tiny["memory_ratio_against"]!, 0.7, 1.4);
        Assert.True((double)door["nanoseconds_per_segment_against"]! > 0);
    }
}
