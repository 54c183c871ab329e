using System.Text.Json.Nodes;
using Permafrost.Kernels;
using Permafrost.Runs;

namespace Permafrost.Cli.Tests;

/// <summary>Folders that cannot be written, runs that are damaged, models that are not known, losses that are no number.</summary>
public class BadRunTests(TrainedRun run) : IClassFixture<TrainedRun>
{
    private static readonly string[] Sound = ["finetune", "--task", "bit-xor", "--backbone", "gpt2-tiny", "--init", "random", "--max-steps", "2", "--no-baselines"];

    [Fact]
    public void A_folder_that_cannot_be_written_is_named_before_anything_is_computed()
    {
        using var scratch = new Scratch();
        string file = scratch.Write("file", "mine");
        foreach (string path in new[] { Path.Combine(file, "run"), file, "/proc/run" }) InProcess.Run([.. Sound, "--output-dir", path]).Refused(1, "--output-dir", path);
        foreach (string path in new[] { Path.Combine(file, "run"), file, file + "/" }) InProcess.Run([.. Sound, "--output-dir", path]).Refused(1, $"{file} is a file, not a folder");
        Assert.Equal("mine", File.ReadAllText(file));
        InProcess.Run("quickstart", "--output-dir", Path.Combine(file, "run")).Refused(1, "--output-dir", file);
    }

    [Fact]
    public void A_finished_run_is_not_overwritten()
    {
        using var scratch = new Scratch();
        string copy = run.Copy(scratch);
        byte[] before = RunFiles.Adapter(copy);
        InProcess.Run([.. Sound, "--output-dir", copy]).Refused(2, "--output-dir", copy);
        InProcess.Run("quickstart", "--output-dir", copy).Refused(2, "--output-dir", copy);
        Assert.Equal(before, RunFiles.Adapter(copy));
        Assert.Equal(Scratch.Files(run.Folder).Length, Scratch.Files(copy).Length);
    }

    [Fact]
    public void A_result_that_cannot_be_written_is_named_with_its_option()
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        string file = scratch.Write("file", "mine");
        string bits = scratch.Write("bits.txt", "0110110001\n");
        string inputs = TensorFile.Write(scratch["in.safetensors"], ("input_ids", Tensors.From([1L, 2], 1, 2)));
        foreach (string path in new[] { Path.Combine(file, "out"), scratch["no", "such", "folder", "out"], "/proc/out", scratch.Path })
        {
            InProcess.Run("predict", run.Folder, "--input", bits, "--output", path).Refused(1, path);
            InProcess.Run("forward", "--backbone", Repository.Fixture("gpt2_a"), "--inputs", inputs, "--outputs", path).Refused(1, path);
        }
        CliResult result = InProcess.Run("predict", run.Folder, "--input", bits, "--output", "/proc/out");
        Assert.DoesNotContain("--output-dir", result.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("space", result.Error, StringComparison.Ordinal);
        Assert.DoesNotContain(".tmp", result.Error, StringComparison.Ordinal);
        Assert.Equal(3, Scratch.Files(scratch.Path).Length);
    }

