// BERT: Devlin et al. 2018, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding".
// Checked against Hugging Face transformers 4.30 and 5.16, models/bert/modeling_bert.py: names, masks, segments, norms, heads, losses.
// What differs: the norm behind each layer adds the layer's result in the same pass; attention never writes its probabilities unless they are asked for;
// and the last layer computes only the positions that are read. The pooler belongs to the classes that read it, not to the backbone.

using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>What a relative of BERT calls the keys of its configuration, and what it takes where one is missing.</summary>
internal sealed record BertKeys(int Vocabulary = 30522, int DefaultLayers = 12)
{
    public string Width { get; init; } = "hidden_size";
    public string Layers { get; init; } = "num_hidden_layers";
    public string Heads { get; init; } = "num_attention_heads";
    public string Inner { get; init; } = "intermediate_size";
    public string HiddenDropout { get; init; } = "hidden_dropout_prob";
    public string AttentionDropout { get; init; } = "attention_probs_dropout_prob";
    public string Activation { get; init; } = "hidden_act";

    /// <summary>Null where it is 1e-12, whatever the configuration says.</summary>
    public string? Epsilon { get; init; } = "layer_norm_eps";

    /// <summary>Null where tokens have no types.</summary>
    public string? TokenTypes { get; init; } = "type_vocab_size";

    /// <summary>Where the configuration names none; null for none.</summary>
    public int? PadId { get; init; }

    /// <summary>Whether positions are numbered from the one behind the padding id.</summary>
    public bool PositionsBehindPadding { get; init; }
}

/// <summary>BERT's configuration, with the keys of <c>config.json</c> and the defaults of the base model.</summary>
public sealed record BertConfig
{
    /// <summary>Reads the keys of a configuration.</summary>
    /// <exception cref="PermafrostException">A key holds a value that cannot be, or asks for a variant that is not BERT's encoder.</exception>
    public BertConfig(HfConfig config) : this(config, new BertKeys()) { }

    /// <summary>Reads the configuration of a relative.</summary>
    internal BertConfig(HfConfig config, BertKeys keys)
    {
        VocabSize = config.Int("vocab_size", keys.Vocabulary);
        Positions = config.Int("max_position_embeddings", 512);
        TokenTypes = keys.TokenTypes is null ? 0 : config.Int(keys.TokenTypes, 2);
        Width = config.Int(keys.Width, 768, alias: "hidden_size");
        Layers = config.Int(keys.Layers, keys.DefaultLayers, alias: "num_hidden_layers");
        Heads = config.Int(keys.Heads, 12, alias: "num_attention_heads");
        Inner = config.Int(keys.Inner, 3072);
        HiddenDropout = config.Number(keys.HiddenDropout, 0.1);
        AttentionDropout = config.Number(keys.AttentionDropout, 0.1);
        Epsilon = keys.Epsilon is null ? 1e-12 : config.Number(keys.Epsilon, 1e-12);
        InitializerRange = config.Number("initializer_range", 0.02);
        PadId = config.OptionalInt("pad_token_id", minimum: 0) ?? keys.PadId;
        Activation = Activations.Find(config.Text(keys.Activation, "gelu")!, config.Source);
        if (Layers > 10_000 || Width > 1 << 20 || Inner > 1 << 22 || Positions > 1 << 24 || VocabSize > 1 << 26 || TokenTypes > 1 << 20)
            throw new PermafrostException($"{config.Source}: a size ({keys.Layers}, {keys.Width}, {keys.Inner}, vocab_size, ...) is beyond anything that exists");
        if (Epsilon is not (> 0 and < 1)) throw new PermafrostException($"{config.Source}: {keys.Epsilon} is {Epsilon}; it must be between 0 and 1");
        foreach (double dropout in new[] { HiddenDropout, AttentionDropout })
            if (dropout is not (>= 0 and < 1)) throw new PermafrostException($"{config.Source}: a dropout probability is {dropout}; it must be at least 0 and below 1");
        if (Width % Heads != 0) throw new PermafrostException($"{config.Source}: {keys.Width} ({Width}) is not a multiple of {keys.Heads} ({Heads})");
        string positions = config.Text("position_embedding_type", "absolute")!;
        if (positions != "absolute") throw new PermafrostException($"{config.Source}: position_embedding_type is {positions}; only absolute positions are known");
        if (config.Flag("is_decoder", false) || config.Flag("add_cross_attention", false))
            throw new PermafrostException($"{config.Source}: is_decoder or add_cross_attention is set; only the encoder is known");
        if (!keys.PositionsBehindPadding) return;
        FirstPosition = PadId!.Value + 1;
        if (FirstPosition >= Positions)
            throw new PermafrostException($"{config.Source}: max_position_embeddings is {Positions}, which leaves no positions behind that of padding (pad_token_id {PadId})");
    }

