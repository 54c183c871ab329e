using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;

namespace Permafrost.Tests.Models;

/// <summary>What only ViT has: pixels, patches, the class token, classes of pictures.</summary>
public class VitTests
{
    // Pictures and patches that are not square, pixels that fill no patch, an odd number of numbers in a patch.
    private const string Small = """
        {"model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
         "image_size": [13, 17], "patch_size": [3, 5], "num_channels": 1, "initializer_range": 0.3
        """;

    [Fact]
    public void Patches_are_mapped_as_a_convolution_maps_them()
    {
        using var scope = torch.NewDisposeScope();
        using var random = new Generator(3);
        var map = new PatchProjection(channels: 3, height: 2, width: 3, outputs: 5, Initializers.Normal(1));
        foreach ((_, Parameter parameter) in map.NamedParameters())
        {
            parameter.Value = torch.empty(parameter.Shape).normal_(0, 1, random);
            parameter.Train();
        }
        Tensor pixels = torch.empty([2, 3, 7, 10]).normal_(0, 1, random), weight = map.Weight.Value.detach().clone().requires_grad_(true);
        Tensor other = pixels.clone().requires_grad_(true), scale = torch.empty([2, 9, 5]).normal_(0, 1, random);
        pixels.requires_grad = true;
        Tensor actual = Segment.Run(map.Forward, pixels);
        Tensor expected = torch.nn.functional.conv2d(other, weight, map.Bias.Value.detach(), strides: [2L, 3L]).flatten(2).transpose(1, 2);
        (actual * scale).sum().backward();
        (expected * scale).sum().backward();
        Golden.Forward("patches", actual, expected);
        Golden.Gradient("pixels", pixels.grad!, other.grad!, 0);
        Golden.Gradient("weight", map.Weight.Value.grad!, weight.grad!, 0);
        Golden.Gradient("bias", map.Bias.Value.grad!, scale.sum([0L, 1L]), 0);
    }

    [Fact]
    public void Vectors_stand_where_patches_stand_and_no_class_token_comes_before_them()
    {
        using var scope = torch.NewDisposeScope();
        using Backbone model = Body();
        Dictionary<string, Tensor> weights = model.NamedParameters().ToDictionary(pair => pair.Name, pair => pair.Parameter.Value);
        Tensor table = weights["embeddings.position_embeddings"].squeeze(0), pixels = Pixels(2);
        Assert.Equal(12, model.Traits.LongestInput);
        Tensor patches = torch.nn.functional.conv2d(
            pixels, weights["embeddings.patch_embeddings.projection.weight"], weights["embeddings.patch_embeddings.projection.bias"], strides: [3L, 5L]).flatten(2).transpose(1, 2);

        ModelOutputs picture = model.Forward(new ModelInputs(OutputHiddenStates: true) { PixelValues = pixels });
        Tensor tokens = torch.cat([weights["embeddings.cls_token"].expand(2, 1, 16), patches], 1) + table;
        Assert.Equal([2, 13, 16], picture.LastHiddenState.shape);
        Golden.Forward("tokens", picture.HiddenStates[0], tokens);

        Tensor vectors = patches.narrow(1, 2, 5).contiguous();
        ModelOutputs alone = model.Forward(new ModelInputs(InputsEmbeds: vectors, OutputHiddenStates: true));
        Golden.Forward("vectors", alone.HiddenStates[0], vectors + table.narrow(0, 1, 5));
        ModelOutputs placed = model.Forward(new ModelInputs(InputsEmbeds: vectors, PositionIds: torch.tensor(new long[,] { { 2, 3, 4, 5, 6 } }), OutputHiddenStates: true));
        Golden.Forward("placed vectors", placed.HiddenStates[0], tokens.narrow(1, 3, 5));
        Assert.Throws<ArgumentException>(() => model.Forward(new ModelInputs(AttentionMask: torch.ones([2, 13])) { PixelValues = pixels }));
        Assert.Throws<ArgumentException>(() => model.Forward(new ModelInputs()));
    }