    [Fact]
    public void A_folder_that_cannot_be_locked_is_told_from_one_in_use()
    {
        using var scratch = new Scratch();
        string copy = run.Copy(scratch);
        using (new RunLock(copy)) InProcess.Run("finetune", "--resume-from-checkpoint", copy).Refused(1, copy, "in use by another process");
        File.Delete(Path.Combine(copy, ".lock"));
        Directory.CreateDirectory(Path.Combine(copy, ".lock"));
        CliResult result = InProcess.Run("finetune", "--resume-from-checkpoint", copy);
        result.Refused(1, copy, "cannot be written");
        Assert.DoesNotContain("in use", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_read_only_file_system_is_named()
    {
        using var scratch = new Scratch();
        run.Copy(scratch);
        var settings = new CliSettings { WorkingDirectory = scratch.Path };
        const string ReadOnly = "mount --bind copy copy && mount -o remount,bind,ro copy";
        Assert.SkipWhen(Cli.Shell(settings, $"unshare -Urm bash -c '{ReadOnly}'").ExitCode != 0, "needs a read-only folder of its own, and may not mount one here (unshare -Urm mount --bind)");
        Cli.Shell(settings, $"unshare -Urm bash -c '{ReadOnly} && permafrost finetune --resume-from-checkpoint copy'").Refused(1, "copy cannot be written", "Read-only file system");
        CliResult report = Cli.Shell(settings, $"unshare -Urm bash -c '{ReadOnly} && permafrost report copy --output copy/page.html'");
        Assert.DoesNotContain("space", report.Error, StringComparison.Ordinal);
        Assert.Equal(1, report.ExitCode);
    }

    [Theory]
    [InlineData("config.yaml", "missing", "no config.yaml")]
    [InlineData("config.yaml", "max_stepz: 3\n", "config.yaml:1:")]
    [InlineData("config.yaml", "", "names no task")]
    [InlineData("adapter/adapter_config.json", "missing", "adapter_config.json")]
    [InlineData("adapter/adapter_config.json", "{", "adapter_config.json")]
    [InlineData("adapter/adapter_config.json", "[]", "adapter_config.json")]
    [InlineData("adapter/adapter_config.json", "{\"adapter_version\": 99}", "update")]
    [InlineData("adapter/adapter_config.json", "{\"adapter_version\": 1}", "adapter_config.json")]
    [InlineData("adapter/adapter_model.safetensors", "missing", "adapter_model.safetensors")]
    [InlineData("adapter/adapter_model.safetensors", "cut", "truncated")]
    [InlineData("adapter/adapter_model.safetensors", "a tensor less", "ln_f.bias")]
    [InlineData("adapter/adapter_model.safetensors", "another size", "output_layer.bias")]
    public void A_damaged_run_is_refused(string name, string damage, string mention)
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        string copy = run.Copy(scratch);
        string path = Path.Combine(copy, name);
        if (damage == "missing") File.Delete(path);
        else if (damage == "cut") TensorFile.Truncate(path, 100);
        else if (damage is "a tensor less" or "another size")
        {
            Dictionary<string, Tensor> adapter = TensorFile.Read(path);
            if (damage == "a tensor less") adapter.Remove("ln_f.bias");
            else adapter["output_layer.bias"] = torch.zeros([3]);
            TensorFile.Write(path, adapter.Select(pair => (pair.Key, pair.Value)));
        }
        else File.WriteAllText(path, damage);
        InProcess.Run("evaluate", copy).Failed(damage.StartsWith("max", StringComparison.Ordinal) ? 2 : 1, mention);
        InProcess.Run("predict", copy, "--input", scratch.Write("bits.txt", "0110110001\n")).Failed(damage.StartsWith("max", StringComparison.Ordinal) ? 2 : 1, mention);
    }

    [Theory]
    [InlineData("shape", "null")]
    [InlineData("shape", "{\"vector_size\": \"one\"}")]
    [InlineData("readout", "\"middle\"")]
    [InlineData("readout", "7")]
    [InlineData("labels", "3")]
    [InlineData("labels", "[\"one\"]")]
    [InlineData("shape", "{\"vector_size\": 1, \"sequence_length\": 10, \"targets\": 0, \"classes\": 2}")]
    [InlineData("shape", "{\"vector_size\": 1, \"sequence_length\": 10, \"targets\": 5, \"classes\": -1}")]
    [InlineData("shape", "{\"vector_size\": 1, \"sequence_length\": 0, \"targets\": 5, \"classes\": 2}")]
    [InlineData("shape", "{\"vector_size\": 0, \"sequence_length\": 10, \"targets\": 5, \"classes\": 2}")]
    [InlineData("shape", "{\"sequence_length\": 10, \"targets\": 5, \"classes\": 2}")]
    [InlineData("backbone_sha256", "7")]
    [InlineData("backbone_sha256", "\"0000\"")]
    public void An_adapter_with_a_changed_description_is_refused(string key, string value)
    {
        using var scratch = new Scratch();
        string copy = run.Copy(scratch);
        JsonObject config = RunFiles.Json(copy, "adapter", "adapter_config.json");
        config[key] = JsonNode.Parse(value);
        File.WriteAllText(Path.Combine(copy, "adapter", "adapter_config.json"), config.ToJsonString());
        CliResult result = InProcess.Run("evaluate", copy);
        result.Refused(1, copy);
        InProcess.Run("predict", copy, "--input", scratch.Write("bits.txt", "0110110001\n")).Refused(1, copy);
    }

    [Fact]
    public void A_run_of_a_larger_machine_is_read()
    {
        using var scratch = new Scratch();
        string copy = run.Copy(scratch);
        string config = Path.Combine(copy, "config.yaml");
        File.WriteAllText(config, File.ReadAllText(config).Replace("threads: 0", "threads: 4000", StringComparison.Ordinal).Replace("warmup_steps: 0", "warmup_steps: 5", StringComparison.Ordinal));
        InProcess.Run("predict", copy, "--input", scratch.Write("bits.txt", "0110110001\n")).Succeeded();
    }

    [Fact]
    public void An_adapter_of_another_body_is_refused()
    {
        using var scratch = new Scratch();
        string copy = run.Copy(scratch);
        File.WriteAllText(Path.Combine(copy, "config.yaml"), File.ReadAllText(Path.Combine(copy, "config.yaml")).Replace("init_seed: 0", "init_seed: 1", StringComparison.Ordinal));
        InProcess.Run("evaluate", copy).Refused(1, copy, "SHA-256");
    }

    [Fact]
    public void What_is_no_run_is_refused()
    {
        using var scratch = new Scratch();
        foreach (string[] verb in new string[][] { ["evaluate"], ["show", "run"], ["predict", "--input", "-"] })
        {
            InProcess.Run([.. verb, scratch["nowhere"]]).Refused(1, scratch["nowhere"], "does not exist");
            InProcess.Run([.. verb, scratch.Path]).Refused(1, scratch.Path, "config.yaml");
            InProcess.Run([.. verb, scratch.Write("file", "")]).Refused(1, scratch["file"], "is a file");
        }
    }

    [Theory]
    [InlineData("{")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("{\"metrics\": 3}")]
    [InlineData("{\"metrics\": []}")]
    public void Damaged_results_are_refused(string content)
    {
        using var scratch = new Scratch();
        string copy = run.Copy(scratch);
        File.WriteAllText(Path.Combine(copy, "results.json"), content);
        InProcess.Run("show", "run", copy).Refused(1, copy);
        InProcess.Run("show", "run", copy, "--json").Refused(1, copy);
        InProcess.Run("compare", run.Folder, copy).Refused(1, copy);
        InProcess.Run("compare", copy, run.Folder, "--json").Refused(1, copy);
    }

    [Theory]
    [InlineData("\"high\"")]
    [InlineData("1e308")]
    [InlineData("1e999")]
    [InlineData("-0.5")]
    [InlineData("[0.5]")]
    [InlineData("null")]
    public void An_accuracy_that_is_no_share_is_called_damaged(string accuracy)
    {
        using var scratch = new Scratch();
        string copy = run.Copy(scratch);
        string file = Path.Combine(copy, "results.json");
        JsonObject results = RunFiles.Json(file);
        results["metrics"]!["test"]!["accuracy"] = "HERE";
        File.WriteAllText(file, results.ToJsonString().Replace("\"HERE\"", accuracy, StringComparison.Ordinal));
        InProcess.Run("show", "run", copy).Refused(1, file, "damaged");
        InProcess.Run("compare", run.Folder, copy).Refused(1, file, "damaged");
        JsonNode row = Assert.Single(JsonNode.Parse(InProcess.Run("ls", "runs", "--runs-dir", scratch.Path, "--json").Succeeded().Output)!.AsArray())!;
        Assert.Equal("damaged", (string?)row["test score"]);
        string said = InProcess.Run("report", copy, "--output", scratch["page.html"]).Succeeded().Output;
        Assert.Contains("metrics.test.accuracy is not a share from 0 to 1", said, StringComparison.Ordinal);
        Assert.DoesNotContain("\u221e", File.ReadAllText(scratch["page.html"]), StringComparison.Ordinal);
    }

    [Fact]
    public void Damaged_predictions_are_named()
    {
        using var scratch = new Scratch();
        string copy = run.Copy(scratch);
        string file = Path.Combine(copy, "predictions.jsonl");
        File.WriteAllText(file, "{\"target\": [1, 0], \"label\": [1]}\n");
        InProcess.Run("compare", run.Folder, copy).Refused(1, file, "damaged");
        File.WriteAllText(file, "{\"target\": [1, 0]}\n");
        InProcess.Run("compare", copy, run.Folder).Refused(1, file, "damaged");
    }

    [Theory]
    [InlineData("{")]
    [InlineData("{\"metrics\": 3}")]
    public void Damaged_results_do_not_hide_the_other_runs(string content)
    {
        using var scratch = new Scratch();
        string copy = run.Copy(scratch);
        Directory.CreateDirectory(scratch["damaged"]);
        File.WriteAllText(scratch["damaged", "results.json"], content);
        JsonArray rows = JsonNode.Parse(InProcess.Run("ls", "runs", "--runs-dir", scratch.Path, "--json").Succeeded().Output)!.AsArray();
        Assert.Contains(copy, rows.Select(row => (string?)row!["run"]));
    }

    [Theory]
    [InlineData("{\"model_type\": \"mamba\"}", "mamba", "gpt2")]
    [InlineData("{}", "model_type")]
    [InlineData("[]", "JSON object")]
    [InlineData("{", "JSON")]
    [InlineData("{\"model_type\": 7}", "model_type", "7")]
    [InlineData("{\"model_type\": \"gpt2\", \"n_embd\": 36, \"n_head\": 5}", "n_head")]
    [InlineData("{\"model_type\": \"gpt2\", \"n_embd\": \"wide\"}", "n_embd", "wide")]
    [InlineData("{\"model_type\": \"gpt2\", \"n_layer\": -1}", "n_layer", "-1")]
    [InlineData("{\"model_type\": \"gpt2\", \"activation_function\": \"magic\"}", "magic")]
    [InlineData("{\"model_type\": \"gpt2\", \"layer_norm_epsilon\": null, \"n_layer\": 1e99}", "n_layer")]
    public void A_configuration_that_cannot_be_is_refused(string json, params string[] mentions)
    {
        using var scratch = new Scratch();
        string config = scratch.Write("config.json", json);
        File.WriteAllBytes(scratch["model.safetensors"], File.ReadAllBytes(Repository.Fixture("gpt2_a", "model.safetensors")));
        InProcess.Run([.. Sound.Where(word => word is not ("--init" or "random" or "gpt2-tiny" or "--backbone")), "--backbone", scratch.Path, "--output-dir", scratch["run"]]).Refused(1, [config, .. mentions]);
        InProcess.Run("show", "backbone", scratch.Path).Refused(1, [config, .. mentions]);
        Assert.Empty(Scratch.Left(scratch["run"]));
    }

    [Theory]
    [InlineData("n_layer")]
    [InlineData("n_embd")]
    public void A_configuration_of_an_enormous_model_is_refused_at_once(string key)
    {
        using var scratch = new Scratch();
        string config = scratch.Write("config.json", $$"""{"model_type": "gpt2", "n_head": 1, "{{key}}": 2000000000}""");
        // Were it built all the same, it would not take this machine with it.
        var limited = new CliSettings { Environment = new Dictionary<string, string?> { ["DOTNET_GCHeapHardLimit"] = "0x8000000" } };
        Cli.Run(limited, "show", "backbone", scratch.Path).Refused(1, config, key);
    }

    [Fact]
    public void A_backbone_that_is_nowhere_is_refused_with_the_places_looked_at()
    {
        using var scratch = new Scratch();
        foreach (string name in new[] { "gpt3", "../gpt2", "openai/gpt2", scratch["none"] })
            InProcess.Run("finetune", "--task", "bit-xor", "--backbone", name, "--output-dir", scratch["run"]).Refused(1, name, "gpt2-tiny", "Hugging Face cache");
        InProcess.Run("show", "backbone", scratch.Path).Refused(1, scratch.Path, "config.json");
    }

    [Fact]
    public void Sequences_longer_than_the_positions_are_refused()
    {
        using var scratch = new Scratch();
        InProcess.Run("finetune", "--task", "bit-xor", "--set", "task_options.length=14", "--backbone", Repository.Fixture("gpt2_a"), "--output-dir", scratch["run"]).Refused(1, "28 tokens", "26 positions");
        InProcess.Run([.. Sound, "--set", "task_options.length=600", "--output-dir", scratch["run"]]).Refused(1, "1200 tokens", "1024 positions");
        Assert.Empty(Scratch.Left(scratch["run"]));
    }

    [Fact]
    public void A_loss_that_is_no_number_ends_the_run_with_exit_code_3()
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        CliResult result = Diverging(scratch, MathF.Sin(95), "1e6");
        result.Failed(3, "step", "--learning-rate");
        Assert.DoesNotContain(Scratch.Files(scratch["run"]), file => file.Contains("adapter", StringComparison.Ordinal) || file.EndsWith("results.json", StringComparison.Ordinal) || file.EndsWith(".tmp", StringComparison.Ordinal));
        // The steps before it are on record.
        Assert.NotEmpty(RunFiles.Metric(scratch["run"], "train/loss"));
    }

    [Fact]
    public void Inputs_that_are_no_numbers_are_refused_before_anything_is_trained()
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        Diverging(scratch, float.NaN, "1e-3").Refused(1, scratch["data.safetensors"], "row 15 of `inputs`");
        Assert.Empty(Scratch.Left(scratch["run"]));
    }

    private static CliResult Diverging(Scratch scratch, float last, string rate)
    {
        float[] values = [.. Enumerable.Range(0, 95).Select(i => MathF.Sin(i)), last];
        long[] targets = [.. Enumerable.Range(0, 16).Select(i => i % 2L)];
        string data = TensorFile.Write(scratch["data.safetensors"], ("inputs", Tensors.From(values, 16, 3, 2)), ("targets", Tensors.From(targets, 16)));
        return InProcess.Run("finetune", "--task", "tensors", "--data", data, "--no-shuffle", "--per-device-train-batch-size", "4", "--backbone", "gpt2-tiny", "--init", "random",
            "--max-steps", "50", "--logging-steps", "1", "--optim", "sgd", "--max-grad-norm", "0", "--learning-rate", rate, "--dropout", "0", "--output-dir", scratch["run"]);
    }
}
