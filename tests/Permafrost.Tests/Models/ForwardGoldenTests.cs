using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;

namespace Permafrost.Tests.Models;

/// <summary>Every family against Hugging Face's own numbers: every output, every gradient given, greedy ids.</summary>
public class ForwardGoldenTests
{
    private static readonly string[] Decoders = ["gpt2_a", "gpt2_b", "llama_a", "llama_b", "mistral_a", "qwen2_a", "qwen3_a"];

    public static TheoryData<string, string> Cases()
    {
        var cases = new TheoryData<string, string>();
        foreach (string fixture in new[] { "bert_a", "bert_b" }.Concat(Decoders))
            foreach (string name in new[] { "ids", "full_length", "left_padded", "right_padded", "embeds", "one_token" }) cases.Add(fixture, name);
        foreach (string fixture in new[] { "t5_a", "t5_b" })
            foreach (string name in new[] { "labels", "padded", "decoder_ids", "long", "embeds" }) cases.Add(fixture, name);
        foreach (string fixture in new[] { "bart_a", "bart_b" })
            foreach (string name in new[] { "labels", "padded", "decoder_ids", "full_length", "embeds" }) cases.Add(fixture, name);
        foreach (string fixture in new[] { "longformer_a", "longformer_b" })
            foreach (string name in new[] { "global0", "local_only", "padded", "many_global", "embeds" }) cases.Add(fixture, name);
        foreach (string fixture in new[] { "vit_a", "vit_b" })
            foreach (string name in new[] { "b1", "b3" }) cases.Add(fixture, name);
        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Outputs_and_gradients_are_those_of_Hugging_Face(string fixture, string name)
    {
        using var scope = torch.NewDisposeScope();
        using var expected = new SafetensorsFile(Repository.Fixture(fixture, "expected.safetensors"));
        using PretrainedModel model = Load(fixture);
        Dictionary<string, Tensor> inputs = Golden.Case(expected, $"{name}/in.");
        bool hasLoss = inputs.ContainsKey("labels") || inputs.ContainsKey("loss_weight");
        model.WantInputGradient = hasLoss;
        foreach ((_, Parameter parameter) in model.NamedParameters()) parameter.Value.requires_grad = hasLoss && !parameter.IsBuffer;

        IReadOnlyDictionary<string, Tensor> outputs = model.Forward(inputs);

        // Decoders' rows of padded queries are undefined in the reference; BERT's are defined, and compared.
        Tensor? mask = Decoders.Contains(fixture) ? inputs.GetValueOrDefault("attention_mask") : null;
        Dictionary<string, Tensor> references = Golden.Case(expected, $"{name}/out.");
        Assert.NotEmpty(references);
        foreach ((string output, Tensor reference) in references)
        {
            if (output == "loss") Golden.Loss($"{fixture}/{name}/loss", outputs["loss"].detach().Number(), reference.Number());
            else Golden.Forward($"{fixture}/{name}/{output}", Visible(outputs[output], mask, output), Visible(reference, mask, output));
        }
        if (!hasLoss) return;

        outputs["loss"].backward();
        Dictionary<string, Tensor> gradients = Golden.Case(expected, $"{name}/grad.");
        double largest = gradients.Values.Max(Golden.Largest);
        Dictionary<string, Parameter> parameters = model.NamedParameters().ToDictionary(pair => pair.Name, pair => pair.Parameter);
        foreach ((string parameter, Tensor reference) in gradients)
        {
            Tensor? actual = parameter.StartsWith("in.", StringComparison.Ordinal) ? model.EmbeddedInputs[parameter[3..]].grad : parameters[parameter].Value.grad;
            Assert.True(actual is not null, $"{fixture}/{name}: no gradient of {parameter}");
            Golden.Gradient($"{fixture}/{name}/grad.{parameter}", actual, reference, largest);
        }
    }

    public static TheoryData<string> Generating() => [.. Decoders, "t5_a", "t5_b", "bart_a", "bart_b"];

    [Theory]
    [MemberData(nameof(Generating))]
    public void Greedy_ids_are_those_of_Hugging_Face(string fixture)
    {
        using var scope = torch.NewDisposeScope();
        using var expected = new SafetensorsFile(Repository.Fixture(fixture, "expected.safetensors"));
        using PretrainedModel model = Load(fixture);
        Tensor reference = expected.Read("generate/out.sequences");
        Dictionary<string, Tensor> inputs = Golden.Case(expected, "generate/in.");
        long given = model.Backbone.Traits.EncoderDecoder ? 1 : inputs["input_ids"].size(1);
        Tensor actual = model.Generate(inputs, (int)(reference.size(1) - given));
        Assert.Equal(reference.ToArray<long>(), actual.ToArray<long>());
    }

    [Fact]
    public void A_checkpoint_with_prefix_loads_into_the_headless_model()
    {
        string folder = Repository.Fixture("gpt2_a");
        using Backbone backbone = Bodies.Load(folder, "pretrained");
        using var weights = new SafetensorsFolder(folder);
        foreach ((string name, Parameter parameter) in backbone.NamedParameters())
        {
            using Tensor stored = weights.Read($"transformer.{name}");
            Assert.True(parameter.Value.ValuesEqual(stored), name);
        }
    }

    private static PretrainedModel Load(string fixture)
    {
        BackboneSource source = BackboneSource.Resolve(Repository.Fixture(fixture));
        PretrainedModel model = ModelRegistry.CreateWithHead(source.Config);
        CheckpointReader.Load(model, ModelRegistry.Find(source.Config), model.Prefix, source.Folder!);
        return model;
    }

    // Rows of padded queries are undefined in the reference: compared as zeros.
    private static Tensor Visible(Tensor tensor, Tensor? mask, string name)
    {
        if (mask is null) return tensor;
        Tensor rows = mask.to(tensor.dtype);
        return tensor * (name.StartsWith("attentions", StringComparison.Ordinal) ? rows.view(rows.size(0), 1, rows.size(1), 1) : rows.view(rows.size(0), rows.size(1), 1));
    }
}