    /// <summary>V, the number of tokens.</summary>
    public int VocabSize { get; }

    /// <summary>Rows of the position table.</summary>
    public int Positions { get; }

    /// <summary>The first token's row of the position table.</summary>
    public int FirstPosition { get; }

    /// <summary>The longest sequence.</summary>
    public int LongestInput => Positions - FirstPosition;

    /// <summary>The number of segments that tokens can be told apart by; 0 where they are not.</summary>
    public int TokenTypes { get; }

    /// <summary>C.</summary>
    public int Width { get; }

    /// <summary>L.</summary>
    public int Layers { get; }

    /// <summary>H.</summary>
    public int Heads { get; }

    /// <summary>Width of the feed-forward layers.</summary>
    public int Inner { get; }

    /// <summary>Dropout on the embeddings, and on what attention and feed-forward layers give.</summary>
    public double HiddenDropout { get; }

    /// <summary>Dropout on the attention probabilities.</summary>
    public double AttentionDropout { get; }

    /// <summary>Layer norms' epsilon.</summary>
    public double Epsilon { get; }

    /// <summary>Standard deviation of the initial weights.</summary>
    public double InitializerRange { get; }

    /// <summary>The id of padding, whose vector starts at zero; null for none.</summary>
    public int? PadId { get; }

    /// <summary>Activation of the feed-forward layers and of the prediction head.</summary>
    public Activation Activation { get; }
}

/// <summary>BertEmbeddings: token, segment where a model knows segments, and position, normed.</summary>
internal sealed class BertEmbeddings : Module
{
    private readonly BertConfig config;
    private readonly Embedding positions;
    private readonly Embedding? types;
    private readonly LayerNorm norm;

    public BertEmbeddings(BertConfig config, Initializer? positionInitializer = null)
    {
        this.config = config;
        Initializer normal = Initializers.Normal(config.InitializerRange);
        Words = Declare("word_embeddings", new Embedding(config.VocabSize, config.Width, normal, config.PadId));
        positions = Declare("position_embeddings", new Embedding(config.Positions, config.Width, positionInitializer ?? normal, config.FirstPosition > 0 ? config.PadId : null));
        if (config.TokenTypes > 0) types = Declare("token_type_embeddings", new Embedding(config.TokenTypes, config.Width, normal));
        norm = Declare("LayerNorm", new LayerNorm(config.Width, config.Epsilon));
    }

    public Embedding Words { get; }

    public Tensor Forward(Tensor vectors, ModelInputs input, double? dropoutOverride)
    {
        Tensor sum = vectors;
        if (types is not null) sum = sum.AddPositions(types.Weight.Value, input.TokenTypeIds ?? torch.zeros([1, vectors.size(1)], ScalarType.Int64, vectors.device));
        sum = AddPositions(sum, input.PositionIds);
        return norm.Forward(sum, ScalarType.Float32).FusedDropout(Dropout(dropoutOverride ?? config.HiddenDropout));
    }

    private Tensor AddPositions(Tensor sum, Tensor? ids)
    {
        if (config.FirstPosition == 0) return sum.AddPositions(positions.Weight.Value, ids);
        if (ids is null) return sum.AddPositions(positions.Weight.Value, Scalars.Range(config.FirstPosition, sum.size(1), sum.device).unsqueeze(0));
        // Some may be padding's, whose row gets no gradient.
        return Segment.Compose(inputs => inputs[0].Plus(inputs[1]), sum, positions.Forward(ids));
    }
}

