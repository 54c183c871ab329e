// Attention without feed-forward layers: the control of one random attention layer. Tan et al. 2024, "Are Language Models Actually Useful for Time Series Forecasting?",
// arXiv 2406.16964, put one attention layer where the language model was, and lose nothing. A layer here is a pre-norm transformer's (Vaswani et al. 2017; Radford et al. 2019)
// without its second half: x + attention(norm(x)), learned positions before the first layer and a norm behind the last, so that fpt trains here what it trains in GPT-2.

using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>The configuration of layers of attention alone.</summary>
public sealed record AttentionOnlyConfig
{
    /// <summary>Reads the keys of a configuration.</summary>
    /// <exception cref="PermafrostException">A key holds a value that cannot be.</exception>
    public AttentionOnlyConfig(HfConfig config)
    {
        Width = config.Int("hidden_size", 768);
        Layers = config.Int("num_hidden_layers", 1);
        Heads = config.Int("num_attention_heads", Math.Max(1, Width / 64));
        Positions = config.Int("max_position_embeddings", 1024);
        Causal = config.Flag("is_causal", true);
        Dropout = config.Number("dropout", 0.1);
        Epsilon = config.Number("layer_norm_eps", 1e-5);
        InitializerRange = config.Number("initializer_range", 0.02);
        if (Layers > 10_000 || Width > 1 << 20 || Positions > 1 << 24)
            throw new PermafrostException($"{config.Source}: num_hidden_layers, hidden_size or max_position_embeddings is beyond anything that exists");
        if (Epsilon is not (> 0 and < 1)) throw new PermafrostException($"{config.Source}: layer_norm_eps is {Epsilon}; it must be between 0 and 1");
        if (Dropout is not (>= 0 and < 1)) throw new PermafrostException($"{config.Source}: dropout is {Dropout}; it must be at least 0 and below 1");
        if (InitializerRange < 0) throw new PermafrostException($"{config.Source}: initializer_range is {InitializerRange}; it must not be negative");
        if (Width % Heads != 0) throw new PermafrostException($"{config.Source}: hidden_size ({Width}) is not a multiple of num_attention_heads ({Heads})");
    }

    /// <summary>C.</summary>
    public int Width { get; }

    /// <summary>L.</summary>
    public int Layers { get; }

    /// <summary>H.</summary>
    public int Heads { get; }

    /// <summary>The longest sequence.</summary>
    public int Positions { get; }

    /// <summary>Whether a token only sees those before it, as in GPT-2.</summary>
    public bool Causal { get; }

    /// <summary>Dropout on the inputs, the attention probabilities, and what attention gives.</summary>
    public double Dropout { get; }

    /// <summary>Layer norms' epsilon.</summary>
    public double Epsilon { get; }

    /// <summary>Standard deviation of the initial weights.</summary>
    public double InitializerRange { get; }
}

/// <summary>A norm, and attention.</summary>
internal sealed class AttentionOnlyLayer : Module
{
    private readonly AttentionOnlyConfig config;
    private readonly double scale;
    private readonly LayerNorm norm;
    private readonly Linear query, key, value, projection;

    public AttentionOnlyLayer(AttentionOnlyConfig config)
    {
        this.config = config;
        scale = 1 / Math.Sqrt(config.Width / config.Heads);
        norm = Declare("norm", new LayerNorm(config.Width, config.Epsilon));
        Linear Map(string name) => Declare(name, new Linear(config.Width, config.Width, true, Initializers.Normal(config.InitializerRange), Initializers.Zeros));
        (query, key, value, projection) = (Map("attention.query"), Map("attention.key"), Map("attention.value"), Map("attention.output"));
    }

    /// <summary>The residual stream without what the attention adds; that is the update, which the next norm adds.</summary>
    public (Tensor Stream, Tensor Update, Tensor? Probabilities) Forward(Tensor stream, Tensor? update, ModelInputs input, Tensor? readPositions, double? dropoutOverride)
    {
        double dropout = dropoutOverride ?? config.Dropout;
        // The scope frees what no gradient needs as soon as the layer is done.
        using DisposeScope scope = torch.NewDisposeScope();
        (stream, Tensor x) = norm.Add(stream, update, Dropout(dropout));
        var settings = new AttentionSettings(config.Heads, scale, config.Causal, config.Causal ? readPositions : null, input.AttentionMask, Dropout(dropout, 1));
        Tensor q = query.Forward(readPositions is null ? x : x.Rows(readPositions)), k = key.Forward(x), v = value.Forward(x);
        (Tensor attended, Tensor? probabilities) = Attention.Attend(q, k, v, settings, input.OutputAttentions);
        if (probabilities is not null) scope.MoveToOuter(probabilities);
        if (readPositions is not null) stream = stream.Rows(readPositions);
        return (scope.MoveToOuter(stream), scope.MoveToOuter(projection.Forward(attended)), probabilities);
    }

    /// <summary>The residual stream with what the layer before has computed, as this layer's norm adds it.</summary>
    public Tensor AddUpdate(Tensor stream, Tensor update, double? dropoutOverride) =>
        Segment.Compose(inputs => inputs[0].Plus(inputs[1]), stream, update.FusedDropout(Dropout(dropoutOverride ?? config.Dropout)));
}

