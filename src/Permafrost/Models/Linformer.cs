// Linformer: Wang et al. 2020, "Linformer: Self-Attention with Linear Complexity", by the conventions of lucidrains/linformer (linformer/linformer.py, LinformerLM), whose names
// and arguments its checkpoints and configuration have. The paper's encoder is pretrained on masked tokens.
// What differs: each norm adds what the layer before has computed in the same pass; the last layer asks only for the positions that are read; and there is a mask.

using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>Linformer's configuration, with the arguments of lucidrains' LinformerLM as keys; defaults are the paper's model of the size of RoBERTa base.</summary>
public sealed record LinformerConfig
{
    /// <summary>Reads the keys of a configuration.</summary>
    /// <exception cref="PermafrostException">A key holds a value that cannot be, or asks for reversible layers.</exception>
    public LinformerConfig(HfConfig config)
    {
        VocabSize = config.Int("num_tokens", 50265);
        Width = config.Int("dim", 768);
        Positions = config.Int("seq_len", 512);
        Layers = config.Int("depth", 12);
        Sums = config.Int("k", 256);
        Heads = config.Int("heads", 8);
        HeadSize = config.OptionalInt("dim_head") ?? Width / Heads;
        OneKeyHead = config.Flag("one_kv_head", false);
        SharedValues = config.Flag("share_kv", false);
        Dropout = config.Number("dropout", 0);
        if (Layers > 10_000 || Width > 1 << 20 || HeadSize > 1 << 20 || Heads > 1 << 16 || Sums > 1 << 20 || Positions > 1 << 24 || VocabSize > 1 << 26)
            throw new PermafrostException($"{config.Source}: a size (depth, dim, dim_head, heads, k, seq_len, num_tokens) is beyond anything that exists");
        if (Width % Heads != 0) throw new PermafrostException($"{config.Source}: dim ({Width}) is not a multiple of heads ({Heads})");
        if (Dropout is not (>= 0 and < 1)) throw new PermafrostException($"{config.Source}: dropout is {Dropout}; it must be at least 0 and below 1");
        if (config.Flag("reversible", false)) throw new PermafrostException($"{config.Source}: reversible is set; only layers with plain residuals are known");
    }

    /// <summary>V, the number of tokens.</summary>
    public int VocabSize { get; }

    /// <summary>C.</summary>
    public int Width { get; }

    /// <summary>The longest sequence.</summary>
    public int Positions { get; }

    /// <summary>L.</summary>
    public int Layers { get; }

    /// <summary>k, the number of sums over the sequence that a query sees.</summary>
    public int Sums { get; }

    /// <summary>H.</summary>
    public int Heads { get; }

    /// <summary>D, the size of a head.</summary>
    public int HeadSize { get; }

    /// <summary>Whether all heads share one head of keys and values.</summary>
    public bool OneKeyHead { get; }

    /// <summary>Whether the values are the keys.</summary>
    public bool SharedValues { get; }

    /// <summary>Dropout on the attention weights and within the feed-forward layers.</summary>
    public double Dropout { get; }
}

/// <summary>FeedForward: to four times the width, GELU, and back.</summary>
internal sealed class LinformerFeedForward : Module
{
    private static readonly Activation Gelu = Activations.Find("gelu", "FeedForward");

    private readonly LinformerConfig config;
    private readonly Linear first;
    private readonly Linear second;

    public LinformerFeedForward(LinformerConfig config)
    {
        this.config = config;
        first = Declare("w1", new Linear(config.Width, 4L * config.Width));
        second = Declare("w2", new Linear(4L * config.Width, config.Width));
    }

    public Tensor Forward(Tensor x, double? dropoutOverride) => second.Forward(first.Forward(x, Gelu).FusedDropout(Dropout(dropoutOverride ?? config.Dropout)));
}

/// <summary>A layer: attention and feed-forward layer, each with its norm before it, PreNorm's <c>norm</c> and <c>fn</c>.</summary>
internal sealed class LinformerLayer : Module
{
    private readonly LinformerConfig config;
    private readonly LinformerAttention attention;
    private readonly LayerNorm norm1;
    private readonly LinformerFeedForward feedForward;
    private readonly LayerNorm norm2;

