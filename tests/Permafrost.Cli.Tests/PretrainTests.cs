using System.Text;
using System.Text.Json.Nodes;

namespace Permafrost.Cli.Tests;

/// <summary>A language model from text to a folder that other verbs read, stopped on the way and going on.</summary>
public class PretrainTests
{
    private static string[] Training(Scratch scratch, string run) =>
    [
        "pretrain", "--data", scratch["train.txt"], scratch["test.txt"], "--tokenizer", scratch["tokenizer"], "--held-out", "test.txt", "--preset", "gpt2-tiny", "--layers", "1", "--width", "32",
        "--heads", "2", "--context", "32", "--batch-size", "4", "--warmup-steps", "5", "--lr-scheduler-type", "constant_with_warmup", "--logging-steps", "1", "--eval-steps", "0",
        "--save-minutes", "0", "--save-dtype", "float32", "--output-dir", scratch[run],
    ];

    private static void Furnish(Scratch scratch)
    {
        var text = new StringBuilder();
        for (int i = 0; i < 1000; i++) text.Append($"The people of village {i % 97} sang about the old bridge over the river {i % 13}.\n");
        scratch.Write("train.txt", text.ToString());
        scratch.Write("test.txt", "The people of village 5 sang about the old bridge over the river 7.\n");
        InProcess.Run("tokenizer", "train", "--data", scratch["train.txt"], "--vocabulary-size", "400", "--output-dir", scratch["tokenizer"], "--json").Succeeded();
    }

    [Theory]
    [InlineData(Cli.Interrupt, 130)]
    [InlineData(Cli.Terminate, 75)]
    public void A_stopped_pretraining_goes_on_to_the_same_model(int signal, int exitCode)
    {
        using var scratch = new Scratch();
        Furnish(scratch);
        var settings = new CliSettings { Environment = new Dictionary<string, string?> { ["PERMAFROST_HOME"] = scratch["home"] } };
        using (CliProcess process = Cli.Start(settings, [.. Training(scratch, "parts"), "--max-steps", "1000000"]))
        {
            process.WaitForError("step ");
            process.Signal(signal);
            process.WaitForExit(CliSettings.Patience).Failed(exitCode, "permafrost pretrain --resume-from-checkpoint", scratch["parts"]);
        }
        Assert.DoesNotContain(Scratch.Files(scratch["parts"]), file => file.EndsWith(".tmp", StringComparison.Ordinal) || file.EndsWith("results.json", StringComparison.Ordinal));
        long done = Directory.GetDirectories(scratch["parts"], "checkpoint-*").Max(path => long.Parse(path[(path.LastIndexOf('-') + 1)..]));
        string steps = $"{done + 20}";
        Cli.Run(settings, "pretrain", "--resume-from-checkpoint", scratch["parts"], "--max-steps", steps).Succeeded();
        Cli.Run(settings, [.. Training(scratch, "whole"), "--max-steps", steps]).Succeeded();
        Assert.Equal(File.ReadAllBytes(scratch["whole", "model", "model.safetensors"]), File.ReadAllBytes(scratch["parts", "model", "model.safetensors"]));
    }

    [Fact]
    public void The_model_is_a_backbone_for_every_verb()
    {
        using var scratch = new Scratch();
        Furnish(scratch);
        JsonObject results = InProcess.Run([.. Training(scratch, "run"), "--max-steps", "30", "--json"]).Succeeded().Json;
        Assert.InRange((double)results["held_out"]!["test.txt"]!["bits_per_byte"]!, 0.1, 4);
        string model = scratch["run", "model"];
        InProcess.Run("show", "backbone", model).Succeeded();
        InProcess.Run("generate", "--backbone", model, "--prompt", "The people", "--max-new-tokens", "4").Succeeded();
        InProcess.Run("finetune", "--task", "bit-xor", "--backbone", model, "--max-steps", "3", "--no-baselines", "--output-dir", scratch["tuned"]).Succeeded();
        JsonNode row = Assert.Single(JsonNode.Parse(InProcess.Run("ls", "runs", "--runs-dir", scratch.Path, "--json").Succeeded().Output)!.AsArray())!;
        Assert.Equal(scratch["tuned"], (string?)row["run"]);
    }

