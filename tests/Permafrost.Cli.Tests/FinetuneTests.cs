using System.Globalization;
using System.Text.Json.Nodes;

namespace Permafrost.Cli.Tests;

/// <summary>What `finetune` leaves behind, and what the verbs that read it make of that.</summary>
public class FinetuneTests(TrainedRun run) : IClassFixture<TrainedRun>
{
    [Fact]
    public void The_run_folder_is_complete()
    {
        string[] names = [.. Scratch.Left(run.Folder).Select(file => Path.GetRelativePath(run.Folder, file)).Order(StringComparer.Ordinal)];
        string[] always = ["adapter/adapter_config.json", "adapter/adapter_model.safetensors", "command.txt", "config.yaml", "env.json", "history.json", "metrics.jsonl", "predictions.jsonl", "report.html", "results.json"];
        Assert.Equal(always, names.Where(name => !name.StartsWith("checkpoint-", StringComparison.Ordinal) && !name.StartsWith("events.", StringComparison.Ordinal)));
        Assert.Contains("checkpoint-30/manifest.json", names);
        Assert.Single(names, name => name.StartsWith("events.out.tfevents.", StringComparison.Ordinal));
        Assert.Equal($"permafrost {string.Join(' ', run.Result.Arguments)}\n", File.ReadAllText(Path.Combine(run.Folder, "command.txt")));
        JsonObject environment = RunFiles.Json(run.Folder, "env.json");
        foreach (string fact in new[] { "permafrost", "dotnet", "libtorch", "cpu", "threads" }) Assert.NotNull(environment[fact]);
    }

    [Fact]
    public void The_results_hold_every_key_of_the_contract()
    {
        JsonObject results = RunFiles.Json(run.Folder, "results.json");
        Assert.Equal("bit-xor", (string?)results["task"]);
        Assert.Equal(1, (int)results["task_version"]!);
        Assert.Equal("gpt2-tiny", (string?)results["backbone"]);
        Assert.Matches("^[0-9a-f]{64}$", (string?)results["backbone_sha256"]);
        Assert.Equal("random", (string?)results["init"]);
        Assert.Equal("fpt", (string?)results["policy"]);
        Assert.Equal(7, (long)results["seed"]!);
        Assert.Equal(30, (long)results["steps"]!);
        Assert.Equal(3e-3, (double)results["learning_rate"]!);
        Assert.True((bool)results["frozen_unchanged"]!);
        foreach (string key in new[] { "seconds", "tokens_per_second", "peak_memory_bytes" }) Assert.True((double)results[key]! > 0, key);

        JsonNode parameters = results["parameters"]!;
        // gpt2-tiny: 1024 positions of 128 and 5 norms of 2x128 train, the input layer 1 -> 128 and the output layer 128 -> 2 with their biases too.
        Assert.Equal((1024 * 128) + (5 * 2 * 128) + (2 * 128) + (2 * 129), (long)parameters["trained"]!);
        Assert.Equal(50257 * 128, (long)parameters["unused"]!);
        Assert.True((long)parameters["total"]! > (long)parameters["trained"]! + (long)parameters["unused"]!);
        Assert.Equal(100.0 * (long)parameters["trained"]! / (long)parameters["total"]!, (double)parameters["trained_percent"]!, 1e-3);
        Assert.Equal(10, (long)parameters["position_rows_used"]!);
        foreach (string split in new[] { "validation", "test" })
        {
            JsonNode metrics = results["metrics"]![split]!;
            Assert.InRange((double)metrics["accuracy"]!, 0.4, 1);
            Assert.InRange((double)metrics["loss"]!, 0, 2);
            Assert.Equal(1000, (long)metrics["count"]!);
        }
        Assert.InRange((double)results["baselines"]!["trivial"]!["majority"]!, 0.4, 0.6);
    }

    [Fact]
    public void The_metrics_follow_the_training()
    {
        JsonObject[] lines = RunFiles.JsonLines(Path.Combine(run.Folder, "metrics.jsonl"));
        Assert.Equal([10, 20, 30], lines.Where(line => line.ContainsKey("train/loss")).Select(line => (int)line["step"]!));
        Assert.Equal([20, 30], lines.Where(line => line.ContainsKey("eval/accuracy")).Select(line => (int)line["step"]!));
        Assert.Equal([30], lines.Where(line => line.ContainsKey("test/accuracy")).Select(line => (int)line["step"]!));
        foreach (JsonObject line in lines.Where(line => line.ContainsKey("train/loss")))
        {
            foreach (string key in new[] { "time", "train/grad_norm", "tokens_per_second", "data_wait" }) Assert.True((double)line[key]! >= 0, key);
            Assert.Equal(3e-3, (double)line["lr"]!);
        }
        JsonNode metrics = RunFiles.Json(run.Folder, "results.json")["metrics"]!;
        Assert.Equal((double)metrics["validation"]!["loss"]!, (double)lines.Last(line => line.ContainsKey("eval/loss"))["eval/loss"]!);
        Assert.Equal((double)metrics["test"]!["accuracy"]!, (double)lines.Last(line => line.ContainsKey("test/accuracy"))["test/accuracy"]!);
    }

