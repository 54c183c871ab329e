using System.Text.Json.Nodes;

namespace Permafrost.Cli.Tests;

/// <summary>`study` on a small random body: run, run again, in parts, with a failing arm, collected, as a script.</summary>
public sealed class StudyTests : IDisposable
{
    private readonly Scratch scratch = new();

    public void Dispose() => scratch.Dispose();

    private string Study(string arms = "") => scratch.Write("trial.yaml", $$"""
        title: A trial
        question: Does the policy matter?
        reproduces: [trial-table]
        options:
          model: { backbone: gpt2-tiny, init: random, dropout: 0 }
          schedule: { max_steps: 3 }
        arms:
          - { name: fpt, options: { model.policy: fpt } }
          - { name: output, options: { model.policy: output } }
          - { name: vision }{{arms}}
        tasks:
          - task: bit-xor
            options: { data.task_options.length: "3" }
        scales:
          smoke: { seeds: [0, 1], rates: [0.001, 0.003], missing: { vision: no such body is at hand } }
        claims:
          - { text: Norms and positions help, arm: fpt, above: output }
        published:
          - { source: A paper, how: second-hand, percent: { fpt: { bit-xor: 99 } } }
        """.ReplaceLineEndings("\n"));

    [Fact]
    public void A_study_in_two_parts_is_the_same_as_in_one_and_is_not_run_twice()
    {
        string study = Study(), whole = scratch["whole"], parts = scratch["parts"];
        CliResult run = Cli.Run("study", "run", study, "--scale", "smoke", "--output-dir", whole, "--json").Succeeded();
        JsonObject row = run.Json["rows"]![0]!.AsObject();
        Assert.InRange((double)row["scores"]!["fpt"]!["score"]!, 0, 1);
        Assert.Equal("missing", (string?)row["scores"]!["vision"]);
        Assert.Contains("Norms and positions help", (string?)run.Json["verdicts"]![0], StringComparison.Ordinal);
        // Two arms: two rates, and the better one with a second seed.
        string[] runs = Directory.GetDirectories(Path.Combine(whole, "runs"));
        Assert.Equal(6, runs.Length);
        DateTime[] written = [.. runs.Select(folder => File.GetLastWriteTimeUtc(Path.Combine(folder, "metrics.jsonl")))];
        foreach (string part in new[] { "1/2", "2/2" }) Cli.Run("study", "run", study, "--scale", "smoke", "--output-dir", parts, "--index", part).Succeeded();
        Cli.Run("study", "report", study, "--scale", "smoke", "--output-dir", parts).Succeeded();
        string Table(string root) => File.ReadAllText(Path.Combine(root, "trial-smoke", "results.csv"));
        Assert.Equal(Table(whole), Table(parts));
        Assert.Contains("published 99", File.ReadAllText(Path.Combine(whole, "trial-smoke", "results.md")), StringComparison.Ordinal);
        Assert.True(File.Exists(Path.Combine(whole, "trial-smoke", "report.html")));
        CliResult again = Cli.Run("study", "run", study, "--scale", "smoke", "--output-dir", whole, "--json").Succeeded();
        Assert.Equal(run.Json.ToJsonString(), again.Json.ToJsonString());
        Assert.Equal(written, runs.Select(folder => File.GetLastWriteTimeUtc(Path.Combine(folder, "metrics.jsonl"))));
        // Another machine's runs, brought over, are runs like any other.
        Assert.Contains("6 run(s) collected", Cli.Run("study", "collect", whole, "--output-dir", scratch["there"]).Succeeded().Output, StringComparison.Ordinal);
        Cli.Run("study", "report", study, "--scale", "smoke", "--output-dir", scratch["there"]).Succeeded();
        Assert.Equal(Table(whole), Table(scratch["there"]));
    }

    [Fact]
    public async Task Two_processes_in_one_folder_share_the_runs()
    {
        // The third arm is the first under another name: the same runs, in a cell that the other process may take at the same time.
        string study = Study("\n  - { name: again, options: { model.policy: fpt } }"), root = scratch["shared"];
        CliResult[] both = await Task.WhenAll(Enumerable.Range(0, 2).Select(_ => Task.Run(() => Cli.Run("study", "run", study, "--scale", "smoke", "--output-dir", root))));
        Assert.All(both, result => result.Succeeded());
        string[] runs = Directory.GetDirectories(Path.Combine(root, "runs"));
        Assert.Equal(6, runs.Length);
        Assert.All(runs, run => Assert.Single(File.ReadAllLines(Path.Combine(run, "command.txt"))));
        JsonNode scores = Cli.Run("study", "run", study, "--scale", "smoke", "--output-dir", root, "--json").Succeeded().Json["rows"]![0]!["scores"]!;
        Assert.Equal(scores["fpt"]!.ToJsonString(), scores["again"]!.ToJsonString());
    }

