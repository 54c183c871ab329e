using System.Text.Json.Nodes;
using Permafrost.Kernels;

namespace Permafrost.Cli.Tests;

/// <summary>Small inputs that once gave a wrong answer or a wrong sentence, as a user meets them.</summary>
public sealed class CasesTests : IDisposable
{
    private readonly Scratch scratch = new();

    public void Dispose() => scratch.Dispose();

    [Fact]
    public void A_stray_name_is_refused_by_prediction_as_by_training()
    {
        string run = Train("predict_typo_train");
        string right = Case("predict_typo_mask"), wrong = Case("predict_typo_attention_mask");
        Cli.Run("predict", run, "--input", right).Succeeded();
        Cli.Run("predict", run, "--input", wrong).Refused(1, wrong, "'attention_mask'", "mask");
        Cli.Run("finetune", "--task", "tensors", "--data", wrong, "--backbone", "gpt2-tiny", "--init", "random", "--output-dir", scratch["no"]).Refused(1, "'attention_mask'");
    }

    [Fact]
    public void Nine_rows_at_a_tenth_have_a_row_for_validation_and_one_for_the_test()
    {
        JsonObject results = RunFiles.Json(Train("split_9_rows"), "results.json");
        Assert.Equal(1, (int)results["metrics"]!["validation"]!["count"]!);
        Assert.Equal(1, (int)results["metrics"]!["test"]!["count"]!);
    }

    [Fact]
    public void Early_stopping_without_validations_is_refused()
    {
        string data = Case("split_9_rows");
        string[] command =
            ["finetune", "--task", "tensors", "--data", data, "--backbone", "gpt2-tiny", "--init", "random", "--output-dir", scratch["no"], "--early-stopping-patience", "2"];
        Cli.Run([.. command, "--validation-fraction", "0"]).Refused(2, "--early-stopping-patience", "--validation-fraction");
        Cli.Run([.. command, "--eval-steps", "0"]).Refused(2, "--early-stopping-patience", "--eval-steps");
    }

    [Fact]
    public void Shares_that_leave_nothing_to_train_on_are_refused()
    {
        string data = TensorFile.Write(scratch["two.safetensors"], ("inputs", torch.randn(2, 4, 3)), ("targets", torch.zeros(2, ScalarType.Int64)));
        Cli.Run("finetune", "--task", "tensors", "--data", data, "--backbone", "gpt2-tiny", "--init", "random", "--output-dir", scratch["no"])
            .Refused(1, data, "1 would be held out for validation and 1 for the test", "--validation-fraction");
    }

    [Fact]
    public void A_row_that_is_not_finite_is_named_and_refused()
    {
        string run = Train("predict_typo_train");
        Cli.Run("predict", run, "--input", Case("nan_row")).Refused(1, "row ", "`inputs`", "NaN");
        Tensor rows = torch.zeros(30, 6, 3);
        rows[17, 2, 1] = float.PositiveInfinity;
        string data = TensorFile.Write(scratch["infinite.safetensors"], ("inputs", rows), ("targets", torch.zeros(30, ScalarType.Int64)));
        Cli.Run("finetune", "--task", "tensors", "--data", data, "--backbone", "gpt2-tiny", "--init", "random", "--output-dir", scratch["no"]).Refused(1, data, "row 17");
    }

    [Fact]
    public void A_logged_loss_is_the_mean_over_the_steps_that_had_answers()
    {
        string run = Train("answers_in_2_of_50_rows", "--no-shuffle", "--per-device-train-batch-size", "8", "--max-steps", "7", "--logging-steps", "7",
            "--frozen-dtype", "float32", "--dropout", "0");
        Assert.Equal(0.471855, RunFiles.Metric(run, "train/loss").Single(), 2e-5);
    }

    [Fact]
    public void The_losses_before_an_early_stop_are_logged()
    {
        string run = Train("predict_typo_train", "--max-steps", "500", "--logging-steps", "400", "--eval-steps", "3", "--early-stopping-patience", "1", "--learning-rate", "0");
        Assert.True((int)RunFiles.Json(run, "results.json")["steps"]! < 400);
        Assert.Single(RunFiles.Metric(run, "train/loss"));
    }

    [Fact]
    public void Last_tokens_are_those_that_are_no_padding_wherever_it_stands()
    {
        string run = Train("mask_hole_train", "--readout", "last:2");
        (CliResult a, CliResult b) = (Cli.Run("predict", run, "--input", Case("mask_hole_a")).Succeeded(), Cli.Run("predict", run, "--input", Case("mask_hole_b")).Succeeded());
        Assert.Equal(a.Output, b.Output);
    }