    [Fact]
    public void The_predictions_give_the_score_of_the_test_split()
    {
        JsonObject[] lines = RunFiles.JsonLines(Path.Combine(run.Folder, "predictions.jsonl"));
        Assert.Equal(Enumerable.Range(0, 1000), lines.Select(line => (int)line["index"]!));
        int right = lines.Sum(line => line["label"]!.AsArray().Zip(line["target"]!.AsArray()).Count(pair => (int)pair.First! == (int)pair.Second!));
        Assert.Equal(right / 5000.0, (double)RunFiles.Json(run.Folder, "results.json")["metrics"]!["test"]!["accuracy"]!, 1e-12);
        Assert.All(lines, line => Assert.All(line["probabilities"]!.AsArray(), row => Assert.Equal(1, row!.AsArray().Sum(p => (double)p!), 1e-5)));
    }

    [Fact]
    public void The_adapter_says_what_it_belongs_to()
    {
        JsonObject config = RunFiles.Json(run.Folder, "adapter", "adapter_config.json");
        JsonObject results = RunFiles.Json(run.Folder, "results.json");
        foreach (string key in new[] { "task", "task_version", "policy", "backbone", "backbone_sha256", "init" }) Assert.True(JsonNode.DeepEquals(results[key], config[key]), key);
        Assert.Equal("last:5", (string?)config["readout"]);
        Assert.Equal([1, 10, 5, 2], new[] { "vector_size", "sequence_length", "targets", "classes" }.Select(key => (int)config["shape"]![key]!));
    }

    [Fact]
    public void The_saved_configuration_runs_again_to_the_same_bytes()
    {
        using var scratch = new Scratch();
        CliResult again = Cli.Run("finetune", "--config", Path.Combine(run.Folder, "config.yaml"), "--output-dir", scratch["again"], "--json").Succeeded();
        Assert.Equal(RunFiles.Adapter(run.Folder), RunFiles.Adapter(scratch["again"]));
        Assert.Equal(File.ReadAllText(Path.Combine(run.Folder, "predictions.jsonl")), File.ReadAllText(scratch["again", "predictions.jsonl"]));
        JsonObject first = RunFiles.Json(run.Folder, "results.json");
        foreach (string key in new[] { "metrics", "baselines", "parameters", "backbone_sha256" }) Assert.True(JsonNode.DeepEquals(first[key], again.Json[key]), key);
        Assert.Equal(
            File.ReadAllLines(Path.Combine(run.Folder, "config.yaml")).Where(line => !line.StartsWith('#') && !line.TrimStart().StartsWith("output_dir", StringComparison.Ordinal)),
            File.ReadAllLines(scratch["again", "config.yaml"]).Where(line => !line.StartsWith('#') && !line.TrimStart().StartsWith("output_dir", StringComparison.Ordinal)));
    }

    [Fact]
    public void The_weights_of_the_best_validation_are_kept()
    {
        using var scratch = new Scratch();
        JsonObject results = Cli.Run("finetune", "--config", Path.Combine(run.Folder, "config.yaml"), "--load-best-model-at-end", "--eval-steps", "5", "--learning-rate", "0.03", "--no-baselines", "--output-dir", scratch["best"], "--json").Succeeded().Json;
        double[] accuracies = RunFiles.Metric(scratch["best"], "eval/accuracy");
        Assert.True(accuracies.Length > 5);
        Assert.Equal(accuracies.Max(), (double)results["metrics"]!["validation"]!["accuracy"]!);
        Assert.True(JsonNode.DeepEquals(results["metrics"]!["validation"], Cli.Run("evaluate", scratch["best"], "--split", "validation", "--json").Succeeded().Json["metrics"]));
    }

    [Fact]
    public void Another_seed_gives_other_weights()
    {
        using var scratch = new Scratch();
        Cli.Run("finetune", "--config", Path.Combine(run.Folder, "config.yaml"), "--seed", "8", "--no-baselines", "--output-dir", scratch["other"]).Succeeded();
        Assert.NotEqual(RunFiles.Adapter(run.Folder), RunFiles.Adapter(scratch["other"]));
        Assert.Equal((string?)RunFiles.Json(run.Folder, "results.json")["backbone_sha256"], (string?)RunFiles.Json(scratch["other"], "results.json")["backbone_sha256"]);
    }

    [Theory]
    [InlineData("test")]
    [InlineData("validation")]
    public void Evaluate_repeats_the_score(string split)
    {
        JsonNode first = RunFiles.Json(run.Folder, "results.json")["metrics"]![split]!;
        JsonObject again = Cli.Run("evaluate", run.Folder, "--split", split, "--json").Succeeded().Json;
        Assert.Equal(split, (string?)again["split"]);
        Assert.True(JsonNode.DeepEquals(first, again["metrics"]), $"{first} and {again}");
        Assert.Contains(((double)first["accuracy"]!).ToString("F4", CultureInfo.InvariantCulture), Cli.Run("evaluate", run.Folder, "--split", split).Succeeded().Output, StringComparison.Ordinal);
    }