/// <summary>BertSelfAttention: every token sees every token that is no padding.</summary>
internal sealed class BertSelfAttention : Module
{
    private readonly BertConfig config;
    private readonly double scale;
    private readonly Linear query;
    private readonly Linear key;
    private readonly Linear value;

    public BertSelfAttention(BertConfig config)
    {
        this.config = config;
        scale = 1 / Math.Sqrt(config.Width / config.Heads);
        query = Declare("query", BertEncoder.Map(config, config.Width, config.Width));
        key = Declare("key", BertEncoder.Map(config, config.Width, config.Width));
        value = Declare("value", BertEncoder.Map(config, config.Width, config.Width));
    }

    public (Tensor Context, Tensor? Probabilities) Forward(Tensor x, ModelInputs input, Tensor? readPositions, double? dropoutOverride)
    {
        var settings = new AttentionSettings(config.Heads, scale, Causal: false, null, input.AttentionMask, Dropout(dropoutOverride ?? config.AttentionDropout));
        Tensor q = query.Forward(readPositions is null ? x : x.Rows(readPositions)), k = key.Forward(x), v = value.Forward(x);
        return Attention.Attend(q, k, v, settings, input.OutputAttentions);
    }
}

/// <summary>BertSelfOutput and BertOutput: a map, added to what went into the layer, normed.</summary>
internal sealed class BertResidual : Module
{
    private readonly BertConfig config;
    private readonly Linear dense;
    private readonly LayerNorm norm;

    public BertResidual(BertConfig config, int inputs)
    {
        this.config = config;
        dense = Declare("dense", BertEncoder.Map(config, inputs, config.Width));
        norm = Declare("LayerNorm", new LayerNorm(config.Width, config.Epsilon));
    }

    public Tensor Forward(Tensor x, Tensor stream, double? dropoutOverride) =>
        norm.Add(stream, dense.Forward(x), Dropout(dropoutOverride ?? config.HiddenDropout), ScalarType.Float32).Normed;
}

/// <summary>BertAttention: self-attention and its residual.</summary>
internal sealed class BertAttention : Module
{
    private readonly BertSelfAttention self;
    private readonly BertResidual output;

    public BertAttention(BertConfig config)
    {
        self = Declare("self", new BertSelfAttention(config));
        output = Declare("output", new BertResidual(config, config.Width));
    }

    public (Tensor Stream, Tensor? Probabilities) Forward(Tensor stream, ModelInputs input, Tensor? readPositions, double? dropoutOverride)
    {
        (Tensor context, Tensor? probabilities) = self.Forward(stream, input, readPositions, dropoutOverride);
        return (output.Forward(context, readPositions is null ? stream : stream.Rows(readPositions), dropoutOverride), probabilities);
    }
}

/// <summary>BertIntermediate: the first half of the feed-forward layer.</summary>
internal sealed class BertIntermediate : Module
{
    private readonly BertConfig config;
    private readonly Linear dense;

    public BertIntermediate(BertConfig config)
    {
        this.config = config;
        dense = Declare("dense", BertEncoder.Map(config, config.Width, config.Inner));
    }

    public Tensor Forward(Tensor x) => dense.Forward(x, config.Activation);
}

/// <summary>A layer of BERT or of a relative.</summary>
internal abstract class BertEncoderLayer : Module
{
    /// <summary>The stream behind the layer, at the positions that are read where they are given; the attention probabilities where they are asked for.</summary>
    public abstract (Tensor Stream, Tensor? Probabilities) Forward(Tensor stream, ModelInputs input, Tensor? readPositions, double? dropoutOverride);
}

/// <summary>BertLayer: attention and feed-forward layer, each with its norm behind the residual.</summary>
internal sealed class BertLayer : BertEncoderLayer
{
    private readonly BertAttention attention;
    private readonly BertIntermediate intermediate;
    private readonly BertResidual output;

