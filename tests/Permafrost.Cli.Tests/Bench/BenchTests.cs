using System.Text.Json.Nodes;
using Permafrost.Cli.Bench;

namespace Permafrost.Cli.Tests.Bench;

/// <summary>The benchmarks work, on a body small enough to prove only that.</summary>
public class BenchTests
{
    private static readonly string[] Sides = ["own", "hf", "tuned", "hf_passive", "tuned_passive", "ceiling"];

    [Theory]
    [InlineData("fpt-step B4 T10", "fpt-step B4 T10")]
    [InlineData("fpt-step B4", "fpt-step B4 T64")]
    [InlineData("load forward T32 B2 door", "load, forward B2 T32, door")]
    [InlineData("predict load predict", "predict B1 T64, predict B64 T64, load")]
    public void Cases_are_named_by_kind_and_size(string words, string expected)
    {
        Assert.Equal(expected, string.Join(", ", BenchCase.Parse([words], null, null).Select(one => one.Name)));
        Assert.Equal(expected, string.Join(", ", BenchCase.Parse(words.Split(' '), null, null).Select(one => one.Name)));
    }

    [Fact]
    public void Without_a_name_it_is_all_of_them()
    {
        Assert.Equal(BenchCase.All, BenchCase.Parse([], null, null));
        Assert.Equal(["fpt-step B3 T7"], BenchCase.Parse(["fpt-step"], 3, 7).Select(one => one.Name));
    }

    [Theory]
    [InlineData("ftp-step", "did you mean fpt-step")]
    [InlineData("B4", "'B4' does not exist")]
    [InlineData("fpt-step B0", "fpt-step B0 T64")]
    [InlineData("fpt-step T2000", "1 to 1024")]
    [InlineData("fpt-step --rounds 0", "--rounds")]
    [InlineData("fpt-step --backbone gpt3", "gpt2-tiny")]
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
    }

    [SkippableFact]
    public void A_run_has_both_peers_and_the_ceiling()
    {
        Skip.IfNot(BenchProcess.HasPeer, "needs a Python with PyTorch (Debian: python3-torch)");
        using var scratch = new Scratch();
        var settings = new CliSettings { Environment = new Dictionary<string, string?> { ["OPENBLAS_CORETYPE"] = null } };
        CliResult result = Cli.Run(settings, "bench", "fpt-step", "B2", "T6", "load", "startup", "--backbone", "gpt2-tiny", "--rounds", "1", "--json", "--csv", scratch["bench.csv"]).Succeeded();
        JsonArray cases = result.Json["cases"]!.AsArray();
        Assert.Equal(["fpt-step B2 T6", "load", "startup"], cases.Select(one => (string?)one!["case"]));

        JsonNode step = cases[0]!;
        foreach (string number in new[] { "seconds", "speed_ratio_hf", "speed_ratio_tuned", "speed_ratio_hf_passive", "speed_ratio_tuned_passive", "memory_ratio", "memory_ratio_tuned", "ceiling_gflops", "ceiling_fraction", "nominal_gflop", "executed_gflop" })
            Assert.True((double)step[number]! > 0, number);
        Assert.Equal(Sides, step["sides"]!.AsArray().Select(side => (string?)side!["kind"]));
        // Its numbers agree with each other.
        Assert.Equal((double)step["executed_gflop"]! / (double)step["seconds"]! / (double)step["ceiling_gflops"]!, (double)step["ceiling_fraction"]!, 0.01);
        foreach (JsonNode? one in cases.Skip(1)) Assert.True((double)one!["speed_ratio_hf"]! > 0);
        Assert.True((double)cases[1]!["memory_ratio"]! > 0);

        string[] lines = File.ReadAllLines(scratch["bench.csv"]);
        Assert.StartsWith("case,side,measure,value,cpu", lines[0], StringComparison.Ordinal);
        Assert.Contains(lines, line => line.StartsWith("fpt-step B2 T6,,speed_ratio_hf,", StringComparison.Ordinal));
        Assert.Contains(lines, line => line.StartsWith("fpt-step B2 T6,\"PyTorch, hf (passive waiting)\",median_seconds,", StringComparison.Ordinal));
    }
}