    [Fact]
    public void The_result_is_shown_with_its_baselines()
    {
        string shown = Cli.Run("show", "run", run.Folder).Succeeded().Output;
        Assert.Equal(shown, run.Result.Output);
        foreach (string part in new[] { "validation", "test", "baseline: most frequent class", "parameters", run.Folder }) Assert.Contains(part, shown, StringComparison.Ordinal);
        Assert.True(JsonNode.DeepEquals(RunFiles.Json(run.Folder, "results.json"), Cli.Run("show", "run", run.Folder, "--json").Succeeded().Json));
    }

    [Fact]
    public void Runs_without_predictions_are_compared_and_not_paired()
    {
        using var scratch = new Scratch();
        string copy = Directory.CreateDirectory(scratch["copy"]).FullName;
        foreach (string file in Scratch.Left(run.Folder))
        {
            string target = Path.Combine(copy, Path.GetRelativePath(run.Folder, file));
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(file, target);
        }
        Assert.Contains("1,000 paired examples", InProcess.Run("compare", run.Folder, copy).Succeeded().Output, StringComparison.Ordinal);
        File.Delete(Path.Combine(copy, "predictions.jsonl"));
        Assert.Contains($"{copy} has no predictions.jsonl", InProcess.Run("compare", run.Folder, copy).Succeeded().Output, StringComparison.Ordinal);
        Assert.Contains($"{copy} has no predictions.jsonl", InProcess.Run("compare", copy, run.Folder).Succeeded().Output, StringComparison.Ordinal);
        Assert.Null(InProcess.Run("compare", run.Folder, copy, "--json").Succeeded().Json["test_accuracy_difference"]);
    }

    [Fact]
    public void Plain_lines_show_the_progress_where_no_one_watches()
    {
        string[] lines = run.Result.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Contains(lines, line => line.StartsWith("trainable params: ", StringComparison.Ordinal) && line.Contains("|| all params: ", StringComparison.Ordinal));
        Assert.Contains(lines, line => line.StartsWith("step 30/30  loss 0.", StringComparison.Ordinal));
        Assert.DoesNotContain('\x1b', run.Result.Error + run.Result.Output);
    }

    [Fact]
    public void Runs_are_listed_with_their_scores()
    {
        using var scratch = new Scratch();
        JsonArray rows = JsonNode.Parse(Cli.Run("ls", "runs", "--runs-dir", run.Runs, "--json").Succeeded().Output)!.AsArray();
        JsonNode row = Assert.Single(rows)!;
        Assert.Equal((run.Folder, "bit-xor", "gpt2-tiny", "fpt", "7", "30"), ((string?)row["run"], (string?)row["task"], (string?)row["backbone"], (string?)row["policy"], (string?)row["seed"], (string?)row["steps"]));
        Assert.Contains("bit-xor", Cli.Run("ls", "runs", "--runs-dir", run.Runs).Succeeded().Output, StringComparison.Ordinal);
        Assert.Equal("none yet\n", Cli.Run("ls", "runs", "--runs-dir", scratch["nothing"]).Succeeded().Output);
    }

    [Theory]
    [InlineData]
    [InlineData("--json")]
    public void A_dry_run_writes_nothing(params string[] more)
    {
        using var scratch = new Scratch();
        CliResult result = Cli.Run(new CliSettings { WorkingDirectory = scratch.Path },
            ["finetune", "--task", "bit-xor", "--backbone", "gpt2-tiny", "--init", "random", "--max-steps", "1234", "--policy", "input,output", "--set", "task_options.length=8", "--dry-run", .. more]).Succeeded();
        Assert.Empty(Directory.EnumerateFileSystemEntries(scratch.Path));
        if (more.Length == 0)
        {
            foreach (string part in new[] { "max_steps: 1234", "policy: \"input,output\"", "length: \"8\"", "trainable params: 514 ||" }) Assert.Contains(part, result.Output, StringComparison.Ordinal);
            return;
        }
        Assert.Equal(1234, (long)result.Json["steps"]!);
        Assert.Equal(2 * 128 + 2 * 129, (long)result.Json["parameters"]!["trained"]!);
        Assert.Equal("input,output", (string?)result.Json["options"]!["policy"]);
        Assert.Equal("8", (string?)result.Json["options"]!["task_options"]?["length"]);
    }

    [Fact]
    public void The_default_folder_names_task_backbone_policy_and_seed()
    {
        using var scratch = new Scratch();
        Cli.Run(new CliSettings { WorkingDirectory = scratch.Path }, "finetune", "--task", "bit-xor", "--backbone", "gpt2-tiny", "--init", "random", "--max-steps", "3", "--no-baselines", "--policy", "input,output", "--seed", "5").Succeeded();
        string folder = Assert.Single(Directory.GetDirectories(scratch["runs"]));
        Assert.Matches(@"^bit-xor-gpt2-tiny-input_output-s5-\d{8}-\d{6}$", Path.GetFileName(folder));
        Assert.True(File.Exists(Path.Combine(folder, "results.json")));
    }
}