    [Fact]
    public void What_is_read_of_a_picture_is_that_of_the_whole()
    {
        using var scope = torch.NewDisposeScope();
        using Backbone model = Body();
        Tensor pixels = Pixels(2), positions = torch.tensor(new long[,] { { 0, 12 }, { 4, 0 } });
        Tensor whole = model.Forward(new ModelInputs { PixelValues = pixels }).LastHiddenState;
        Tensor read = model.Forward(new ModelInputs(ReadPositions: positions) { PixelValues = pixels }).LastHiddenState;
        Golden.Forward("what is read", read, whole.gather(1, positions.unsqueeze(2).expand(2, 2, 16)));
    }

    [Fact]
    public void Pictures_in_bfloat16_are_close_to_those_in_float32()
    {
        using var scope = torch.NewDisposeScope();
        using Backbone wide = Body(), rounded = Body(ScalarType.BFloat16);
        Tensor pixels = Pixels(3);
        var input = new ModelInputs { PixelValues = pixels };
        Tensor expected = wide.Forward(input).LastHiddenState, actual = rounded.Forward(input).LastHiddenState;
        Assert.Equal(ScalarType.Float32, actual.dtype);
        double cosine = (expected * actual).sum().Number() / (expected.norm().Number() * actual.norm().Number());
        Assert.True(cosine >= 0.999, $"cosine {cosine:F5}");
        Assert.False(expected.ValuesEqual(actual));
    }

    [Fact]
    public void The_loss_of_classes_is_chosen_as_Hugging_Face_chooses_it()
    {
        using var scope = torch.NewDisposeScope();
        Tensor logits = torch.tensor(new[,] { { 0.5f, -1, 2 }, { 0, 1, -0.5f } }), single = torch.tensor(new[,] { { 0.5f }, { -2 } });
        double Loss(Tensor given, Tensor labels, string keys = "") =>
            ForwardInputs.ClassLoss(new Dictionary<string, Tensor> { ["labels"] = labels }, given, HfConfig.Parse($"{{{keys}}}", "here"))!.Number();

        double[] sums = [Math.Exp(0.5) + Math.Exp(-1) + Math.Exp(2), 1 + Math.Exp(1) + Math.Exp(-0.5)];
        Assert.Equal((Math.Log(sums[0]) - 2 + Math.Log(sums[1]) - 0) / 2, Loss(logits, torch.tensor(new long[] { 2, 0 })), 5);
        Assert.Equal(Math.Log(sums[1]) - 1, Loss(logits, torch.tensor(new[] { -100, 1 })), 5);
        Assert.Equal((0.25 + 9) / 2, Loss(single, torch.tensor(new[] { 1f, 1f })), 5);
        Assert.Equal((0.25 + 9) / 2, Loss(single, torch.tensor(new long[] { 1, 1 })), 5);
        double[] bits = [0.5, -1, 2, 0, 1, -0.5], wanted = [1, 0, 1, 0, 0, 1];
        double binary = bits.Zip(wanted, (bit, want) => Math.Log(1 + Math.Exp(bit)) - want * bit).Average();
        Assert.Equal(binary, Loss(logits, torch.tensor(new[,] { { 1f, 0, 1 }, { 0, 0, 1 } })), 5);
        Assert.Equal(binary, Loss(logits, torch.tensor(new long[,] { { 1, 0, 1 }, { 0, 0, 1 } }), "\"problem_type\": \"multi_label_classification\""), 5);
        Assert.Null(ForwardInputs.ClassLoss(new Dictionary<string, Tensor>(), logits, HfConfig.Parse("{}", "here")));

        Refusal.Of("labels holds 3", () => Loss(logits, torch.tensor(new long[] { 3, 0 })));
        Refusal.Of("(B) = (2)", () => Loss(logits, torch.tensor(new long[] { 1 })));
        Refusal.Of("(B, classes) = (2, 3)", () => Loss(logits, torch.tensor(new[] { 1f, 2f })));
        Refusal.Of("whole numbers", () => Loss(logits, torch.tensor(new[] { 1f, 2f }), "\"problem_type\": \"single_label_classification\""));
        Refusal.Of("problem_type is guess", () => Loss(logits, torch.tensor(new long[] { 1, 0 }), "\"problem_type\": \"guess\""));
    }