/// <summary>Layers of attention alone, one unless told otherwise, as a backbone. It takes vectors only.</summary>
public sealed class AttentionOnlyModel : Backbone
{
    /// <summary>The family.</summary>
    public static Architecture Architecture { get; } = new()
    {
        ModelType = "attention-only",
        Backbone = config => new AttentionOnlyModel(config),
        Heads = new Dictionary<string, Func<HfConfig, PretrainedModel>> { ["AttentionOnly"] = config => new VectorPretrained(new AttentionOnlyModel(config)) },
    };

    /// <summary>One layer, as wide as the bodies that it is compared with.</summary>
    public static IReadOnlyList<Preset> Presets { get; } = [Preset("one-attention-tiny", 128, 2), Preset("one-attention", 768, 12)];

    private readonly AttentionOnlyConfig config;
    private readonly Embedding positions;
    private readonly AttentionOnlyLayer[] layers;
    private readonly LayerNorm finalNorm;

    /// <summary>A model without weights yet: load or draw them.</summary>
    public AttentionOnlyModel(HfConfig hfConfig)
    {
        Config = hfConfig;
        config = new AttentionOnlyConfig(hfConfig);
        Traits = new BackboneTraits(config.Width, config.Layers) { LongestInput = config.Positions, Causal = config.Causal, GradientCheckpointing = true };
        positions = Declare("positions", new Embedding(config.Positions, config.Width, Initializers.Normal(config.InitializerRange)));
        layers = [.. Enumerable.Range(0, config.Layers).Select(layer => Declare($"layers.{layer}", new AttentionOnlyLayer(config)))];
        finalNorm = Declare("norm", new LayerNorm(config.Width, config.Epsilon));
    }

    /// <inheritdoc/>
    public override HfConfig Config { get; }

    /// <inheritdoc/>
    public override BackboneTraits Traits { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<GroupRule> Groups { get; } =
    [
        new("positions.weight", GroupName.Pos), new("layers.{layer}.norm.*", GroupName.Ln), new("layers.{layer}.attention.*", GroupName.Attn), new("norm.*", GroupName.Ln),
    ];

    private static Preset Preset(string name, int width, int heads) => new(name, $"control: one causal attention layer of {width}, {heads} heads, 1024 positions",
        $$"""{"model_type": "attention-only", "architectures": ["AttentionOnly"], "hidden_size": {{width}}, "num_hidden_layers": 1, "num_attention_heads": {{heads}},""" +
        """ "max_position_embeddings": 1024, "is_causal": true}""");

    /// <inheritdoc/>
    public override ModelOutputs Forward(ModelInputs input)
    {
        Tensor vectors = Vectors(input.InputIds, input.InputsEmbeds);
        if (vectors.size(1) > Traits.LongestInput) throw TooLong(vectors.size(1), Traits.LongestInput.Value);
        CheckOutputs(input);
        Tensor[] outputs = Segment.Run(inputs => RunLayers(inputs[0]!, input), vectors);
        return Outputs(outputs, input, config.Layers).Outputs;
    }

    // The last hidden state; the states between the layers and the attention probabilities, where they are wanted.
    private Tensor[] RunLayers(Tensor vectors, ModelInputs input)
    {
        var hiddenStates = new List<Tensor>();
        var attentions = new List<Tensor>();
        double dropout = DropoutOverride ?? config.Dropout;
        Tensor stream = vectors.AddPositions(positions.Weight.Value, input.PositionIds).FusedDropout(Dropout(dropout));
        Tensor? update = null;
        for (int layer = 0; layer < layers.Length; layer++)
        {
            if (input.OutputHiddenStates)
            {
                if (update is not null) stream = layers[layer].AddUpdate(stream, update, DropoutOverride);
                update = null;
                hiddenStates.Add(stream);
            }
            (stream, update, Tensor? probabilities) = Layer(layers[layer], stream, update, input, layer == layers.Length - 1 ? input.ReadPositions : null);
            if (probabilities is not null) attentions.Add(probabilities);
        }
        (_, Tensor hidden) = finalNorm.Add(stream, update, Dropout(dropout, 1), ScalarType.Float32);
        if (input.OutputHiddenStates) hiddenStates.Add(hidden);
        return [hidden, .. hiddenStates, .. attentions];
    }

    private (Tensor Stream, Tensor Update, Tensor? Probabilities) Layer(AttentionOnlyLayer layer, Tensor stream, Tensor? update, ModelInputs input, Tensor? read)
    {
        if (!GradientCheckpointing || !training || input.OutputAttentions) return layer.Forward(stream, update, input, read, DropoutOverride);
        Tensor[] next = Segment.Checkpoint(inputs =>
        {
            (Tensor nextStream, Tensor nextUpdate, _) = layer.Forward(inputs[0]!, inputs[1], new ModelInputs(AttentionMask: inputs[2]), inputs[3], DropoutOverride);
            return [nextStream, nextUpdate];
        }, stream, update, input.AttentionMask, read);
        return (next[0], next[1], null);
    }
}
