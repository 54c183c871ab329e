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

        // What was chosen is described as what it is, and compares with the other arm.
        string[] chosen = [.. Directory.GetFiles(scratch["first"], "predictions.jsonl", SearchOption.AllDirectories).Select(file => Path.GetDirectoryName(file)!).Where(folder => Path.GetFileName(folder) != "pretrain").Order(StringComparer.Ordinal)];
        Assert.Equal(4, chosen.Length);
        Assert.All(chosen, folder => Assert.Contains("\nscore_test: true\n", File.ReadAllText(Path.Combine(folder, "config.yaml")), StringComparison.Ordinal));
        Assert.All(chosen, folder => Assert.Single(RunFiles.Metric(folder, "test/accuracy")));
        Assert.Contains("paired examples", InProcess.Run("compare", chosen[0], chosen[1]).Succeeded().Output, StringComparison.Ordinal);
        string other = Directory.GetDirectories(scratch["first"], "bit-xor-*").Except(chosen).First();
        Assert.Contains($"{other} has no predictions.jsonl", InProcess.Run("compare", chosen[0], other).Succeeded().Output, StringComparison.Ordinal);
        if (File.Exists(scratch["first", "report.html"])) Assert.Contains("a demonstration, not a finding", File.ReadAllText(scratch["first", "report.html"]), StringComparison.Ordinal);

        string predict = Directory.GetDirectories(scratch["first"], "bit-xor-*")[0];
        Assert.Matches("^0\t[01]{5}\t", Cli.Run(new CliSettings { Input = "0110110001\n" }, "predict", predict, "--input", "-").Succeeded().Output);
        Cli.Run("quickstart", "--scale", "0.005", "--output-dir", scratch["first"]).Failed(2, "--output-dir", scratch["first"]);
    }

    [Fact]
    public void One_that_was_stopped_goes_on_to_the_same_end()
    {
        using var scratch = new Scratch();
        string[] line = ["quickstart", "--scale", "0.02", "--output-dir", scratch["parts"]];
        // Killed in the first run, stopped in a later one.
        foreach ((int signal, string folder) in new[] { (9, "pretrain"), (Cli.Terminate, "listops-pretrained-lr0.003") })
        {
            using CliProcess process = Cli.Start(new CliSettings(), line);
            process.WaitFor(() => File.Exists(scratch["parts", folder, "metrics.jsonl"]), $"trained in {folder}");
            process.Signal(signal);
            CliResult stopped = process.WaitForExit(CliSettings.Patience);
            if (signal == Cli.Terminate) stopped.Failed(75, $"go on with: permafrost quickstart --output-dir {scratch["parts"]} --seed 0 --scale 0.02");
        }
        Cli.Run("quickstart", "--scale", "0.01", "--output-dir", scratch["parts"]).Refused(2, "another quickstart", "--scale 0.02");
        CliResult parts = Cli.Run([.. line, "--json"]).Succeeded();
        CliResult whole = Cli.Run("quickstart", "--scale", "0.02", "--output-dir", scratch["whole"], "--json").Succeeded();
        static string Scores(CliResult result) => string.Join('\n', result.Json["runs"]!.AsArray().Select(run => $"{run!["learning_rate"]} {run["metrics"]!.ToJsonString()}"));
        Assert.Equal(Scores(whole), Scores(parts));
        Cli.Run("quickstart", "--scale", "0.02", "--output-dir", scratch["parts"] + "/").Refused(2, "has finished");
    }

    [Fact]
    public void An_impossible_scale_is_refused()
    {
        foreach (string scale in new[] { "0", "-1", "1000", "much" }) InProcess.Run("quickstart", "--scale", scale).Refused(2, "--scale");
    }
}
