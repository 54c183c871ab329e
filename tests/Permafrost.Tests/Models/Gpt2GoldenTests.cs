using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;
using Permafrost.Tests.Shared;

namespace Permafrost.Tests.Models;

/// <summary>GPT-2 against Hugging Face's own numbers: every output, every gradient given, greedy ids.</summary>
public class Gpt2GoldenTests
{
    public static TheoryData<string, string> Cases()
    {
        var cases = new TheoryData<string, string>();
        foreach (string fixture in new[] { "gpt2_a", "gpt2_b" })
            foreach (string name in new[] { "ids", "full_length", "left_padded", "right_padded", "embeds", "one_token" }) cases.Add(fixture, name);
        return cases;
    }

    [SkippableTheory]
    [MemberData(nameof(Cases))]
    public void Outputs_and_gradients_are_those_of_Hugging_Face(string fixture, string name)
    {
        using var scope = torch.NewDisposeScope();
        using var expected = new SafetensorsFile(Repository.Fixture(fixture, "expected.safetensors"));
        using PretrainedModel model = Load(fixture);
        Dictionary<string, Tensor> inputs = Golden.Case(expected, $"{name}/in.");
        bool hasLoss = inputs.ContainsKey("labels");
        model.WantInputGradient = hasLoss;
        foreach ((_, Parameter parameter) in model.NamedParameters()) parameter.Value.requires_grad = hasLoss;

        IReadOnlyDictionary<string, Tensor> outputs = model.Forward(inputs);

        Tensor? mask = inputs.GetValueOrDefault("attention_mask");
        foreach ((string output, Tensor reference) in Golden.Case(expected, $"{name}/out."))
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
            Tensor? actual = parameter == "in.inputs_embeds" ? model.EmbeddedInputs!.grad : parameters[parameter].Value.grad;
            Assert.True(actual is not null, $"{fixture}/{name}: no gradient of {parameter}");
            Golden.Gradient($"{fixture}/{name}/grad.{parameter}", actual, reference, largest);
        }
    }

    [SkippableTheory]
    [InlineData("gpt2_a")]
    [InlineData("gpt2_b")]
    public void Greedy_ids_are_those_of_Hugging_Face(string fixture)
    {
        using var scope = torch.NewDisposeScope();
        using var expected = new SafetensorsFile(Repository.Fixture(fixture, "expected.safetensors"));
        using PretrainedModel model = Load(fixture);
        Tensor reference = expected.Read("generate/out.sequences");
        Dictionary<string, Tensor> inputs = Golden.Case(expected, "generate/in.");
        Tensor actual = model.Generate(inputs, (int)(reference.size(1) - inputs["input_ids"].size(1)));
        Assert.Equal(reference.ToArray<long>(), actual.ToArray<long>());
    }

    [SkippableFact]
    public void A_checkpoint_with_prefix_loads_into_the_headless_model()
    {
        string folder = Repository.Fixture("gpt2_a");
        using Backbone backbone = BackboneSource.Resolve(folder).Load("pretrained", 0);
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
        WeightLoader.Load(model, ModelRegistry.Find(source.Config), model.Prefix, source.Folder!);
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
