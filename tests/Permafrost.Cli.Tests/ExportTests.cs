using System.Text.Json.Nodes;
using Permafrost.Kernels;

namespace Permafrost.Cli.Tests;

/// <summary>Adapters that other software reads.</summary>
public sealed class ExportTests : IDisposable
{
    private readonly Scratch scratch = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        scratch.Dispose();
    }

    [Theory]
    [InlineData("gpt2_a", "h.0.ln_1", "wpe")]
    [InlineData("bert_a", "encoder.layer.0.attention.output.LayerNorm", "embeddings.position_embeddings")]
    [InlineData("t5_a", "encoder.block.0.layer.0.layer_norm", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias")]
    [InlineData("llama_a", "layers.0.input_layernorm", null)]
    public void A_peft_adapter_has_PEFTs_names_and_comes_back_as_it_was(string fixture, string norm, string? saved)
    {
        string body = Repository.Fixture(fixture), run = scratch["run"], folder = scratch["peft"];
        Cli.Run("finetune", "--task", "bit-xor", "--backbone", body, "--max-steps", "3", "--learning-rate", "1e-2", "--no-baselines", "--output-dir", run).Succeeded();
        JsonObject said = Cli.Run("export", run, "--format", "peft", "--output", folder, "--json").Succeeded().Json;

        Dictionary<string, Tensor> own = TensorFile.Read(Path.Combine(run, "adapter", "adapter_model.safetensors")), peft = TensorFile.Read(Path.Combine(folder, "adapter_model.safetensors")),
            beside = TensorFile.Read(Path.Combine(folder, "permafrost_layers.safetensors"));
        Assert.Equal(own[$"{norm}.weight"].ToBytes(), peft[$"base_model.model.{norm}.ln_tuning_layers.weight"].ToBytes());
        if (saved is not null) Assert.Equal(own[$"{saved}.weight"].ToBytes(), peft[$"base_model.model.{saved}.weight"].ToBytes());
        Assert.Equal(["input_layer.bias", "input_layer.weight", "output_layer.bias", "output_layer.weight"], beside.Keys.Order());
        Assert.Equal(own.Count, peft.Count + beside.Count);
        Assert.Equal(beside.Keys.Order(), said["beside"]!.AsArray().Select(name => (string)name!).Order());

        JsonObject config = RunFiles.Json(folder, "adapter_config.json");
        Assert.Equal(("LN_TUNING", body, "FEATURE_EXTRACTION"), ((string)config["peft_type"]!, (string)config["base_model_name_or_path"]!, (string)config["task_type"]!));
        Assert.Contains(norm, config["target_modules"]!.AsArray().Select(name => (string)name!));
        Assert.Equal(saved is null, config["modules_to_save"] is null);
        Assert.Equal(config.Select(pair => pair.Key).Order(StringComparer.Ordinal), config.Select(pair => pair.Key));

        // As start values, with a rate that moves nothing that float32 would notice.
        string again = scratch["again"];
        Cli.Run("finetune", "--task", "bit-xor", "--backbone", body, "--init-adapter", folder, "--max-steps", "1", "--learning-rate", "1e-30", "--no-baselines", "--output-dir", again).Succeeded();
        foreach ((string name, Tensor tensor) in TensorFile.Read(Path.Combine(again, "adapter", "adapter_model.safetensors"))) Assert.Equal(own[name].ToBytes(), tensor.ToBytes());
    }

    [Fact]
    public void What_PEFT_cannot_hold_is_refused()
    {
        string run = scratch["run"];
        Cli.Run("finetune", "--task", "bit-xor", "--backbone", "gpt2-tiny", "--init", "random", "--max-steps", "1", "--no-baselines", "--output-dir", run).Succeeded();
        Cli.Run("export", run, "--format", "peft").Failed(1, "drawn");
        Cli.Run("export", run, "--format", "tflite").Failed(2, "--format 'tflite'", "onnx and peft");
        string output = scratch["output"], body = Repository.Fixture("gpt2_a");
        Cli.Run("finetune", "--task", "bit-xor", "--backbone", body, "--policy", "output", "--max-steps", "1", "--no-baselines", "--output-dir", output).Succeeded();
        Cli.Run("export", output, "--format", "peft").Failed(1, "trains no whole norm");

        string lora = scratch["lora"];
        Directory.CreateDirectory(lora);
        Cli.Run("finetune", "--task", "bit-xor", "--backbone", body, "--init-adapter", lora, "--max-steps", "1").Failed(1, "adapter_config.json");
        File.WriteAllText(Path.Combine(lora, "adapter_config.json"), """{"peft_type": "LORA"}""");
        Cli.Run("finetune", "--task", "bit-xor", "--backbone", body, "--init-adapter", lora, "--max-steps", "1").Failed(1, "LORA");
    }
}