    [Fact]
    public void A_byte_order_mark_and_carriage_returns_on_standard_input_are_no_part_of_the_text()
    {
        string text = Path.Combine(Repository.Shared, "cases", "listops_bom_crlf.txt");
        Assert.SkipUnless(File.Exists(text), $"needs the small inputs that once went wrong: {text} is not there");
        Cli.Run("finetune", "--task", "listops", "--backbone", "gpt2-tiny", "--init", "random", "--set", "task_options.max_length=16", "--set", "task_options.train_examples=64",
            "--max-steps", "2", "--output-dir", scratch["listops"]).Succeeded();
        CliResult file = Cli.Run("predict", scratch["listops"], "--input", text).Succeeded();
        CliResult piped = Cli.Shell(new CliSettings(), $"permafrost predict '{scratch["listops"]}' --input - <'{text}'").Succeeded();
        Assert.Equal(file.Output, piped.Output);
    }

    [Fact]
    public void The_reference_codes_table_of_expressions_is_predicted_from()
    {
        string[] expressions = ["[MAX 4 [SM 7 5 ] 1 ]", "[MIN 2 9 ]"];
        Cli.Run("finetune", "--task", "listops", "--backbone", "gpt2-tiny", "--init", "random", "--set", "task_options.max_length=16", "--set", "task_options.train_examples=64",
            "--max-steps", "2", "--output-dir", scratch["listops"]).Succeeded();
        string lines = scratch.Write("lines.txt", string.Join('\n', expressions));
        string table = scratch.Write("table.tsv", "Source\tTarget\n( ( ( [MAX 4 ) ( ( [SM 7 ) 5 ] ) ) 1 ] )\t4\n( ( [MIN 2 ) 9 ] )\t2\n");
        Assert.Equal(Cli.Run("predict", scratch["listops"], "--input", lines).Succeeded().Output, Cli.Run("predict", scratch["listops"], "--input", table).Succeeded().Output);
    }

    [Fact]
    public void A_folder_called_like_a_preset_does_not_hide_it()
    {
        Directory.CreateDirectory(scratch["gpt2-tiny"]);
        var here = new CliSettings { WorkingDirectory = scratch.Path };
        Cli.Run(here, "finetune", "--task", "bit-xor", "--backbone", "gpt2-tiny", "--init", "random", "--dry-run").Succeeded();
        File.WriteAllText(scratch["gpt2-tiny", "adapter_config.json"], "{}");
        Cli.Run(here, "finetune", "--task", "bit-xor", "--backbone", "./gpt2-tiny", "--init", "random", "--dry-run").Refused(1, "adapter");
    }

    [Fact]
    public void An_adapter_to_start_from_without_an_output_layer_is_said_to_leave_it_at_random()
    {
        string run = Train("predict_typo_train");
        Dictionary<string, Tensor> tensors = TensorFile.Read(Path.Combine(run, "adapter", "adapter_model.safetensors"));
        string whole = TensorFile.Write(scratch["whole.safetensors"], tensors.Select(pair => (pair.Key, pair.Value)));
        foreach (string name in tensors.Keys.Where(name => name.StartsWith("output_layer", StringComparison.Ordinal)).ToArray()) tensors.Remove(name);
        string part = TensorFile.Write(scratch["part.safetensors"], tensors.Select(pair => (pair.Key, pair.Value)));
        CliResult Start(string from, string name) => Cli.Run("finetune", "--task", "tensors", "--data", Case("predict_typo_train"), "--backbone", "gpt2-tiny", "--init", "random",
            "--max-steps", "2", "--init-adapter", from, "--output-dir", scratch[name]).Succeeded();
        Assert.DoesNotContain("at random", Start(whole, "a").Error, StringComparison.Ordinal);
        Assert.Contains($"{part} does not hold output_layer.weight and output_layer.bias: they start at random", Start(part, "b").Error, StringComparison.Ordinal);
    }

    private static string Case(string name)
    {
        string path = Path.Combine(Repository.Shared, "cases", name + ".safetensors");
        Assert.SkipUnless(File.Exists(path), $"needs the small inputs that once went wrong: {path} is not there");
        return path;
    }

    private string Train(string name, params string[] more)
    {
        string[] length = more.Contains("--max-steps") ? [] : ["--max-steps", "12"];
        string[] command = ["finetune", "--task", "tensors", "--data", Case(name), "--backbone", "gpt2-tiny", "--init", "random", "--output-dir", scratch[name]];
        Cli.Run([.. command, .. length, .. more]).Succeeded();
        return scratch[name];
    }
}