    [Fact]
    public void A_disk_that_is_full_ends_it_in_a_sentence_and_leaves_nothing_half_written()
    {
        using var scratch = new Scratch();
        Furnish(scratch);
        var settings = new CliSettings { WorkingDirectory = scratch.Path, Environment = new Dictionary<string, string?> { ["PERMAFROST_HOME"] = scratch["home"], ["DOTNET_EnableWriteXorExecute"] = "0" } };
        // Files may grow to 150 KiB: the weights do, the optimiser's state does not.
        string command = string.Join(' ', Training(scratch, "run"));
        Cli.Shell(settings, $"trap '' XFSZ; ulimit -f 150; permafrost {command} --save-steps 5 --max-steps 20").Failed(1, "checkpoint-5", "free some space");
        Assert.DoesNotContain(Scratch.Files(scratch["run"]), path => path.Contains(".tmp", StringComparison.Ordinal) || path.Contains("checkpoint-5", StringComparison.Ordinal));
        // There is room again.
        Cli.Shell(settings, $"permafrost pretrain --resume-from-checkpoint run").Succeeded();
    }

    [Fact]
    public void A_body_that_read_no_text_is_a_backbone()
    {
        using var scratch = new Scratch();
        string[] command = ["pretrain", "--objective", "bit-memory", "--preset", "gpt2-tiny", "--batch-size", "2", "--warmup-steps", "1", "--output-dir", scratch["bits"]];
        InProcess.Run([.. command, "--max-steps", "1000000", "--max-time", "0.2s"]).Failed(75, $"pretrain --resume-from-checkpoint {scratch["bits"]}");
        InProcess.Run("pretrain", "--resume-from-checkpoint", scratch["bits"], "--seed", "3").Failed(2, "--seed");
        Directory.Delete(scratch["bits"], recursive: true);

        JsonObject results = InProcess.Run([.. command, "--max-steps", "2", "--json"]).Succeeded().Json;
        Assert.Equal(("bit-memory", "*", "random"), ((string?)results["task"], (string?)results["policy"], (string?)results["init"]));
        Assert.Contains("Bits restored on the test split: ", File.ReadAllText(scratch["bits", "model", "README.md"]), StringComparison.Ordinal);
        string body = scratch["bits", "model"];
        JsonObject tuned = InProcess.Run("finetune", "--task", "bit-xor", "--backbone", body, "--max-steps", "2", "--no-baselines", "--output-dir", scratch["tuned"], "--json").Succeeded().Json;
        Assert.NotEqual((string?)results["backbone_sha256"], (string?)tuned["backbone_sha256"]);

        InProcess.Run([.. command[..^1], scratch["other"], "--data", "a.txt"]).Refused(2, "--data", "bit-memory");
        InProcess.Run([.. command[..^1], scratch["other"], "--optim", "adafactor"]).Refused(2, "adafactor");
        InProcess.Run("pretrain", "--objective", "bit-memory", "--architecture", "bert").Refused(2, "bit-memory", "bert");
    }

    [Fact]
    public void A_path_that_holds_a_comma_is_one()
    {
        using var scratch = new Scratch();
        Furnish(scratch);
        string[] training = Training(scratch, "run");
        File.Move(scratch["train.txt"], scratch["train, old.txt"]);
        training[2] = scratch["train, old.txt"];
        InProcess.Run([.. training, "--max-steps", "2"]).Succeeded();
        // And in the file that it was written to.
        InProcess.Run("pretrain", "--resume-from-checkpoint", scratch["run"], "--max-steps", "3").Succeeded();
        Assert.Equal(3, (long)JsonNode.Parse(File.ReadAllText(scratch["run", "results.json"]))!["steps"]!);
    }

    [Fact]
    public void What_cannot_be_is_refused_in_a_sentence()
    {
        using var scratch = new Scratch();
        Furnish(scratch);
        InProcess.Run([.. Training(scratch, "run"), "--objective", "masked"]).Failed(2, "--objective masked", "--architecture gpt2");
        InProcess.Run([.. Training(scratch, "run"), "--held-out", "none.txt"]).Failed(2, "--held-out none.txt");
        InProcess.Run([.. Training(scratch, "run"), "--max-steps", "many"]).Refused(2, "--max-steps", "many");
        InProcess.Run("pretrain", "--data", scratch["none"], "--tokenizer", scratch["tokenizer"], "--output-dir", scratch["run"]).Refused(1, scratch["none"]);
        InProcess.Run("pretrain", "--resume-from-checkpoint", scratch["none"]).Refused(1, scratch["none"]);
        InProcess.Run("tokenizer", "train", "--data", scratch["train.txt"], "--vocabulary-size", "3", "--output-dir", scratch["small"]).Failed(1, "3 tokens");
        Assert.Empty(Scratch.Left(scratch["run"]));
    }
}
