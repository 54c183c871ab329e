using System.Text.Json.Nodes;
using Permafrost.Kernels;

namespace Permafrost.Cli.Tests;

/// <summary>`mask` in a file of tensors: what is padding must not matter.</summary>
public class PaddingTests
{
    [Theory]
    [InlineData("last", 1)]
    [InlineData("last:2", 2)]
    [InlineData("mean", 1)]
    [InlineData("first", 1)]
    public void Padding_does_not_change_the_answers(string readout, int targets)
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        const int N = 6, T = 5, Longer = 8, D = 3;
        Tensor inputs = Tensors.From([.. Enumerable.Range(0, N * T * D).Select(i => MathF.Sin(i))], N, T, D);
        Tensor classes = Tensors.From([.. Enumerable.Range(0, N * targets).Select(i => i % 3L)], N, targets);
        // Whatever stands in the padding is not to be read.
        Tensor padded = torch.cat([inputs, torch.full([N, Longer - T, D], 100)], 1);
        Tensor mask = torch.cat([torch.ones([N, T], ScalarType.Int64), torch.zeros([N, Longer - T], ScalarType.Int64)], 1);
        TensorFile.Write(scratch["short.safetensors"], ("inputs", inputs), ("targets", classes));
        TensorFile.Write(scratch["padded.safetensors"], ("inputs", padded), ("targets", classes), ("mask", mask));

        double[] bare = Train("short");
        double[] filled = Train("padded");
        Assert.Equal(8, bare.Length);
        for (int step = 0; step < bare.Length; step++) Assert.Equal(bare[step], filled[step], 1e-4 * bare[step]);
        Assert.Equal(Predict("short", "short"), Predict("short", "padded"));
        Assert.Equal(Predict("padded", "padded"), Predict("padded", "short"));

        double[] Train(string data)
        {
            InProcess.Run("finetune", "--task", "tensors", "--data", scratch[$"{data}.safetensors"], "--backbone", "gpt2-tiny", "--init", "random", "--no-shuffle", "--dropout", "0", "--max-steps", "8",
                "--per-device-train-batch-size", "3", "--logging-steps", "1", "--readout", readout, "--output-dir", scratch[data]).Succeeded();
            return RunFiles.Metric(scratch[data], "train/loss");
        }

        IEnumerable<string?> Predict(string run, string input) =>
            InProcess.Run("predict", scratch[run], "--input", scratch[$"{input}.safetensors"], "--json").Succeeded().Lines.Select(line => JsonNode.Parse(line)!["label"]!.ToJsonString());
    }
}