    public LinformerLayer(LinformerConfig config)
    {
        this.config = config;
        attention = Declare("0.fn", new LinformerAttention(config.Width, config.Positions, config.Sums, config.Heads, config.HeadSize, config.OneKeyHead, config.SharedValues));
        norm1 = Declare("0.norm", new LayerNorm(config.Width, 1e-5));
        feedForward = Declare("1.fn", new LinformerFeedForward(config));
        norm2 = Declare("1.norm", new LayerNorm(config.Width, 1e-5));
    }

    /// <summary>The residual stream without what the layer's own feed-forward layer adds; that is the update, which the next norm adds.</summary>
    public (Tensor Stream, Tensor Update, Tensor? Probabilities) Forward(Tensor stream, Tensor? update, ModelInputs input, Tensor? readPositions, double? dropoutOverride)
    {
        // The scope frees what no gradient needs as soon as the layer is done.
        using DisposeScope scope = torch.NewDisposeScope();
        (stream, Tensor normed) = norm1.Add(stream, update, DropoutDraw.None);
        (Tensor attended, Tensor? probabilities) = attention.Forward(
            readPositions is null ? normed : normed.Rows(readPositions), normed, input.AttentionMask, input.PositionIds, dropoutOverride ?? config.Dropout, input.OutputAttentions);
        if (readPositions is not null) stream = stream.Rows(readPositions);
        (stream, normed) = norm2.Add(stream, attended, DropoutDraw.None);
        Tensor next = feedForward.Forward(normed, dropoutOverride);
        if (probabilities is not null) scope.MoveToOuter(probabilities);
        return (scope.MoveToOuter(stream), scope.MoveToOuter(next), probabilities);
    }
}

/// <summary>Linformer: the layers.</summary>
internal sealed class LinformerStack : Module
{
    private readonly LinformerLayer[] layers;

    public LinformerStack(LinformerConfig config) =>
        layers = [.. Enumerable.Range(0, config.Layers).Select(layer => Declare($"net.layers.{layer}", new LinformerLayer(config)))];

    /// <summary>The last hidden state; the states before, between and after the layers and the attention probabilities, where they are wanted.</summary>
    public Tensor[] Forward(Tensor stream, ModelInputs input, bool checkpoint, double? dropoutOverride)
    {
        List<Tensor> hiddenStates = [], attentions = [];
        Tensor? update = null;
        for (int layer = 0; layer < layers.Length; layer++)
        {
            if (input.OutputHiddenStates)
            {
                if (update is not null) stream = Sum(stream, update);
                update = null;
                hiddenStates.Add(stream);
            }
            Tensor? read = layer == layers.Length - 1 ? input.ReadPositions : null;
            (stream, update, Tensor? probabilities) = Layer(layers[layer], stream, update, input, read, checkpoint, dropoutOverride);
            if (probabilities is not null) attentions.Add(probabilities);
        }
        stream = Sum(stream, update!);
        if (input.OutputHiddenStates) hiddenStates.Add(stream);
        return [stream, .. hiddenStates, .. attentions];
    }

    private static Tensor Sum(Tensor stream, Tensor update) => Segment.Compose(inputs => inputs[0].Plus(inputs[1]), stream, update);

    private static (Tensor Stream, Tensor Update, Tensor? Probabilities) Layer(
        LinformerLayer layer, Tensor stream, Tensor? update, ModelInputs input, Tensor? read, bool checkpoint, double? dropoutOverride)
    {
        if (!checkpoint || input.OutputAttentions) return layer.Forward(stream, update, input, read, dropoutOverride);
        Tensor[] next = Segment.Checkpoint(inputs =>
        {
            (Tensor nextStream, Tensor nextUpdate, _) = layer.Forward(
                inputs[0]!, inputs[1], new ModelInputs(AttentionMask: inputs[2], PositionIds: inputs[3]), inputs[4], dropoutOverride);
            return [nextStream, nextUpdate];
        }, stream, update, input.AttentionMask, input.PositionIds, read);
        return (next[0], next[1], null);
    }
}

