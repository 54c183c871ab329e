using System.Text.Json.Nodes;
using Permafrost.Kernels;

namespace Permafrost.Cli.Tests;

/// <summary>Sequences as answers, from a file of tensors to predictions.</summary>
public sealed class SequenceTests : IDisposable
{
    private const int End = 4;

    private readonly Scratch scratch = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        scratch.Dispose();
    }

    [Fact]
    public void An_encoder_decoder_learns_to_copy_and_answers_with_tokens()
    {
        string body = scratch["body"], data = scratch["copies.safetensors"], inputs = scratch["inputs.safetensors"], run = scratch["run"];
        Directory.CreateDirectory(body);
        File.WriteAllText(Path.Combine(body, "config.json"), """
            {"model_type": "t5", "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 4, "vocab_size": 11, "decoder_start_token_id": 0}
            """);
        Tensor ids = Ids(400), ends = torch.full([400, 1], End, ScalarType.Int64);
        TensorFile.Write(data, ("inputs", ids), ("targets", torch.cat([ids, ends], 1)));
        TensorFile.Write(inputs, ("inputs", ids.narrow(0, 0, 3).contiguous()));
        CliResult result = Cli.Run(
            "finetune", "--task", "tensors", "--data", data, "--set", $"task_options.end={End}", "--backbone", body, "--init", "random", "--policy", "*", "--dropout", "0", "--max-steps", "400",
            "--eval-steps", "200", "--learning-rate", "5e-3", "--per-device-train-batch-size", "32", "--seed", "0", "--output-dir", run, "--json").Succeeded();
        Assert.InRange((double)result.Json["metrics"]!["test"]!["exact_match"]!, 0.8, 1);
        Assert.InRange((double)result.Json["baselines"]!["trivial"]!["majority"]!, 0, 0.3);
        JsonObject scored = Cli.Run("evaluate", run, "--json").Succeeded().Json;
        Assert.Contains("exact_match", scored.ToJsonString());

        JsonObject[] predictions = [.. Cli.Run("predict", run, "--input", inputs, "--json").Succeeded().Lines.Select(line => JsonNode.Parse(line)!.AsObject())];
        Assert.Equal(3, predictions.Length);
        Assert.Contains(predictions, p => (bool)p["ended"]! && p["tokens"]!.AsArray().Select(token => (long)token!).SequenceEqual(ids.select(0, (int)p["index"]!).ToArray<long>()));
        Assert.Equal(3, Cli.Run("predict", run, "--input", inputs).Succeeded().Lines.Length);
        Cli.Run("finetune", "--task", "tensors", "--data", data, "--set", $"task_options.end={End}", "--backbone", "gpt2-tiny", "--init", "random").Failed(2, "decoder");
    }

    private static Tensor Ids(int rows)
    {
        using var random = new Generator(3);
        return torch.randint(0, End, [rows, 3], ScalarType.Int64, generator: random);
    }
}