    public BertLayer(BertConfig config)
    {
        attention = Declare("attention", new BertAttention(config));
        intermediate = Declare("intermediate", new BertIntermediate(config));
        output = Declare("output", new BertResidual(config, config.Inner));
    }

    public override (Tensor Stream, Tensor? Probabilities) Forward(Tensor stream, ModelInputs input, Tensor? readPositions, double? dropoutOverride)
    {
        // The scope frees what no gradient needs as soon as the layer is done.
        using DisposeScope scope = torch.NewDisposeScope();
        (stream, Tensor? probabilities) = attention.Forward(stream, input, readPositions, dropoutOverride);
        stream = output.Forward(intermediate.Forward(stream), stream, dropoutOverride);
        if (probabilities is not null) scope.MoveToOuter(probabilities);
        return (scope.MoveToOuter(stream), probabilities);
    }
}

/// <summary>What BERT and its relatives are without pooler and head: embeddings, and layers with a norm behind each residual.</summary>
public abstract class BertEncoder : Backbone
{
    private readonly BertEmbeddings embeddings;
    private readonly BertEncoderLayer[] layers;

    private protected BertEncoder(HfConfig hfConfig, BertConfig settings, string layerPrefix, Func<BertEncoderLayer> makeLayer, Initializer? positionInitializer = null)
    {
        (Config, Settings) = (hfConfig, settings);
        Traits = new BackboneTraits(settings.Width, settings.Layers) { LongestInput = settings.LongestInput, Vocabulary = settings.VocabSize, GradientCheckpointing = true };
        embeddings = Declare("embeddings", new BertEmbeddings(settings, positionInitializer));
        layers = [.. Enumerable.Range(0, settings.Layers).Select(layer => Declare($"{layerPrefix}.{layer}", makeLayer()))];
    }

    /// <inheritdoc/>
    public override HfConfig Config { get; }

    /// <inheritdoc/>
    public override BackboneTraits Traits { get; }

    /// <summary>The token table (V, C), which the prediction head shares.</summary>
    internal Embedding Tokens => embeddings.Words;

    internal BertConfig Settings { get; }

    /// <summary>A dense layer with BERT's start values: normal weights, no bias.</summary>
    internal static Linear Map(BertConfig config, long inputs, long outputs) =>
        new(inputs, outputs, weightInitializer: Initializers.Normal(config.InitializerRange), biasInitializer: Initializers.Zeros);

    /// <inheritdoc/>
    public override IEnumerable<string> UnusedParameters(BackboneUse use) => use.Vectors ? ["embeddings.word_embeddings.weight"] : [];

    internal override string? TokenTable => "embeddings.word_embeddings.weight";

    /// <inheritdoc/>
    public override Tensor EmbedTokens(Tensor ids) => Tokens.Forward(ids);

    /// <summary>Where ids (B, T) stand, where that depends on which of them are padding; null for one after the other.</summary>
    internal virtual Tensor? PositionsOf(Tensor ids) => null;

    /// <inheritdoc/>
    public override ModelOutputs Forward(ModelInputs input)
    {
        if (input.InputIds is { } ids) input = input with { PositionIds = input.PositionIds ?? PositionsOf(ids) };
        Tensor vectors = Vectors(input.InputIds, input.InputsEmbeds);
        long T = vectors.size(1);
        CheckOutputs(input);
        // Tokens whose positions are given may stand behind padding, which takes none.
        if (T > (input.PositionIds is null ? Settings.LongestInput : Settings.Positions)) throw TooLong(T, Settings.LongestInput);
        Tensor[] outputs = Segment.Run(inputs => RunLayers(inputs[0]!, input), vectors);
        return Outputs(outputs, input, Settings.Layers).Outputs;
    }

