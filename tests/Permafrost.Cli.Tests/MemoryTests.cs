namespace Permafrost.Cli.Tests;

/// <summary>What `--dry-run` says about memory, against what the run takes.</summary>
public class MemoryTests
{
    [Theory]
    [InlineData("fpt", "auto", 64)]
    [InlineData("*", "float32", 16)]
    public void The_predicted_peak_is_within_a_fifth(string policy, string frozen, int batch)
    {
        using var scratch = new Scratch();
        string[] run = ["finetune", "--task", "bit-memory", "--backbone", "gpt2-mini", "--init", "random", "--policy", policy, "--frozen-dtype", frozen, "--per-device-train-batch-size", $"{batch}", "--max-steps", "2", "--eval-steps", "0", "--no-baselines", "--no-score-test", "--json"];
        long predicted = (long)Cli.Run([.. run, "--dry-run"]).Succeeded().Json["peak_memory_bytes"]!;
        long real = (long)Cli.Run([.. run, "--output-dir", scratch["run"]]).Succeeded().Json["peak_memory_bytes"]!;
        Assert.InRange((double)predicted / real, 0.8, 1.2);
    }
}
