using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;

namespace Permafrost.Tests.Models;

/// <summary>Linformer against lucidrains/linformer: attention, layers and language model, forward and every gradient.</summary>
public class LinformerGoldenTests
{
    [Theory]
    [InlineData("00_attn")]
    [InlineData("01_attn")]
    [InlineData("02_attn")]
    [InlineData("03_attn")]
    [InlineData("04_attn")]
    [InlineData("05_stack")]
    [InlineData("06_lm")]
    public void Outputs_and_gradients_are_those_of_lucidrains(string name)
    {
        using var scope = torch.NewDisposeScope();
        using var expected = new SafetensorsFile(Repository.Fixture("linformer", "expected.safetensors"));
        var description = JsonNode.Parse(File.ReadAllText(Repository.Fixture("linformer", "expected.json")))!["cases"]![name]!.AsObject();
        JsonObject arguments = description["arguments"]!.AsObject();
        Dictionary<string, Tensor> inputs = Golden.Case(expected, $"{name}/in."), weights = Golden.Case(expected, $"{name}/param.");
        Tensor Given(string key) => inputs[key].requires_grad_(true);

        // The class of the case, and what it computes.
        var config = new HfConfig(arguments.DeepClone().AsObject(), name);
        (Module model, Func<Tensor> forward) = (string)description["class"]! switch
        {
            "LinformerSelfAttention" => Attention(new LinformerAttention(
                config.Int("dim", 0), config.Int("seq_len", 0), config.Int("k", 0), config.Int("heads", 0), config.OptionalInt("dim_head"), config.Flag("one_kv_head", false),
                config.Flag("share_kv", false))),
            "Linformer" => Stack(new LinformerStack(new LinformerConfig(config))),
            _ => LanguageModel(new LinformerPretrained(config)),
        };
        (Module, Func<Tensor>) Attention(LinformerAttention attention) => (attention, () => Segment.Run(
            given => [attention.Forward(given[0]!, given[1]).Output], Given("x"), inputs.ContainsKey("context") ? Given("context") : null)[0]);
        (Module, Func<Tensor>) Stack(LinformerStack stack) => (stack, () => Segment.Run(
            given => stack.Forward(given[0]!, new ModelInputs(), checkpoint: false, null), Given("x"))[0]);
        (Module, Func<Tensor>) LanguageModel(LinformerPretrained pretrained) => (
            pretrained, () => pretrained.Forward(new Dictionary<string, Tensor> { ["input_ids"] = inputs["ids"] })["logits"]);

        using Module owned = model;
        Dictionary<string, Parameter> parameters = model.NamedParameters().ToDictionary(pair => pair.Name, pair => pair.Parameter);
        Assert.Equal(weights.Keys.Order(), parameters.Keys.Order());
        foreach ((string parameter, Tensor value) in weights) parameters[parameter].Value = value.requires_grad_(true);

        Tensor output = forward();
        string outputName = inputs.Keys.Single(key => key.StartsWith("loss_weight.", StringComparison.Ordinal))["loss_weight.".Length..];
        Golden.Forward($"{name}/{outputName}", output, expected.Read($"{name}/out.{outputName}"));
        Tensor loss = (output * inputs[$"loss_weight.{outputName}"]).sum();
        Golden.Loss($"{name}/loss", loss.detach().Number(), expected.Read($"{name}/out.loss").Number());
        Segment.Backward(loss);
        Dictionary<string, Tensor> gradients = Golden.Case(expected, $"{name}/grad.");
        double largest = gradients.Values.Max(Golden.Largest);
        foreach ((string parameter, Tensor reference) in gradients)
        {
            Tensor? actual = parameter.StartsWith("in.", StringComparison.Ordinal) ? inputs[parameter[3..]].grad : parameters[parameter].Value.grad;
            Assert.True(actual is not null, $"{name}: no gradient of {parameter}");
            Golden.Gradient($"{name}/grad.{parameter}", actual, reference, largest);
        }
    }

    [Fact]
    public void Start_values_are_those_of_lucidrains()
    {
        using Backbone model = Bodies.Load("linformer-tiny");
        Dictionary<string, Tensor> values = model.NamedParameters().ToDictionary(pair => pair.Name, pair => pair.Parameter.Value);
        // Uniform within 1 / sqrt of k = 64, of the width 128, of 4 x 128; normal with deviation 1.
        foreach ((string name, double bound) in new[] { ("0.fn.proj_k", 0.125), ("0.fn.to_q.weight", 1 / Math.Sqrt(128)), ("1.fn.w2.bias", 1 / Math.Sqrt(512)) })
        {
            Tensor value = values[$"linformer.net.layers.1.{name}"];
            Assert.InRange(Golden.Largest(value), 0.95 * bound, bound);
            Assert.InRange(value.std().Number() * Math.Sqrt(3), 0.9 * bound, 1.1 * bound);
        }
        Assert.InRange(values["pos_emb.weight"].std().Number(), 0.98, 1.02);
    }

    [Theory]
    [InlineData("\"heads\": 3", "heads (3)")]
    [InlineData("\"reversible\": true", "reversible")]
    [InlineData("\"dropout\": 1", "dropout is 1")]
    [InlineData("\"k\": 0", "\"k\" is 0")]
    public void A_configuration_that_cannot_be_is_refused_with_its_key(string key, string expected) =>
        Refusal.Of(expected, () => ModelRegistry.CreateWithHead(HfConfig.Parse($$"""{"model_type": "linformer", "dim": 16, {{key}}}""", "test")));

    [Fact]
    public void More_tokens_than_rows_are_refused()
    {
        using var attention = new LinformerAttention(8, 5, 2, 2);
        foreach ((_, Parameter parameter) in attention.NamedParameters()) parameter.Value = torch.ones(parameter.Shape);
        Refusal.Of("5 positions", () => attention.Forward(torch.ones([1, 6, 8])));
    }
}
