using Permafrost.Models;
using Permafrost.Tokenizers;

namespace Permafrost.Tests.Models;

/// <summary>The bodies that this project pretrained itself: found by name, whole, small, and knowing English better than random weights.</summary>
public sealed class OwnBackboneTests
{
    // Written for this test, so in no training text.
    private const string Passage =
        "The old man put down his cup and looked at the rain for a long time. He had been told that the road was closed, and that nobody would come to the house before the morning. "
        + "His daughter was of another opinion, and said so.";

    public static TheoryData<string> Names => [.. OwnBackbone.All.Select(body => body.Name)];

    [Fact]
    public void They_are_beside_the_program_and_take_thirty_megabytes_at_most()
    {
        Assert.NotEmpty(OwnBackbone.All);
        Assert.All(OwnBackbone.All, body => Assert.StartsWith("permafrost-", body.Name, StringComparison.Ordinal));
        Assert.InRange(OwnBackbone.All.Sum(body => new FileInfo(Path.Combine(body.Folder, "model.safetensors")).Length), 1, 30_000_000);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void A_body_is_a_folder_with_tokenizer_and_card(string name)
    {
        BackboneSource source = BackboneSource.Resolve(name);
        OwnBackbone body = OwnBackbone.Find(name)!;
        Assert.Equal((body.Folder, null), (source.Folder, source.Note));
        Assert.InRange(body.Summary.Length, 20, 200);
        string card = File.ReadAllText(Path.Combine(body.Folder, "README.md"));
        Assert.All(["permafrost pretrain ", "bits per byte", "## Held-out text", "## Curve"], part => Assert.Contains(part, card, StringComparison.Ordinal));
        Assert.Equal(source.Config.Int("vocab_size", 0), TokenizerFiles.Load(body.Folder).VocabularySize);
        using FrozenWeights weights = FrozenWeights.Load(name), random = FrozenWeights.Load(name, "random");
        Assert.NotEqual(random.Sha256, weights.Sha256);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void A_causal_body_knows_English_better_than_its_random_weights(string name)
    {
        BackboneSource source = BackboneSource.Resolve(name);
        Assert.SkipUnless(source.Config.ModelType == "gpt2", "is asked of causal bodies");
        int[] ids = [.. TokenizerFiles.Load(source.Folder!).Encode(Passage).Ids];
        using PretrainedModel model = ModelRegistry.CreateWithHead(source.Config);
        CheckpointReader.Load(model, ModelRegistry.Find(source.Config), model.Prefix, source.Folder!);
        model.eval();
        using DisposeScope scope = torch.NewDisposeScope();
        Tensor row = torch.tensor(ids.Select(id => (long)id).ToArray()).unsqueeze(0);
        double nats = model.Forward(new Dictionary<string, Tensor> { ["input_ids"] = row, ["labels"] = row })["loss"].ToDouble();
        // Even guessing among all tokens costs the logarithm of their number.
        Assert.InRange(nats, 0.5, Math.Log(source.Config.Int("vocab_size", 0)) - 2);
    }
}
