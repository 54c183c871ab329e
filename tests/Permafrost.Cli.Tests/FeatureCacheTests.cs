using Permafrost.Kernels;

namespace Permafrost.Cli.Tests;

/// <summary>The cache of features, between processes.</summary>
public class FeatureCacheTests
{
    [Fact]
    public void Two_processes_at_once_and_one_after_them_share_it_and_say_where_it_is()
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        TensorFile.Write(scratch["data.safetensors"], ("inputs", Tensors.From([.. Enumerable.Range(0, 500 * 6).Select(i => MathF.Sin(i))], 500, 3, 2)), ("targets", Tensors.From([.. Enumerable.Range(0, 500).Select(i => i % 2L)], 500)));
        CliResult[] results = new CliResult[3];
        Parallel.For(0, 2, Run);
        Run(2);
        Assert.Equal(3, Scratch.Files(scratch["home"]).Length);
        Assert.All(Scratch.Files(scratch["home"]), file => Assert.EndsWith(".safetensors", file, StringComparison.Ordinal));
        foreach (int i in new[] { 1, 2 }) Assert.Equal(RunFiles.Adapter(scratch["0"]), RunFiles.Adapter(scratch[$"{i}"]));
        foreach (CliResult result in results) Assert.Single(result.Error.Split('\n'), line => line.Contains(scratch["home", "features"], StringComparison.Ordinal));
        // One of them may have been so late that it found what the other had computed.
        Assert.Contains("computing features of the train split", results[0].Error + results[1].Error, StringComparison.Ordinal);
        Assert.DoesNotContain("computing features", results[2].Error, StringComparison.Ordinal);

        void Run(int i) => results[i] = Cli.Run(new CliSettings { Environment = new Dictionary<string, string?> { ["PERMAFROST_HOME"] = scratch["home"] } },
            "finetune", "--task", "tensors", "--data", scratch["data.safetensors"], "--backbone", "gpt2-tiny", "--init", "random", "--policy", "output", "--feature-cache", "disk", "--max-steps", "20", "--no-baselines", "--output-dir", scratch[$"{i}"]).Succeeded();
    }
}
