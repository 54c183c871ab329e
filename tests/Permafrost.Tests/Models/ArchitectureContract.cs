using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;

namespace Permafrost.Tests.Models;

/// <summary>
/// What every model family promises. A new one passes by a class of a few lines, its configuration in small; numbers against Hugging Face's own are compared beside it, as
/// <see cref="ForwardGoldenTests"/> does. Here: names, groups, shapes and traits; training and sharing are in the other part.
/// </summary>
public abstract partial class ArchitectureContract : IDisposable
{
    private const int B = 3, T = 6;

    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();
    private readonly Lazy<string> saved;
    private readonly HfConfig config;
    private readonly Architecture architecture;
    private readonly BackboneTraits traits;
    private readonly bool hasWeights;

    protected ArchitectureContract()
    {
        saved = new(SaveWeights);
        config = HfConfig.Load(Path.GetDirectoryName(folder.Write(Path.Combine("config", "config.json"), Config))!);
        architecture = Architecture;
        using Backbone backbone = architecture.Backbone(config);
        traits = backbone.Traits;
        hasWeights = backbone.NamedParameters().Any();
    }

    /// <summary>The <c>config.json</c> of a model of at least two layers and 8 positions, or of none at all, small enough for hundreds of steps a second.</summary>
    protected abstract string Config { get; }

    /// <summary>The family, where it is not in <see cref="ModelRegistry"/>.</summary>
    protected virtual Architecture Architecture => ModelRegistry.Find(config);

    /// <summary>H, the attention heads of a layer; 0 where there is no attention.</summary>
    protected abstract int Heads { get; }

    /// <summary>Folders among the fixtures with checkpoints of the family.</summary>
    protected virtual IReadOnlyList<string> Fixtures => [];

    /// <summary>Whether the model is told where a token stands, so that padding may come first.</summary>
    protected virtual bool TakesPositions => true;

    /// <summary>S, how many numbers a token's attention probabilities are: one for each token, where no less is seen.</summary>
    protected virtual long AttendedKeys => T;

    /// <summary>The first token's position, as the model is told it.</summary>
    protected virtual int FirstPosition => 0;

    /// <summary>Whether the last of the states between the layers is what the model returns; else its final norm comes between them.</summary>
    protected virtual bool ReturnsTheLastState => true;

    /// <summary>The family under test.</summary>
    internal string ModelType => architecture.ModelType;

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void Names_and_shapes_are_those_of_the_familys_checkpoints()
    {
        Assert.SkipWhen(Fixtures.Count == 0, $"there is no fixture of {ModelType}");
        foreach (string fixture in Fixtures)
        {
            string path = Repository.Fixture(fixture);
            using var checkpoint = new SafetensorsFolder(path);
            IEnumerable<string> weights = checkpoint.Names.Where(name => !architecture.Buffers.Any(name.EndsWith) && !architecture.HeadPrefixes.Any(name.StartsWith));
            IEnumerable<string> expected = weights.Select(name => $"{Modern(WithoutPrefix(name))} {TensorExtensions.FormatShape(checkpoint.Entry(name).Shape)}");
            using Backbone model = architecture.Backbone(HfConfig.Load(path));
            Assert.Equal(expected.Order(), model.NamedParameters().Select(pair => $"{pair.Name} {TensorExtensions.FormatShape(pair.Parameter.Shape)}").Order());
        }
    }

    private string Modern(string name)
    {
        foreach ((string ending, string old) in architecture.OldEndings.Concat(CheckpointReader.OldNorms))
            if (name.EndsWith(old, StringComparison.Ordinal)) return name[..^old.Length] + ending;
        return name;
    }

    [Fact]
    public void Every_parameter_is_in_one_group_and_every_rule_is_of_use()
    {
        using Backbone model = architecture.Backbone(config);
        string[] names = [.. model.NamedParameters().Select(pair => pair.Name)];
        Assert.Equal(names.Distinct(), names);
        // GroupOf throws for none and for two.
        (GroupName Group, int Layer)[] groups = [.. names.Select(model.GroupOf)];
        Assert.Equal(Enumerable.Range(-1, traits.Layers + 1), groups.Select(pair => pair.Layer).Append(-1).Distinct().Order());
        Assert.DoesNotContain(groups, pair => pair.Group is GroupName.Input or GroupName.Output);
        Assert.All(model.Groups, rule => Assert.True(names.Any(name => rule.Matches(name, out _)), $"no parameter is {rule.Pattern}"));
        foreach (bool vectors in new[] { false, true }) Assert.Empty(model.UnusedParameters(new BackboneUse(vectors)).Except(names));
    }

