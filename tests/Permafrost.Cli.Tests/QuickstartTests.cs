using System.Text.Json.Nodes;

namespace Permafrost.Cli.Tests;

/// <summary>`quickstart`, with a hundredth of its steps.</summary>
public class QuickstartTests
{
    [Fact]
    public void Pretrains_freezes_and_compares()
    {
        using var scratch = new Scratch();
        CliResult result = Cli.Run("quickstart", "--scale", "0.005", "--output-dir", scratch["first"], "--json").Succeeded();
        JsonArray runs = result.Json["runs"]!.AsArray();
        Assert.Equal(["bit-xor", "bit-xor", "listops", "listops"], runs.Select(run => (string?)run!["task"]));
        Assert.Equal(["pretrained", "random", "pretrained", "random"], runs.Select(run => (string?)run!["init"]));
        Assert.All(runs, run => Assert.True((bool)run!["frozen_unchanged"]! && (long)run["metrics"]!["test"]!["count"]! > 0));
        // The body that was pretrained is the one that was used.
        Assert.Equal((string?)runs[0]!["backbone_sha256"], (string?)runs[2]!["backbone_sha256"]);
        Assert.NotEqual((string?)runs[0]!["backbone_sha256"], (string?)runs[1]!["backbone_sha256"]);

        string predict = Directory.GetDirectories(scratch["first"], "bit-xor-*")[0];
        Assert.Matches("^0\t[01]{5}\t", Cli.Run(new CliSettings { Input = "0110110001\n" }, "predict", predict, "--input", "-").Succeeded().Output);
        Cli.Run("quickstart", "--scale", "0.005", "--output-dir", scratch["first"]).Failed(2, "--output-dir", scratch["first"]);
    }

    [Fact]
    public void An_impossible_scale_is_refused()
    {
        foreach (string scale in new[] { "0", "-1", "1000", "much" }) InProcess.Run("quickstart", "--scale", scale).Refused(2, "--scale");
    }
}