/// <summary>
/// LinformerLM without <c>to_logits</c>. A token's position chooses its row of <c>pos_emb</c> and of <c>proj_k</c> and <c>proj_v</c>, so padding may stand before it, where
/// <see cref="ModelInputs.PositionIds"/> say so. Upstream knows no padding: here the keys and values of tokens that <see cref="ModelInputs.AttentionMask"/> hides are zero, so that
/// they add nothing to the k sums, and a padded row gives what it gives alone.
/// </summary>
public sealed class LinformerModel : Backbone
{
    /// <summary>The family.</summary>
    public static Architecture Architecture { get; } = new()
    {
        ModelType = "linformer",
        Backbone = config => new LinformerModel(config),
        Heads = new Dictionary<string, Func<HfConfig, PretrainedModel>> { ["LinformerLM"] = config => new LinformerPretrained(config) },
        HeadPrefixes = ["to_logits."],
    };

    /// <summary>A model of the paper's (section 5: the size of RoBERTa base, 512 positions, k = 256), and a small one.</summary>
    public static IReadOnlyList<Preset> Presets { get; } = [Preset("linformer-tiny", 2, 128, 2, 1024, 64), Preset("linformer-base", 12, 768, 12, 512, 256)];

    private readonly LinformerConfig config;
    private readonly Embedding tokens;
    private readonly Embedding positions;
    private readonly LinformerStack stack;

    /// <summary>A model without weights yet: load or initialise them.</summary>
    public LinformerModel(HfConfig hfConfig)
    {
        Config = hfConfig;
        config = new LinformerConfig(hfConfig);
        Traits = new BackboneTraits(config.Width, config.Layers) { LongestInput = config.Positions, Vocabulary = config.VocabSize, GradientCheckpointing = true };
        // torch.nn.Embedding's start values.
        tokens = Declare("token_emb", new Embedding(config.VocabSize, config.Width, Initializers.Normal(1)));
        positions = Declare("pos_emb", new Embedding(config.Positions, config.Width, Initializers.Normal(1)));
        stack = Declare("linformer", new LinformerStack(config));
    }

    /// <inheritdoc/>
    public override HfConfig Config { get; }

    /// <inheritdoc/>
    public override BackboneTraits Traits { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<GroupRule> Groups { get; } =
    [
        new("token_emb.weight", GroupName.Embed),
        new("pos_emb.weight", GroupName.Pos),
        new("linformer.net.layers.{layer}.0.fn.*", GroupName.Attn),
        new("linformer.net.layers.{layer}.0.norm.*", GroupName.Ln),
        new("linformer.net.layers.{layer}.1.fn.*", GroupName.Ff),
        new("linformer.net.layers.{layer}.1.norm.*", GroupName.Ln),
    ];

    internal LinformerConfig Settings => config;

    private static Preset Preset(string name, int layers, int width, int heads, int positions, int sums) => new(
        name, $"Linformer, {layers} layers of {width}, {heads} heads, {positions} positions summed up to {sums}",
        """{"model_type": "linformer", "architectures": ["LinformerLM"], "num_tokens": 50265,""" +
        $$""" "depth": {{layers}}, "dim": {{width}}, "heads": {{heads}}, "seq_len": {{positions}}, "k": {{sums}}}""");

    /// <inheritdoc/>
    public override IEnumerable<string> UnusedParameters(BackboneUse use) => use.Vectors ? ["token_emb.weight"] : [];

    internal override string? TokenTable => "token_emb.weight";

    /// <inheritdoc/>
    public override Tensor EmbedTokens(Tensor ids) => tokens.Forward(ids);

    /// <inheritdoc/>
    public override ModelOutputs Forward(ModelInputs input)
    {
        Tensor vectors = Vectors(input.InputIds, input.InputsEmbeds);
        CheckOutputs(input);
        long T = vectors.size(1), last = input.PositionIds?.max().Integer() ?? T - 1;
        if (last >= config.Positions) throw TooLong(last + 1, config.Positions);
        Tensor[] outputs = Segment.Run(inputs => stack.Forward(
            inputs[0]!.AddPositions(positions.Weight.Value, input.PositionIds), input, GradientCheckpointing && training, DropoutOverride), vectors);
        return Outputs(outputs, input, config.Layers).Outputs;
    }
}