    [Fact]
    public void Outputs_have_their_shapes_and_are_given_when_asked_for()
    {
        using Backbone model = Model();
        Tensor vectors = Vectors(B, T);
        ModelOutputs plain = model.Forward(new ModelInputs(InputsEmbeds: vectors));
        Assert.Equal([B, T, traits.Width], plain.LastHiddenState.shape);
        Assert.Empty(plain.HiddenStates);
        Assert.Empty(plain.Attentions);

        ModelOutputs all = model.Forward(new ModelInputs(InputsEmbeds: vectors, OutputHiddenStates: true, OutputAttentions: true));
        Close("the last hidden state", all.LastHiddenState, plain.LastHiddenState);
        // Without decoder inputs, an encoder-decoder is its encoder.
        int layers = traits.Layers - traits.DecoderLayers;
        Assert.Equal(layers + 1, all.HiddenStates.Count);
        Assert.All(all.HiddenStates, state => Assert.Equal([B, T, traits.Width], state.shape));
        Assert.Equal(ReturnsTheLastState, all.HiddenStates[^1].ValuesEqual(all.LastHiddenState));
        if (layers > 0) Assert.False(all.HiddenStates[0].ValuesEqual(all.HiddenStates[1]));
        Assert.Equal(Heads == 0 ? 0 : layers, all.Attentions.Count);
        foreach (Tensor attention in all.Attentions)
        {
            Assert.Equal([B, Heads, T, AttendedKeys], attention.shape);
            Close("the probabilities' sums", attention.sum(-1), torch.ones([B, Heads, T]));
        }
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    public void Read_positions_are_those_of_the_whole(ScalarType type)
    {
        using Backbone model = Model(type);
        Tensor vectors = Vectors(B, T), positions = Tensors.From([5L, 0, 3, 3, 1, 2], B, 2);
        Tensor read = model.Forward(new ModelInputs(InputsEmbeds: vectors, ReadPositions: positions)).LastHiddenState;
        Assert.Equal([B, 2, traits.Width], read.shape);
        Tensor whole = Hidden(model, vectors).gather(1, positions.unsqueeze(2).expand(B, 2, traits.Width));
        Golden.Close("what is read", read, whole, (type == ScalarType.Float32 ? 5e-6 : 0.02) * Golden.Largest(whole));
    }

    [Fact]
    public void Ids_are_the_vectors_of_the_models_own_table()
    {
        using Backbone model = Model();
        if (traits.Vocabulary is not { } rows)
        {
            Refusal.Of(ModelType, () => model.EmbedTokens(torch.zeros([1, 1], ScalarType.Int64)));
            return;
        }
        Tensor ids = Tensors.From([.. Enumerable.Range(0, B * T).Select(i => i * 7L % rows)], B, T);
        ids[0, 0] = rows - 1;  // the last row is there
        Tensor vectors = model.EmbedTokens(ids);
        Assert.Equal([B, T, traits.Width], vectors.shape);
        Assert.True(model.Forward(new ModelInputs(InputIds: ids)).LastHiddenState.ValuesEqual(Hidden(model, vectors)));
    }

    [Fact]
    public void The_longest_input_fits_and_a_longer_one_is_refused()
    {
        using Backbone model = Model();
        long longest = traits.LongestInput ?? 200;
        Assert.Equal([1, longest, traits.Width], Hidden(model, Vectors(1, longest)).shape);
        if (traits.LongestInput is null) return;
        Assert.Contains($"{longest} ", Refusal.Of($"{longest + 1} tokens", () => Hidden(model, Vectors(1, longest + 1))), StringComparison.Ordinal);
        Assert.Contains($"{longest} ", Refusal.Of($"{longest + 1} tokens", () => Adapt(length: (int)longest + 1)), StringComparison.Ordinal);
    }

    [Fact]
    public void Vectors_of_another_width_are_refused()
    {
        using Backbone model = Model();
        Refusal.Of($"{traits.Width}", () => Hidden(model, torch.zeros([1, T, traits.Width + 1])));
    }

    [Fact]
    public void A_later_token_changes_what_is_before_it_unless_the_model_is_causal()
    {
        using Backbone model = Model();
        Tensor vectors = Vectors(B, T), changed = vectors.clone();
        changed.narrow(1, T - 1, 1).add_(3);
        (Tensor before, Tensor after) = (Hidden(model, vectors), Hidden(model, changed));
        Assert.False(before.narrow(1, T - 1, 1).ValuesEqual(after.narrow(1, T - 1, 1)));
        Assert.Equal(traits.Causal, before.narrow(1, 0, T - 1).contiguous().ValuesEqual(after.narrow(1, 0, T - 1).contiguous()));
    }

    [Fact]
    public void A_padded_row_gives_what_it_gives_alone()
    {
        const int Tokens = 4;
        using Backbone model = Model();
        Tensor vectors = Vectors(B, T);
        foreach (bool right in TakesPositions ? new[] { true, false } : [true])
        {
            int first = right ? 0 : T - Tokens;
            // The first row is padded, the others are whole.
            Tensor mask = torch.ones([B, T], ScalarType.Int64);
            mask[0].narrow(0, right ? Tokens : 0, T - Tokens).zero_();
            Tensor? positions = TakesPositions ? (mask.cumsum(1) - 1).clamp_min(0) + FirstPosition : null;
            Tensor Computed(Tensor given) => model.Forward(new ModelInputs(InputsEmbeds: given, AttentionMask: mask, PositionIds: positions)).LastHiddenState;

            Tensor together = Computed(vectors);
            Tensor alone = Hidden(model, vectors.narrow(0, 0, 1).narrow(1, first, Tokens).contiguous());
            Close(right ? "padded behind" : "padded in front", together.narrow(0, 0, 1).narrow(1, first, Tokens), alone);
            Close("the whole rows", together.narrow(0, 1, B - 1), Hidden(model, vectors.narrow(0, 1, B - 1).contiguous()));
            // What stands in the padding does not matter.
            Tensor other = vectors.clone();
            other[0].narrow(0, right ? Tokens : 0, T - Tokens).fill_(7);
            Assert.True(Computed(other)[0].narrow(0, first, Tokens).contiguous().ValuesEqual(together[0].narrow(0, first, Tokens).contiguous()));
        }
    }

    [Fact]
    public void Bfloat16_bodies_are_close_to_float32_ones()
    {
        using Backbone wide = Model(), rounded = Model(ScalarType.BFloat16);
        Tensor vectors = Vectors(B, T);
        (Tensor expected, Tensor actual) = (Hidden(wide, vectors), Hidden(rounded, vectors));
        Assert.Equal(ScalarType.Float32, actual.dtype);
        double cosine = (expected * actual).sum().Number() / (expected.norm().Number() * actual.norm().Number());
        Assert.True(cosine >= 0.999, $"cosine {cosine:F5}");
        Assert.Equal(hasWeights, !expected.ValuesEqual(actual));
    }

    // A row of normal numbers for each name and norm alike, so that nothing is 0 or 1 by chance.
    private string SaveWeights()
    {
        folder.Write(Path.Combine("body", "config.json"), Config);
        using var inner = torch.NewDisposeScope();
        using var random = new Generator(123);
        using Backbone backbone = architecture.Backbone(config);
        Dictionary<string, Tensor> weights = [];
        foreach ((string name, Parameter parameter) in backbone.NamedParameters()) weights[name] = torch.empty(parameter.Shape).normal_(0.1, 0.5, random);
        SafetensorsWriter.Write(folder["body", "model.safetensors"], weights);
        return folder["body"];
    }

    private FrozenWeights Weights(string init = "pretrained", long seed = 0) => Load(saved.Value, init, seed);

    private FrozenWeights Load(string path, string init = "pretrained", long seed = 0) =>
        FrozenWeights.Load(architecture, new BackboneSource(path, HfConfig.Load(path), path), init, seed);

    private Backbone Model(ScalarType type = ScalarType.Float32)
    {
        using FrozenWeights weights = Weights();
        return weights.CreateBackbone(frozenType: type);
    }

    private Tensor Vectors(long rows, long tokens, ulong seed = 1)
    {
        using var random = new Generator(seed);
        return torch.empty([rows, tokens, traits.Width]).normal_(0, 1, random);
    }

    private string WithoutPrefix(string name) => architecture.BasePrefixes.FirstOrDefault(name.StartsWith) is { } prefix ? name[prefix.Length..] : name;

    private static Tensor Hidden(Backbone model, Tensor vectors) => model.Forward(new ModelInputs(InputsEmbeds: vectors)).LastHiddenState;

    // Other shapes, other order of sums: float32's rounding.
    private static void Close(string name, Tensor actual, Tensor expected) => Golden.Close(name, actual, expected, 1e-5 * Golden.Largest(expected));
}
