using Permafrost.Formats.Safetensors;

namespace Permafrost.Cli.Tests;

/// <summary>Which body a name stands for, and which of its tensors are read.</summary>
public class BackboneTests
{
    private readonly string[] dryRun = ["finetune", "--task", "bit-xor", "--backbone", "gpt2-tiny", "--init", "random", "--dry-run"];

    [Fact]
    public void A_folder_called_like_a_preset_is_used_and_that_is_said()
    {
        using var scratch = new Scratch();
        var here = new CliSettings { WorkingDirectory = scratch.Path };
        Assert.DoesNotContain("gpt2-tiny' is taken", Cli.Run(here, dryRun).Succeeded().Error, StringComparison.Ordinal);
        Directory.CreateDirectory(scratch["gpt2-tiny"]);  // of runs, say
        Assert.DoesNotContain("gpt2-tiny' is taken", Cli.Run(here, dryRun).Succeeded().Error, StringComparison.Ordinal);
        File.Copy(Repository.Fixture("gpt2_a", "config.json"), scratch["gpt2-tiny", "config.json"]);
        string said = $"'gpt2-tiny' is taken for the folder {scratch["gpt2-tiny"]}, not for the preset of that name";
        foreach (string[] line in new string[][] { dryRun, [.. dryRun[..^1], "--max-steps", "1", "--output-dir", scratch["run"]], ["show", "backbone", "gpt2-tiny"] })
            Assert.Contains(said, Cli.Run(here, line).Succeeded().Error, StringComparison.Ordinal);
        dryRun[4] = "./gpt2-tiny";
        Assert.DoesNotContain("is taken", Cli.Run(here, dryRun).Succeeded().Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Another_heads_tensors_are_refused_or_left_out_with_a_note()
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        Directory.CreateDirectory(scratch["body"]);
        File.Copy(Repository.Fixture("gpt2_a", "config.json"), scratch["body", "config.json"]);
        Dictionary<string, Tensor> weights = TensorFile.Read(Repository.Fixture("gpt2_a", "model.safetensors"));
        weights["v_head.summary.weight"] = torch.ones([1, 8]);
        SafetensorsWriter.Write(scratch["body", "model.safetensors"], weights);
        SafetensorsWriter.Write(scratch["in.safetensors"], new Dictionary<string, Tensor> { ["input_ids"] = torch.zeros([1, 3], ScalarType.Int64) });

        string[] forward = ["forward", "--backbone", scratch["body"], "--inputs", scratch["in.safetensors"], "--outputs", scratch["out.safetensors"]];
        Cli.Run(forward).Refused(1, "'v_head.summary.weight'", "--skip-weights");
        Assert.Contains("1 tensor(s) left out, as --skip-weights v_head.* says", Cli.Run([.. forward, "--skip-weights", "v_head.*"]).Succeeded().Error, StringComparison.Ordinal);
        Cli.Run([.. forward, "--skip-weights", "q.*"]).Refused(2, "--skip-weights q.*");

        string[] train = ["finetune", "--task", "bit-xor", "--backbone", scratch["body"], "--max-steps", "1", "--output-dir", scratch["run"]];
        Cli.Run(train).Refused(1, "'v_head.summary.weight'", "--skip-weights");
        Assert.Contains("1 tensor(s) left out, as --skip-weights v_head.* says", Cli.Run([.. train, "--skip-weights", "v_head.*"]).Succeeded().Error, StringComparison.Ordinal);
        // The run knows what it left out.
        Cli.Run("evaluate", scratch["run"]).Succeeded();
        Cli.Run("finetune", "--task", "bit-xor", "--data", scratch["body"], "--backbone", scratch["body"], "--skip-weights", "v_head.*").Refused(2, "--data", "bit-xor generates its examples");
    }
}