    // The last hidden state; the states before, between and after the layers and the attention probabilities, where they are wanted.
    private Tensor[] RunLayers(Tensor vectors, ModelInputs input)
    {
        var hiddenStates = new List<Tensor>();
        var attentions = new List<Tensor>();
        Tensor stream = embeddings.Forward(vectors, input, DropoutOverride);
        for (int layer = 0; layer < layers.Length; layer++)
        {
            if (input.OutputHiddenStates) hiddenStates.Add(stream);
            Tensor? read = layer == layers.Length - 1 ? input.ReadPositions : null;
            (stream, Tensor? probabilities) = Layer(layers[layer], stream, input, read);
            if (probabilities is not null) attentions.Add(probabilities);
        }
        if (input.OutputHiddenStates) hiddenStates.Add(stream);
        return [stream, .. hiddenStates, .. attentions];
    }

    private (Tensor Stream, Tensor? Probabilities) Layer(BertEncoderLayer layer, Tensor stream, ModelInputs input, Tensor? read)
    {
        if (!GradientCheckpointing || !training || input.OutputAttentions) return layer.Forward(stream, input, read, DropoutOverride);
        Tensor[] next = Segment.Checkpoint(
            inputs => [layer.Forward(inputs[0]!, new ModelInputs(AttentionMask: inputs[1]), inputs[2], DropoutOverride).Stream], stream, input.AttentionMask, read);
        return (next[0], null);
    }
}

/// <summary>BertModel without its pooler.</summary>
public sealed class BertModel : BertEncoder
{
    /// <summary>The family.</summary>
    public static Architecture Architecture { get; } = new()
    {
        ModelType = "bert",
        Backbone = config => new BertModel(config),
        Heads = new Dictionary<string, Func<HfConfig, PretrainedModel>>
        {
            ["BertModel"] = config => new BertPretrained(config, BertHead.None),
            ["BertForMaskedLM"] = config => new BertPretrained(config, BertHead.MaskedTokens),
            ["BertForPreTraining"] = config => new BertPretrained(config, BertHead.Pretraining),
        },
        BasePrefixes = ["bert."],
        Buffers = ["embeddings.position_ids", "embeddings.token_type_ids"],
        Tied = ("embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
        HeadPrefixes = ["cls.", "pooler.", "bert.pooler.", "classifier.", "qa_outputs."],
    };

    /// <summary>Configurations that were published, and small ones.</summary>
    public static IReadOnlyList<Preset> Presets { get; } =
    [
        Preset("bert-mini", 4, 256, 4), Preset("bert-base", 12, 768, 12), Preset("bert-large", 24, 1024, 16),
    ];

    /// <summary>The groups of BERT and RoBERTa, whose parameters have the same names.</summary>
    internal static readonly IReadOnlyList<GroupRule> AllGroups =
    [
        new("embeddings.word_embeddings.weight", GroupName.Embed),
        new("embeddings.token_type_embeddings.weight", GroupName.Embed),
        new("embeddings.position_embeddings.weight", GroupName.Pos),
        new("embeddings.LayerNorm.*", GroupName.Ln),
        new("encoder.layer.{layer}.attention.self.*", GroupName.Attn),
        new("encoder.layer.{layer}.attention.output.dense.*", GroupName.Attn),
        new("encoder.layer.{layer}.attention.output.LayerNorm.*", GroupName.Ln),
        new("encoder.layer.{layer}.intermediate.*", GroupName.Ff),
        new("encoder.layer.{layer}.output.dense.*", GroupName.Ff),
        new("encoder.layer.{layer}.output.LayerNorm.*", GroupName.Ln),
    ];

    /// <summary>A model without weights yet: load or initialise them.</summary>
    public BertModel(HfConfig hfConfig) : this(hfConfig, new BertConfig(hfConfig)) { }

    private BertModel(HfConfig hfConfig, BertConfig config) : base(hfConfig, config, "encoder.layer", () => new BertLayer(config)) { }

    /// <inheritdoc/>
    public override IReadOnlyList<GroupRule> Groups => AllGroups;

    private static Preset Preset(string name, int layers, int width, int heads) => new(name, $"BERT, {layers} layers of {width}, {heads} heads, 512 positions",
        """{"model_type": "bert", "architectures": ["BertForMaskedLM"],""" +
        $$""" "num_hidden_layers": {{layers}}, "hidden_size": {{width}}, "num_attention_heads": {{heads}}, "intermediate_size": {{4 * width}}, "pad_token_id": 0}""");
}
