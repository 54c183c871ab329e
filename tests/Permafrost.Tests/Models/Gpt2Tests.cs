using Permafrost.Formats;
using Permafrost.Models;
using Permafrost.Torch;

namespace Permafrost.Tests.Models;

/// <summary>What GPT-2 refuses, and what must not depend on how the same question is put; golden numbers are in <see cref="Gpt2GoldenTests"/>.</summary>
public class Gpt2Tests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly TensorScope scope = new();
    private readonly PretrainedModel model;

    public Gpt2Tests()
    {
        string path = TinyGpt2.Save(folder, TinyGpt2.Json(layers: 2).Replace("GPT2Model", "GPT2LMHeadModel", StringComparison.Ordinal));
        HfConfig config = HfConfig.Load(path);
        model = ModelRegistry.CreateWithHead(config);
        WeightLoader.Load(model, ModelRegistry.Find(config), model.Prefix, path);
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
        Close(one.Narrow(1, 0, 2), other.Narrow(1, 0, 2));
        Assert.False(one.Select(1, 2).ValuesEqual(other.Select(1, 2)));
    }

    [Fact]
    public void A_row_of_a_batch_is_computed_as_if_it_were_alone()
    {
        Tensor both = Logits(Tensor.From([3L, 7, 2, 9, 1, 0], 2, 3));
        Close(both.Narrow(0, 0, 1), Logits(Ids(3, 7, 2)));
        Close(both.Narrow(0, 1, 1), Logits(Ids(9, 1, 0)));
    }

    [Fact]
    public void Greedy_ids_do_not_depend_on_padding_on_the_left()
    {
        Tensor plain = model.Generate(new Dictionary<string, Tensor> { ["input_ids"] = Ids(3, 7, 2) }, 5);
        Tensor padded = model.Generate(new Dictionary<string, Tensor> { ["input_ids"] = Ids(0, 0, 3, 7, 2), ["attention_mask"] = Ids(0, 0, 1, 1, 1) }, 5);
        Assert.Equal([1, 8], plain.Shape);
        Assert.Equal(plain.ToArray<long>(), padded.ToArray<long>()[2..]);
    }

    [Fact]
    public void Sequences_beyond_the_positions_and_vectors_of_another_width_are_refused()
    {
        Assert.Contains("16 positions", Refusal.Of("17 tokens", () => Logits(Tensor.Zeros([1, 17], DType.Int64))), StringComparison.Ordinal);
        Assert.Contains("width is 8", Refusal.Of("vectors of 9", () => model.Forward(new Dictionary<string, Tensor> { ["inputs_embeds"] = Tensor.Zeros([1, 3, 9]) })), StringComparison.Ordinal);
        Refusal.Of("16 positions", () => model.Generate(new Dictionary<string, Tensor> { ["input_ids"] = Ids(1, 2, 3) }, 14));
        Refusal.Of("input_ids", () => model.Forward(new Dictionary<string, Tensor>()));
        Refusal.Of("input_ids", () => model.Generate(new Dictionary<string, Tensor> { ["inputs_embeds"] = Tensor.Zeros([1, 3, 8]) }, 1));
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
        model.Train(true);
        Assert.False(still.ValuesEqual(Logits(ids)));  // 0.1 by the configuration's default
        model.Backbone.DropoutOverride = 0;
        Close(still, Logits(ids));
        model.Backbone.DropoutOverride = null;
        model.Train(false);
        Assert.True(still.ValuesEqual(Logits(ids)));
    }

    private Tensor Logits(Tensor ids) => model.Forward(new Dictionary<string, Tensor> { ["input_ids"] = ids })["logits"];

    private static Tensor Ids(params long[] ids) => Tensor.From(ids, 1, ids.Length);

    private static void Close(Tensor expected, Tensor actual) => Assert.True((expected - actual).Abs().Max().ToDouble() <= 1e-5, "differs");
}
