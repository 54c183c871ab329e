using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;

namespace Permafrost.Tests.Models;

/// <summary>Every family and preset: names, shapes and groups of the parameters.</summary>
public class ModelRegistryTests
{
    public static TheoryData<string> Presets() => [.. ModelRegistry.Presets.Select(preset => preset.Name)];

    [Fact]
    public void Every_family_is_held_to_the_contract()
    {
        var held = new HashSet<string>();
        foreach (Type type in typeof(ArchitectureContract).Assembly.GetTypes().Where(type => type.IsSubclassOf(typeof(ArchitectureContract)) && !type.IsAbstract))
        {
            using var contract = (ArchitectureContract)Activator.CreateInstance(type)!;
            held.Add(contract.ModelType);
        }
        Assert.All(ModelRegistry.Architectures, architecture => Assert.Contains(architecture.ModelType, held));
    }

    [Theory]
    [MemberData(nameof(Presets))]
    public void Every_parameter_is_in_exactly_one_group_and_every_rule_has_a_parameter(string name)
    {
        HfConfig config = ModelRegistry.Presets.Single(preset => preset.Name == name).Config;
        using Backbone backbone = ModelRegistry.Find(config).Backbone(config);
        string[] parameters = [.. backbone.NamedParameters().Select(pair => pair.Name)];
        Assert.Equal(parameters.Length, parameters.Distinct().Count());
        foreach (string parameter in parameters)
        {
            GroupRule rule = Assert.Single(backbone.Groups, rule => rule.Matches(parameter, out _));
            (GroupName group, int layer) = backbone.GroupOf(parameter);
            Assert.Equal(rule.Group, group);
            if (config.ModelType == "gpt2") Assert.Equal(parameter.StartsWith("h.", StringComparison.Ordinal) ? int.Parse(parameter.Split('.')[1]) : -1, layer);
            Assert.InRange(layer, -1, backbone.Traits.Layers - 1);
            // Input and output layers are the tuned model's, not the backbone's.
            Assert.NotEqual(GroupName.Input, group);
            Assert.NotEqual(GroupName.Output, group);
        }
        Assert.All(backbone.Groups, rule => Assert.Contains(parameters, parameter => rule.Matches(parameter, out _)));
        int[] layers = [.. parameters.Select(parameter => backbone.GroupOf(parameter).Layer).Distinct().Order()];
        Assert.Equal(Enumerable.Range(0, backbone.Traits.Layers), layers.Where(layer => layer >= 0));
        // Tables and the last norm are in no layer.
        if (config.ModelType == "gpt2") Assert.Equal(-1, layers[0]);
    }

    [Theory]
    [InlineData("H.0.ln_1.weight")]
    [InlineData("wte.weight2")]
    [InlineData("xwte.weight")]
    [InlineData("h.x.ln_1.weight")]
    [InlineData("transformer.wte.weight")]
    public void A_name_that_no_rule_covers_whole_has_no_group(string parameter)
    {
        using var model = new Gpt2Model(ModelRegistry.Presets[0].Config);
        Assert.Throws<InvalidOperationException>(() => model.GroupOf(parameter));
    }

    [Fact]
    public void Names_and_shapes_of_gpt2_are_the_golden_ones()
    {
        string[] expected = [.. File.ReadLines(Path.Combine(Repository.Root, "tests", "Permafrost.Tests", "Models", "gpt2.shapes.txt")).Where(line => !line.StartsWith('#'))];
        HfConfig config = ModelRegistry.Presets.Single(preset => preset.Name == "gpt2").Config;
        using Backbone backbone = ModelRegistry.Find(config).Backbone(config);
        Assert.Equal(expected, backbone.NamedParameters().Select(pair => $"{pair.Name} {TensorExtensions.FormatShape(pair.Parameter.Shape)}"));
        Assert.Equal(124_439_808, backbone.NamedParameters().Sum(pair => pair.Parameter.Elements));
    }

    [Theory]
    [InlineData("gpt2-medium", 354_823_168)]
    [InlineData("gpt2-large", 774_030_080)]
    [InlineData("gpt2-xl", 1_557_611_200)]
    public void The_larger_presets_have_their_published_sizes(string name, long elements)
    {
        HfConfig config = ModelRegistry.Presets.Single(preset => preset.Name == name).Config;
        using Backbone backbone = ModelRegistry.Find(config).Backbone(config);
        Assert.Equal(elements, backbone.NamedParameters().Sum(pair => pair.Parameter.Elements));
    }

    [Fact]
    public void The_head_is_tied_unless_the_configuration_says_otherwise()
    {
        using PretrainedModel tied = ModelRegistry.CreateWithHead(Config("""{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}"""));
        Assert.DoesNotContain(tied.NamedParameters(), pair => pair.Name.StartsWith("lm_head", StringComparison.Ordinal));
        Assert.All(tied.NamedParameters(), pair => Assert.StartsWith("transformer.", pair.Name, StringComparison.Ordinal));
        using PretrainedModel untied = ModelRegistry.CreateWithHead(Config("""{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "tie_word_embeddings": false}"""));
        Assert.Contains(untied.NamedParameters(), pair => pair.Name == "lm_head.weight");
        using PretrainedModel headless = ModelRegistry.CreateWithHead(Config("""{"model_type": "gpt2"}"""));
        Assert.Contains(headless.NamedParameters(), pair => pair.Name == "wte.weight");
    }

    [Fact]
    public void Unknown_families_and_classes_are_refused_with_the_known_ones()
    {
        Assert.Contains("known are gpt2", Refusal.Of("'mamba'", () => ModelRegistry.Find(Config("""{"model_type": "mamba"}"""))), StringComparison.Ordinal);
        Assert.Contains("GPT2LMHeadModel", Refusal.Of("'GPT2ForTokenClassification'", () => ModelRegistry.CreateWithHead(Config("""{"model_type": "gpt2", "architectures": ["GPT2ForTokenClassification"]}"""))), StringComparison.Ordinal);
        Refusal.Of("test has no \"model_type\"", () => ModelRegistry.Find(Config("{}")));
    }

    [Theory]
    [InlineData("\"n_head\": 5", "not a multiple of n_head")]
    [InlineData("\"n_layer\": 0", "n_layer")]
    [InlineData("\"n_embd\": -768", "n_embd")]
    [InlineData("\"vocab_size\": 1.5", "vocab_size")]
    [InlineData("\"n_positions\": \"1024\"", "n_positions")]
    [InlineData("\"n_inner\": 0", "n_inner")]
    [InlineData("\"activation_function\": \"magic\"", "'magic'")]
    [InlineData("\"activation_function\": 3", "activation_function")]
    [InlineData("\"layer_norm_epsilon\": \"small\"", "layer_norm_epsilon")]
    [InlineData("\"scale_attn_weights\": \"yes\"", "scale_attn_weights")]
    public void A_configuration_that_cannot_be_is_refused_with_its_key(string key, string expected) =>
        Refusal.Of(expected, () => ModelRegistry.CreateWithHead(Config($$"""{"model_type": "gpt2", {{key}}}""")));

    private static HfConfig Config(string json) => new((JsonObject)JsonNode.Parse(json)!, "test");
}