    [Fact]
    public void Several_jobs_come_to_the_results_of_one()
    {
        string study = Study(), one = scratch["one"], two = scratch["two"];
        Cli.Run("study", "run", study, "--scale", "smoke", "--output-dir", one).Succeeded();
        CliResult both = Cli.Run("study", "run", study, "--scale", "smoke", "--output-dir", two, "--jobs", "2").Succeeded();
        Assert.Contains("[2] A trial, smoke", both.Error, StringComparison.Ordinal);
        string Table(string root) => File.ReadAllText(Path.Combine(root, "trial-smoke", "results.csv"));
        Assert.Equal(Table(one), Table(two));
        Assert.Equal(6, Directory.GetDirectories(Path.Combine(two, "runs")).Length);
        Cli.Run("study", "run", study, "--scale", "smoke", "--jobs", "0").Failed(2, "--jobs must be from 1 to 256");
    }

    [Fact]
    public void Before_anything_starts_it_is_said_how_long_it_would_take()
    {
        string study = scratch.Write("long.yaml", File.ReadAllText(Study()).Replace("max_steps: 3", "max_steps: 2000", StringComparison.Ordinal));
        CliResult dry = Cli.Run("study", "run", study, "--scale", "smoke", "--output-dir", scratch["runs"], "--dry-run").Succeeded();
        Assert.Contains("An update and a scored batch were timed here: about ", dry.Error, StringComparison.Ordinal);
        Assert.Contains("of memory; the longest is bit-xor-", dry.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.Combine(scratch["runs"], "runs")));
    }

    /// <summary>The quickest of those that come with the program, and that need no checkpoint.</summary>
    [Theory]
    [InlineData("lu-counts", "trained")]
    [InlineData("tay-speed", "tokens/s")]
    public void A_study_that_comes_with_the_program_runs_at_its_smallest_scale(string name, string beside)
    {
        string root = scratch[name];
        Cli.Run("study", "run", name, "--scale", "smoke", "--output-dir", root, "--json").Succeeded();
        string table = File.ReadAllText(Path.Combine(root, $"{name}-smoke", "results.md"));
        Assert.Contains(beside, table, StringComparison.Ordinal);
        Assert.DoesNotContain("not run", table, StringComparison.Ordinal);
    }

    [Fact]
    public void A_run_that_fails_does_not_stop_the_others_and_is_listed()
    {
        string study = Study("\n  - { name: broken, options: { model.backbone: no-such-preset } }");
        CliResult run = Cli.Run("study", "run", study, "--scale", "smoke", "--output-dir", scratch["runs"], "--json");
        Assert.Equal(1, run.ExitCode);
        JsonNode failure = run.Json["failures"]![0]!;
        Assert.Equal("bit-xor-broken", (string?)failure["cell"]);
        Assert.Contains("no-such-preset", (string?)failure["error"], StringComparison.Ordinal);
        Assert.InRange((double)run.Json["rows"]![0]!["scores"]!["fpt"]!["score"]!, 0, 1);
        Assert.Equal("not run", (string?)run.Json["rows"]![0]!["scores"]!["broken"]);
    }

    [Fact]
    public void Scripts_are_for_clusters_and_wrong_words_are_refused()
    {
        string study = Study();
        string slurm = Cli.Run("study", "script", study, "--scale", "smoke", "--slurm", "--jobs", "2").Succeeded().Output;
        Assert.StartsWith("#!/usr/bin/env bash\n", slurm, StringComparison.Ordinal);
        Assert.Contains("#SBATCH --array=1-2\n", slurm, StringComparison.Ordinal);
        Assert.Contains("--index \"$SLURM_ARRAY_TASK_ID/2\"", slurm, StringComparison.Ordinal);
        string kubernetes = Cli.Run("study", "script", study, "--scale", "smoke", "--kubernetes", "--jobs", "9", "--output-dir", "/runs").Succeeded().Output;
        Assert.Contains("completionMode: Indexed", kubernetes, StringComparison.Ordinal);
        Assert.Contains("completions: 2\n", kubernetes, StringComparison.Ordinal);
        Assert.Contains("name: trial-smoke\n", kubernetes, StringComparison.Ordinal);
        Assert.Contains("\"--output-dir\", \"/runs\"]", kubernetes, StringComparison.Ordinal);
        Cli.Run("study", "script", study, "--scale", "smoke", "--kubernetes").Failed(2, "is not absolute");
        Cli.Run("study", "script", study, "--scale", "smoke").Failed(2, "give either --slurm or --kubernetes");
        Cli.Run("study", "run", study, "--scale", "smoke", "--index", "3/2").Failed(2, "--index '3/2' is not a part of a whole");
        Cli.Run("study", "run", "lu-statistic").Failed(2, "the study 'lu-statistic' does not exist");
        Cli.Run("study", "collect", scratch.Path).Failed(2, "is not a folder of studies' runs");
        JsonArray listed = (JsonArray)JsonNode.Parse(Cli.Run("ls", "studies", "--json").Succeeded().Output)!;
        Assert.Contains(listed, one => (string?)one!["name"] == "lu-statistics" && one["reproduces"]!.AsArray().Any(id => (string?)id == "lu-table-9"));
    }
}