    [Theory]
    [InlineData("\"id2label\": {\"0\": \"a\", \"1\": \"b\", \"2\": \"c\"}, \"num_labels\": 7", 3)]
    [InlineData("\"num_labels\": 7", 7)]
    [InlineData("\"problem_type\": null", 2)]
    public void Classes_are_as_many_as_the_configuration_names(string keys, long classes)
    {
        using PretrainedModel model = ModelRegistry.CreateWithHead(Config(keys));
        Assert.Equal([classes, 16], model.NamedParameters().Single(pair => pair.Name == "classifier.weight").Parameter.Shape);
    }

    [Theory]
    [InlineData("\"patch_size\": 14", "patch_size (14 by 14) is larger than image_size (13 by 17)")]
    [InlineData("\"image_size\": [224]", "\"image_size\" is [224]")]
    [InlineData("\"image_size\": [224, 0]", "\"image_size\"")]
    [InlineData("\"patch_size\": 0", "\"patch_size\"")]
    [InlineData("\"num_attention_heads\": 3", "not a multiple of num_attention_heads")]
    [InlineData("\"hidden_dropout_prob\": 1", "dropout")]
    [InlineData("\"hidden_act\": \"magic\"", "'magic'")]
    [InlineData("\"id2label\": {}", "id2label")]
    [InlineData("\"initializer_range\": 3", "initializer_range")]
    public void A_configuration_that_cannot_be_is_refused_with_its_key(string keys, string expected) =>
        Refusal.Of(expected, () => ModelRegistry.CreateWithHead(Config(keys)));

    [Fact]
    public void Pictures_of_another_size_are_refused()
    {
        using var scope = torch.NewDisposeScope();
        using PretrainedModel model = ModelRegistry.CreateWithHead(Config("\"num_labels\": 2"));
        Refusal.Of("pixel_values is not among the inputs", () => model.Forward(new Dictionary<string, Tensor>()));
        foreach (long[] shape in new long[][] { [1, 3, 13, 17], [1, 1, 17, 13], [1, 13, 17], [0, 1, 13, 17] })
            Refusal.Of("(B, channels, height, width) = (B, 1, 13, 17)", () => model.Forward(new Dictionary<string, Tensor> { ["pixel_values"] = torch.zeros(shape) }));
    }

    [Fact]
    public void Start_values_are_normal_without_numbers_beyond_the_bound()
    {
        using var scope = torch.NewDisposeScope();
        using Generator first = new(1), again = new(1);
        Tensor drawn = torch.empty([100, 50]), same = torch.empty([100, 50]);
        Initializers.TruncatedNormal(1)(drawn, first);
        Initializers.TruncatedNormal(1)(same, again);
        Assert.True(drawn.ValuesEqual(same));
        Assert.InRange(Golden.Largest(drawn), 1.9, 2);
        // The standard deviation of a normal number that is cut at two of its own.
        Assert.Equal(0.880, drawn.std().Number(), 0.03);
    }

    private static HfConfig Config(string keys)
    {
        // A later key takes the place of an earlier one.
        var config = (System.Text.Json.Nodes.JsonObject)System.Text.Json.Nodes.JsonNode.Parse(Small + "}")!;
        foreach ((string key, System.Text.Json.Nodes.JsonNode? value) in System.Text.Json.Nodes.JsonNode.Parse($"{{{keys}}}")!.AsObject()) config[key] = value?.DeepClone();
        return new HfConfig(config, "here");
    }

    private static Backbone Body(ScalarType type = ScalarType.Float32)
    {
        using FrozenWeights weights = FrozenWeights.Draw(VitModel.Architecture, Config(""), seed: 2);
        return weights.CreateBackbone(frozenType: type);
    }

    private static Tensor Pixels(long pictures)
    {
        using var random = new Generator(4);
        return torch.empty([pictures, 1, 13, 17]).normal_(0, 1, random);
    }
}
