using Permafrost.Models;

namespace Permafrost.Tests.Models;

/// <summary>Bodies cut to their first layers, as in `gpt2:1`.</summary>
public sealed class BackboneDepthTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("gpt2", "h.1.")]
    [InlineData("roberta", "layer.1.")]
    [InlineData("t5", "block.1.")]
    [InlineData("llama", "layers.1.")]
    public void The_first_layer_alone_has_the_weights_of_the_whole_body_without_the_second(string family, string second)
    {
        string path = SmallBody.Write(Path.Combine(folder.Path, family), family, withWeights: true);
        using FrozenWeights whole = FrozenWeights.Load(path), cut = FrozenWeights.Load($"{path}:1");
        using Backbone one = whole.CreateBackbone(), other = cut.CreateBackbone();
        string[] expected = [.. one.NamedParameters().Select(pair => pair.Name).Where(name => !name.Contains(second, StringComparison.Ordinal))];
        Assert.Equal(expected, other.NamedParameters().Select(pair => pair.Name));
        Assert.True(expected.Length < one.NamedParameters().Count());
        using DisposeScope scope = torch.NewDisposeScope();
        Dictionary<string, Tensor> full = one.NamedParameters().ToDictionary(pair => pair.Name, pair => pair.Parameter.Value);
        Assert.All(other.NamedParameters(), pair => Assert.True(torch.equal(full[pair.Name], pair.Parameter.Value).all().item<bool>(), pair.Name));
        Assert.NotEqual(whole.Sha256, cut.Sha256);
        Assert.NotEmpty(whole.LoadTokenizer()!.Encode("ab").Ids);
    }

    [Fact]
    public void All_layers_are_the_whole_body()
    {
        string path = SmallBody.Write(folder.Path, "gpt2", withWeights: true);
        using FrozenWeights whole = FrozenWeights.Load(path), cut = FrozenWeights.Load($"{path}:2");
        Assert.Equal(whole.Sha256, cut.Sha256);
    }

    [Fact]
    public void A_preset_is_cut_too_and_what_cannot_be_is_refused()
    {
        using FrozenWeights weights = FrozenWeights.Load("gpt2-tiny:1", "random");
        using Backbone body = weights.CreateBackbone();
        Assert.Equal(1, body.Traits.Layers);
        string Refused(string reference) => Assert.Throws<PermafrostException>(() => BackboneSource.Resolve(reference)).Message;
        Assert.Contains("the body has 2 layers; give a number from 1 to 2", Refused("gpt2-tiny:3"), StringComparison.Ordinal);
        Assert.Contains("give a number from 1 to 2", Refused("gpt2-tiny:0"), StringComparison.Ordinal);
        Assert.Contains("a lstm body cannot be cut", Refused("lstm-tiny:1"), StringComparison.Ordinal);
        Assert.Contains("'no-such' is no backbone", Refused("no-such:2"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("gpt2-tiny", "random", true)]
    [InlineData("gpt2-tiny:1", "random", true)]
    [InlineData("gpt2-tiny", "pretrained", false)]
    [InlineData("no-such-body", "random", false)]
    public void A_body_is_at_hand_where_its_weights_lie_or_are_drawn(string reference, string init, bool atHand) => Assert.Equal(atHand, BackboneSource.IsAtHand(reference, init));
}
