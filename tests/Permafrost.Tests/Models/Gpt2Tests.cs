using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;

namespace Permafrost.Tests.Models;

/// <summary>What GPT-2 refuses, and what must not depend on how the same question is put; golden numbers are in <see cref="ForwardGoldenTests"/>.</summary>
public class Gpt2Tests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();
    private readonly PretrainedModel model;

    public Gpt2Tests()
    {
        string path = TinyGpt2.Save(folder, TinyGpt2.Json(layers: 2).Replace("GPT2Model", "GPT2LMHeadModel", StringComparison.Ordinal));
        HfConfig config = HfConfig.Load(path);
        model = ModelRegistry.CreateWithHead(config);
        CheckpointReader.Load(model, ModelRegistry.Find(config), model.Prefix, path);
    }

    public void Dispose()
    {
        model.Dispose();
        scope.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void A_token_does_not_see_what_comes_after_it()
    {
        Tensor one = Logits(Ids(3, 7, 2, 9));
        Tensor other = Logits(Ids(3, 7, 5, 1));
        Close(one.narrow(1, 0, 2), other.narrow(1, 0, 2));
        Assert.False(one.select(1, 2).ValuesEqual(other.select(1, 2)));
    }

    [Fact]
    public void A_row_of_a_batch_is_computed_as_if_it_were_alone()
    {
        Tensor both = Logits(Tensors.From([3L, 7, 2, 9, 1, 0], 2, 3));
        Close(both.narrow(0, 0, 1), Logits(Ids(3, 7, 2)));
        Close(both.narrow(0, 1, 1), Logits(Ids(9, 1, 0)));
    }

    [Fact]
    public void Greedy_ids_do_not_depend_on_padding_on_the_left()
    {
        Tensor plain = model.Generate(new Dictionary<string, Tensor> { ["input_ids"] = Ids(3, 7, 2) }, 5);
        Tensor padded = model.Generate(new Dictionary<string, Tensor> { ["input_ids"] = Ids(0, 0, 3, 7, 2), ["attention_mask"] = Ids(0, 0, 1, 1, 1) }, 5);
        Assert.Equal([1, 8], plain.shape);
        Assert.Equal(plain.ToArray<long>(), padded.ToArray<long>()[2..]);
    }

    [Fact]
    public void A_generated_token_is_of_the_last_ones_type()
    {
        using var random = new Generator(5);
        foreach ((_, Parameter parameter) in model.NamedParameters()) parameter.Value.normal_(0, 1, random);  // one that does not say the same whatever it reads
        var different = new HashSet<string>();
        for (long type = 0; type < 11; type++)
        {
            var inputs = new Dictionary<string, Tensor> { ["input_ids"] = Ids(3, 7, 2), ["token_type_ids"] = Ids(1, 1, type) };
            Tensor generated = model.Generate(inputs, 4);
            for (int i = 0; i < 4; i++)
            {
                Tensor next = model.Forward(inputs)["logits"].narrow(1, 2 + i, 1).argmax(-1);
                inputs["input_ids"] = torch.cat([inputs["input_ids"], next], 1);
                inputs["token_type_ids"] = torch.cat([inputs["token_type_ids"], Ids(type)], 1);
            }
            Assert.Equal(inputs["input_ids"].ToArray<long>(), generated.ToArray<long>());
            different.Add(string.Join(' ', generated.ToArray<long>()));
        }
        Assert.True(different.Count > 1, "types make no difference");
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.Float16)]
    [InlineData(ScalarType.Bool)]
    [InlineData(ScalarType.Byte)]
    public void A_mask_of_any_type_hides_padding_from_what_is_generated(ScalarType type)
    {
        Tensor ids = Ids(0, 0, 3, 7, 2), mask = Ids(0, 0, 1, 1, 1);
        Tensor expected = model.Generate(new Dictionary<string, Tensor> { ["input_ids"] = ids, ["attention_mask"] = mask }, 5);
        Assert.Equal(expected.ToArray<long>(), model.Generate(new Dictionary<string, Tensor> { ["input_ids"] = ids, ["attention_mask"] = mask.to(type) }, 5).ToArray<long>());
        Refusal.Of("half a token", () => model.Generate(new Dictionary<string, Tensor> { ["input_ids"] = ids, ["attention_mask"] = torch.full([1, 5], 0.5) }, 5));
    }

    [Theory]
    [InlineData(ScalarType.Int32)]
    [InlineData(ScalarType.Int16)]
    [InlineData(ScalarType.Byte)]
    public void Ids_of_every_whole_type_and_positions_without_a_batch_are_taken(ScalarType type)
    {
        var wide = new Dictionary<string, Tensor> { ["input_ids"] = Tensors.From([3L, 7, 2, 9, 1, 0], 2, 3), ["position_ids"] = Tensors.From([4L, 5, 6], 1, 3), ["token_type_ids"] = Tensors.From([1L, 1, 2], 1, 3) };
        var narrow = wide.ToDictionary(pair => pair.Key, pair => pair.Value.to(type));
        narrow["position_ids"] = narrow["position_ids"].squeeze(0);
        Assert.True(model.Forward(wide)["logits"].ValuesEqual(model.Forward(narrow)["logits"]));
    }

    [Fact]
    public void Hugging_Faces_common_names_of_sizes_are_understood()
    {
        string json = """{"model_type": "gpt2", "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "max_position_embeddings": 16, "vocab_size": 11}""";
        var config = new Gpt2Config(HfConfig.Load(TinyGpt2.Configure(folder, json)));
        Assert.Equal((8, 3, 2, 16, 32), (config.Width, config.Layers, config.Heads, config.Positions, config.Inner));
        Refusal.Of("hidden_size", () => new Gpt2Config(HfConfig.Load(TinyGpt2.Configure(folder, json.Replace("8", "\"8\"", StringComparison.Ordinal)))));
    }

    [Fact]
    public void A_loss_weight_of_another_shape_than_the_states_is_refused()
    {
        using PretrainedModel headless = ModelRegistry.CreateWithHead(HfConfig.Load(TinyGpt2.Save(folder, TinyGpt2.Json())));
        CheckpointReader.Load(headless, ModelRegistry.Find(headless.Backbone.Config), headless.Prefix, folder["body"]);
        foreach (long[] shape in new long[][] { [], [8], [1, 3, 8], [2, 3], [2, 3, 9] })
            Refusal.Of("(B, T, C) = [2, 3, 8]", () => headless.Forward(new Dictionary<string, Tensor> { ["input_ids"] = torch.ones([2, 3], ScalarType.Int64), ["loss_weight"] = torch.ones(shape) }));
    }

    [Fact]
    public void Sequences_beyond_the_positions_and_vectors_of_another_width_are_refused()
    {
        Assert.Contains("16 positions", Refusal.Of("17 tokens", () => Logits(torch.zeros([1, 17], ScalarType.Int64))), StringComparison.Ordinal);
        Assert.Contains("width is 8", Refusal.Of("vectors of 9", () => model.Forward(new Dictionary<string, Tensor> { ["inputs_embeds"] = torch.zeros([1, 3, 9]) })), StringComparison.Ordinal);
        Refusal.Of("16 positions", () => model.Generate(new Dictionary<string, Tensor> { ["input_ids"] = Ids(1, 2, 3) }, 14));
        Refusal.Of("input_ids", () => model.Forward(new Dictionary<string, Tensor>()));
        Refusal.Of("on the left", () => model.Generate(new Dictionary<string, Tensor> { ["input_ids"] = Ids(1, 2, 3), ["attention_mask"] = Ids(1, 1, 0) }, 1));
        Refusal.Of("input_ids", () => model.Generate(new Dictionary<string, Tensor> { ["inputs_embeds"] = torch.zeros([1, 3, 8]) }, 1));
        Refusal.Of("two tokens", () => model.Forward(new Dictionary<string, Tensor> { ["input_ids"] = Ids(1), ["labels"] = Ids(1) }));
    }

    [Fact]
    public void Without_a_head_there_is_nothing_to_generate_with()
    {
        using PretrainedModel headless = ModelRegistry.CreateWithHead(HfConfig.Load(TinyGpt2.Configure(folder, TinyGpt2.Json())));
        Refusal.Of("GPT2LMHeadModel", () => headless.Generate(new Dictionary<string, Tensor> { ["input_ids"] = Ids(1) }, 1));
    }

    [Fact]
    public void Dropout_works_while_training_only_and_the_override_goes_before_the_configuration()
    {
        Tensor ids = Ids(3, 7, 2, 9, 4, 4, 1, 0);
        Tensor still = Logits(ids);
        Assert.True(still.ValuesEqual(Logits(ids)));
        model.train();
        Assert.False(still.ValuesEqual(Logits(ids)));  // 0.1 by the configuration's default
        model.Backbone.DropoutOverride = 0;
        Close(still, Logits(ids));
        model.Backbone.DropoutOverride = null;
        model.eval();
        Assert.True(still.ValuesEqual(Logits(ids)));
    }

    private Tensor Logits(Tensor ids) => model.Forward(new Dictionary<string, Tensor> { ["input_ids"] = ids })["logits"];

    private static Tensor Ids(params long[] ids) => Tensors.From(ids, 1, ids.Length);

    private static void Close(Tensor expected, Tensor actual) => Assert.True((expected - actual).abs().max().Number() <= 1e-5, "differs");
}
