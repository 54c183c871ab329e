// BART: Lewis et al. 2020, "BART: Denoising Sequence-to-Sequence Pre-training for Natural Language Generation, Translation, and Comprehension".
// Checked against Hugging Face transformers 4.30, models/bart/modeling_bart.py: names, positions from row 2 on, norms behind residuals, masks, losses.
// What differs: the norm behind each layer adds the layer's result in the same pass; attention never writes its probabilities unless they are asked for;
// and the encoder's last layer computes only the positions that are read. No layer is dropped at random (encoder_layerdrop, decoder_layerdrop).

using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>BART's configuration, with the keys of <c>config.json</c> and the defaults of the large model.</summary>
public sealed record BartConfig
{
    /// <summary>Reads the keys of a configuration.</summary>
    /// <exception cref="PermafrostException">A key holds a value that cannot be.</exception>
    public BartConfig(HfConfig config)
    {
        VocabSize = config.Int("vocab_size", 50265);
        Positions = config.Int("max_position_embeddings", 1024);
        Width = config.Int("d_model", 1024);
        Layers = config.Int("encoder_layers", 12);
        DecoderLayers = config.Int("decoder_layers", 12);
        Heads = config.Int("encoder_attention_heads", 16);
        DecoderHeads = config.Int("decoder_attention_heads", 16);
        Inner = config.Int("encoder_ffn_dim", 4096);
        DecoderInner = config.Int("decoder_ffn_dim", 4096);
        Dropout = config.Number("dropout", 0.1);
        AttentionDropout = config.Number("attention_dropout", 0);
        ActivationDropout = config.Number("activation_dropout", 0);
        InitializerRange = config.Number("init_std", 0.02);
        EmbeddingScale = config.Flag("scale_embedding", false) ? Math.Sqrt(Width) : 1;
        PadId = config.OptionalInt("pad_token_id", 0) ?? 1;
        DecoderStart = config.OptionalInt("decoder_start_token_id", 0) ?? config.OptionalInt("eos_token_id", 0) ?? 2;
        Activation = Activations.Find(config.Text("activation_function", "gelu")!, config.Source);
        if (Layers > 10_000 || DecoderLayers > 10_000 || Width > 1 << 20 || Inner > 1 << 22 || DecoderInner > 1 << 22 || Positions > 1 << 24 || VocabSize > 1 << 26)
            throw new PermafrostException($"{config.Source}: a size (encoder_layers, d_model, encoder_ffn_dim, vocab_size, ...) is beyond anything that exists");
        foreach ((string key, double dropout) in new[] { ("dropout", Dropout), ("attention_dropout", AttentionDropout), ("activation_dropout", ActivationDropout) })
            if (dropout is not (>= 0 and < 1)) throw new PermafrostException($"{config.Source}: {key} is {dropout}; it must be at least 0 and below 1");
        foreach ((string key, int heads) in new[] { ("encoder_attention_heads", Heads), ("decoder_attention_heads", DecoderHeads) })
            if (Width % heads != 0) throw new PermafrostException($"{config.Source}: d_model ({Width}) is not a multiple of {key} ({heads})");
        if (Math.Max(DecoderStart, PadId) >= VocabSize)
            throw new PermafrostException($"{config.Source}: decoder_start_token_id ({DecoderStart}) or pad_token_id ({PadId}) is not among vocab_size ({VocabSize}) tokens");
    }

    /// <summary>V, the number of tokens.</summary>
    public int VocabSize { get; }

    /// <summary>The longest sequence on either side.</summary>
    public int Positions { get; }

    /// <summary>C.</summary>
    public int Width { get; }

    /// <summary>Layers of the encoder.</summary>
    public int Layers { get; }

    /// <summary>Layers of the decoder.</summary>
    public int DecoderLayers { get; }

    /// <summary>H of the encoder.</summary>
    public int Heads { get; }

    /// <summary>H of the decoder.</summary>
    public int DecoderHeads { get; }

    /// <summary>Width of the encoder's feed-forward layers.</summary>
    public int Inner { get; }

    /// <summary>Width of the decoder's feed-forward layers.</summary>
    public int DecoderInner { get; }

    /// <summary>Dropout on the embeddings, and on what attention and feed-forward layers give.</summary>
    public double Dropout { get; }

    /// <summary>Dropout on the attention probabilities.</summary>
    public double AttentionDropout { get; }

    /// <summary>Dropout inside feed-forward layers.</summary>
    public double ActivationDropout { get; }

    /// <summary>Standard deviation of the initial weights.</summary>
    public double InitializerRange { get; }

    /// <summary>What rows of the token table are multiplied with.</summary>
    public double EmbeddingScale { get; }

    /// <summary>The id of padding, whose row gets no gradient where it is looked up.</summary>
    public int PadId { get; }

    /// <summary>The token that a decoder starts from.</summary>
    public int DecoderStart { get; }

    /// <summary>Activation of the feed-forward layers.</summary>
    public Activation Activation { get; }
}

/// <summary>What a layer may see, and how it is run.</summary>
/// <param name="KeyMask">(B, S) of the tokens that it attends to; null when nothing is padded.</param>
/// <param name="Causal">Whether a token sees only those before it.</param>
/// <param name="EncoderMask">(B, S) of the encoder's tokens.</param>
/// <param name="OutputAttentions">Whether probabilities are wanted.</param>
/// <param name="Cache">Keys and values of the tokens before.</param>
/// <param name="DropoutOverride">The probability of every dropout; null for the configuration's.</param>
internal sealed record BartSight(Tensor? KeyMask, bool Causal, Tensor? EncoderMask, bool OutputAttentions, KeyValueCache? Cache, double? DropoutOverride);

/// <summary>BartAttention: self-attention, or attention to what the encoder made.</summary>
internal sealed class BartAttention : Module
{
    private readonly BartConfig config;
    private readonly int heads;
    private readonly string place;
    private readonly double scale;
    private readonly Linear key;
    private readonly Linear value;
    private readonly Linear query;
    private readonly Linear output;

    public BartAttention(BartConfig config, int heads, string place)
    {
        (this.config, this.heads, this.place) = (config, heads, place);
        scale = 1 / Math.Sqrt(config.Width / heads);
        key = Declare("k_proj", BartModel.Map(config, config.Width, config.Width));
        value = Declare("v_proj", BartModel.Map(config, config.Width, config.Width));
        query = Declare("q_proj", BartModel.Map(config, config.Width, config.Width));
        output = Declare("out_proj", BartModel.Map(config, config.Width, config.Width));
    }

    public (Tensor Output, Tensor? Probabilities) Forward(Tensor x, Tensor? encoded, BartSight sight, Tensor? readPositions)
    {
        Tensor q = query.Forward(readPositions is null ? x : x.Rows(readPositions));
        (Tensor k, Tensor v) = EncoderDecoder.KeysAndValues(key, value, x, encoded, sight.Cache, place);
        Tensor? mask = encoded is null ? sight.KeyMask : sight.EncoderMask;
        bool causal = sight.Causal && encoded is null;
        Tensor? positions = causal && sight.Cache is { } cache ? Scalars.Range(cache.Length, x.size(1), x.device).expand(x.size(0), x.size(1)) : null;
        var settings = new AttentionSettings(heads, scale, causal, positions, mask, Dropout(sight.DropoutOverride ?? config.AttentionDropout));
        (Tensor context, Tensor? probabilities) = Attention.Attend(q, k, v, settings, sight.OutputAttentions, (queries, keys, _) => Probabilities(queries, keys, causal, mask));
        return (output.Forward(context), probabilities);
    }

    // Hugging Face adds one mask to the other: what both hide gets minus infinity, which matters for a query that sees nothing.
    private Tensor Probabilities(Tensor q, Tensor k, bool causal, Tensor? mask)
    {
        Tensor scores = q.Times(scale).matmul(k.transpose(2, 3));
        Tensor? hidden = causal && q.size(2) > 1 ? AttentionMask.Causal(q.size(2), q.device) : null;
        if (mask is not null) hidden = hidden is null ? AttentionMask.Padding(mask) : AttentionMask.Padding(mask).Plus(hidden);
        return torch.nn.functional.softmax(hidden is null ? scores : scores.Plus(hidden), -1);
    }
}

/// <summary>BartEncoderLayer and BartDecoderLayer: self-attention, in a decoder attention to the encoder, feed-forward layer, each with its norm behind the residual.</summary>
internal sealed class BartLayer : Module
{
    private readonly BartConfig config;
    private readonly BartAttention attention;
    private readonly LayerNorm attentionNorm;
    private readonly BartAttention? cross;
    private readonly LayerNorm? crossNorm;
    private readonly Linear expand;
    private readonly Linear contract;
    private readonly LayerNorm finalNorm;

    public BartLayer(BartConfig config, bool isDecoder, int number)
    {
        this.config = config;
        (int heads, int inner) = isDecoder ? (config.DecoderHeads, config.DecoderInner) : (config.Heads, config.Inner);
        attention = Declare("self_attn", new BartAttention(config, heads, $"self.{number}"));
        attentionNorm = Declare("self_attn_layer_norm", BartModel.Norm(config));
        if (isDecoder)
        {
            cross = Declare("encoder_attn", new BartAttention(config, heads, $"cross.{number}"));
            crossNorm = Declare("encoder_attn_layer_norm", BartModel.Norm(config));
        }
        expand = Declare("fc1", BartModel.Map(config, config.Width, inner));
        contract = Declare("fc2", BartModel.Map(config, inner, config.Width));
        finalNorm = Declare("final_layer_norm", BartModel.Norm(config));
    }

    public (Tensor Stream, Tensor? Probabilities, Tensor? CrossProbabilities) Forward(Tensor stream, Tensor? encoded, BartSight sight, Tensor? readPositions)
    {
        // The scope frees what no gradient needs as soon as the layer is done.
        using DisposeScope scope = torch.NewDisposeScope();
        double dropout = sight.DropoutOverride ?? config.Dropout;
        (Tensor attended, Tensor? probabilities) = attention.Forward(stream, null, sight, readPositions);
        stream = attentionNorm.Add(readPositions is null ? stream : stream.Rows(readPositions), attended, Dropout(dropout), ScalarType.Float32).Normed;
        Tensor? crossProbabilities = null;
        if (cross is not null)
        {
            (attended, crossProbabilities) = cross.Forward(stream, encoded, sight, null);
            stream = crossNorm!.Add(stream, attended, Dropout(dropout, 1), ScalarType.Float32).Normed;
        }
        Tensor inner = expand.Forward(stream, config.Activation).FusedDropout(Dropout(sight.DropoutOverride ?? config.ActivationDropout, 2));
        stream = finalNorm.Add(stream, contract.Forward(inner), Dropout(dropout, 3), ScalarType.Float32).Normed;
        if (probabilities is not null) scope.MoveToOuter(probabilities);
        if (crossProbabilities is not null) scope.MoveToOuter(crossProbabilities);
        return (scope.MoveToOuter(stream), probabilities, crossProbabilities);
    }
}

/// <summary>BartEncoder and BartDecoder.</summary>
internal sealed class BartStack : Module
{
    // Row 0 and 1 of the table stand for nothing (BartLearnedPositionalEmbedding.offset).
    public const int FirstPosition = 2;

    private readonly BartConfig config;
    private readonly bool isDecoder;
    private readonly Embedding positions;
    private readonly BartLayer[] layers;
    private readonly LayerNorm norm;

    public BartStack(BartConfig config, bool isDecoder)
    {
        (this.config, this.isDecoder) = (config, isDecoder);
        positions = Declare("embed_positions", new Embedding(config.Positions + FirstPosition, config.Width, Initializers.Normal(config.InitializerRange)));
        layers = [.. Enumerable.Range(0, isDecoder ? config.DecoderLayers : config.Layers).Select(i => Declare($"layers.{i}", new BartLayer(config, isDecoder, i)))];
        norm = Declare("layernorm_embedding", BartModel.Norm(config));
    }

    // The last hidden state, then the states before, between and behind the layers, the attention and the encoder-decoder attention probabilities, where they are wanted.
    public Tensor[] Forward(Tensor vectors, Tensor? encoded, ModelInputs input, BartSight sight, bool checkpoint)
    {
        var hiddenStates = new List<Tensor>();
        var attentions = new List<Tensor>();
        var crossAttentions = new List<Tensor>();
        Tensor places = Scalars.Range(FirstPosition + (sight.Cache?.Length ?? 0), vectors.size(1), vectors.device).unsqueeze(0);
        Tensor stream = norm.Forward(vectors.AddPositions(positions.Weight.Value, places), ScalarType.Float32).FusedDropout(Dropout(sight.DropoutOverride ?? config.Dropout));
        for (int layer = 0; layer < layers.Length; layer++)
        {
            if (input.OutputHiddenStates) hiddenStates.Add(stream);
            Tensor? read = layer == layers.Length - 1 && !isDecoder ? input.ReadPositions : null;
            (stream, Tensor? probabilities, Tensor? crossProbabilities) = Layer(layers[layer], stream, encoded, sight, read, checkpoint);
            if (probabilities is not null) attentions.Add(probabilities);
            if (crossProbabilities is not null) crossAttentions.Add(crossProbabilities);
        }
        if (input.OutputHiddenStates) hiddenStates.Add(stream);
        return [stream, .. hiddenStates, .. attentions, .. crossAttentions];
    }

    private static (Tensor Stream, Tensor? Probabilities, Tensor? CrossProbabilities) Layer(
        BartLayer layer, Tensor stream, Tensor? encoded, BartSight sight, Tensor? read, bool checkpoint)
    {
        if (!checkpoint) return layer.Forward(stream, encoded, sight, read);
        Tensor[] next = Segment.Checkpoint(
            inputs => [layer.Forward(inputs[0]!, inputs[1], sight with { KeyMask = inputs[2], EncoderMask = inputs[3] }, inputs[4]).Stream],
            stream, encoded, sight.KeyMask, sight.EncoderMask, read);
        return (next[0], null, null);
    }
}

/// <summary>BartModel: BART without a head.</summary>
public sealed class BartModel : EncoderDecoder
{
    /// <summary>The family.</summary>
    public static Architecture Architecture { get; } = new()
    {
        ModelType = "bart",
        Backbone = config => new BartModel(config),
        Heads = new Dictionary<string, Func<HfConfig, PretrainedModel>>
        {
            ["BartModel"] = config => new BartPretrained(config, head: false),
            ["BartForConditionalGeneration"] = config => new BartPretrained(config, head: true),
        },
        BasePrefixes = ["model."],
        Buffers = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "encoder.version", "decoder.version", "final_logits_bias"],
        Tied = ("shared.weight", "lm_head.weight"),
        OldEndings = [("shared.weight", "encoder.embed_tokens.weight"), ("shared.weight", "decoder.embed_tokens.weight")],
        HeadPrefixes = ["lm_head.", "classification_head.", "qa_outputs."],
    };

    /// <summary>Configurations that were published, and a small one.</summary>
    public static IReadOnlyList<Preset> Presets { get; } = [Preset("bart-tiny", 2, 128, 2), Preset("bart-base", 6, 768, 12), Preset("bart-large", 12, 1024, 16)];

    private readonly BartConfig config;
    private readonly Embedding tokens;
    private readonly BartStack encoder;
    private readonly BartStack decoder;

    /// <summary>A model without weights yet: load or initialise them.</summary>
    public BartModel(HfConfig hfConfig)
    {
        Config = hfConfig;
        config = new BartConfig(hfConfig);
        Traits = new BackboneTraits(config.Width, config.Layers + config.DecoderLayers)
        {
            DecoderLayers = config.DecoderLayers,
            DecoderStart = config.DecoderStart,
            LongestInput = config.Positions,
            Vocabulary = config.VocabSize,
            GradientCheckpointing = true,
        };
        Initializer normal = Initializers.Normal(config.InitializerRange);
        tokens = Declare("shared", new Embedding(config.VocabSize, config.Width, normal, config.PadId));
        encoder = Declare("encoder", new BartStack(config, isDecoder: false));
        decoder = Declare("decoder", new BartStack(config, isDecoder: true));
        Groups = [new("shared.weight", GroupName.Embed), .. GroupsOf("encoder", 0), .. GroupsOf("decoder", config.Layers), .. CrossGroups(config.Layers)];
    }

    /// <inheritdoc/>
    public override HfConfig Config { get; }

    /// <inheritdoc/>
    public override BackboneTraits Traits { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<GroupRule> Groups { get; }

    /// <summary>The token table (V, C), which is the head too.</summary>
    internal Embedding Tokens => tokens;

    internal BartConfig Settings => config;

    /// <summary>A dense layer with BART's start values: normal weights, no bias.</summary>
    internal static Linear Map(BartConfig config, long inputs, long outputs) =>
        new(inputs, outputs, weightInitializer: Initializers.Normal(config.InitializerRange), biasInitializer: Initializers.Zeros);

    /// <summary>A norm with the epsilon of PyTorch's, which BART's configuration cannot change.</summary>
    internal static LayerNorm Norm(BartConfig config) => new(config.Width, 1e-5);

    private static GroupRule[] GroupsOf(string stack, int first) =>
    [
        new($"{stack}.embed_positions.weight", GroupName.Pos),
        new($"{stack}.layernorm_embedding.*", GroupName.Ln),
        new($"{stack}.layers.{{layer}}.self_attn.*", GroupName.Attn, first),
        new($"{stack}.layers.{{layer}}.self_attn_layer_norm.*", GroupName.Ln, first),
        new($"{stack}.layers.{{layer}}.fc1.*", GroupName.Ff, first),
        new($"{stack}.layers.{{layer}}.fc2.*", GroupName.Ff, first),
        new($"{stack}.layers.{{layer}}.final_layer_norm.*", GroupName.Ln, first),
    ];

    private static GroupRule[] CrossGroups(int first) =>
        [new("decoder.layers.{layer}.encoder_attn.*", GroupName.Cross, first), new("decoder.layers.{layer}.encoder_attn_layer_norm.*", GroupName.Ln, first)];

    private static Preset Preset(string name, int layers, int width, int heads) => new(name, $"BART, {layers} and {layers} layers of {width}, {heads} heads, 1024 positions",
        """{"model_type": "bart", "architectures": ["BartForConditionalGeneration"], "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,""" +
        """ "decoder_start_token_id": 2, "forced_eos_token_id": 2, "max_position_embeddings": 1024, "vocab_size": 50265,""" +
        $$""" "encoder_layers": {{layers}}, "decoder_layers": {{layers}}, "d_model": {{width}}, "encoder_attention_heads": {{heads}}, "decoder_attention_heads": {{heads}},""" +
        $$""" "encoder_ffn_dim": {{4 * width}}, "decoder_ffn_dim": {{4 * width}}}""");

    /// <inheritdoc/>
    public override IEnumerable<string> UnusedParameters(BackboneUse use)
    {
        // The decoder looks up the token that it starts from.
        if (use.Vectors && use.Decoder != DecoderUse.FirstToken) yield return "shared.weight";
        if (use.Decoder != DecoderUse.None) yield break;
        foreach ((string name, _) in decoder.NamedParameters()) yield return $"decoder.{name}";
    }

    /// <inheritdoc/>
    public override IEnumerable<string> ConstantParameters(BackboneUse use) => use.Decoder != DecoderUse.FirstToken ? [] : decoder.NamedParameters()
        .Select(pair => $"decoder.{pair.Name}")
        .Where(name => name.Contains("self_attn.q_proj", StringComparison.Ordinal) || name.Contains("self_attn.k_proj", StringComparison.Ordinal));

    internal override string? TokenTable => config.EmbeddingScale == 1 ? "shared.weight" : null;

    /// <inheritdoc/>
    internal override double? TiedHeadScale => 1 / config.EmbeddingScale;

    /// <inheritdoc/>
    public override Tensor EmbedTokens(Tensor ids)
    {
        Tensor vectors = tokens.Forward(ids);
        return config.EmbeddingScale == 1 ? vectors : Segment.Compose(inputs => inputs[0].Times(config.EmbeddingScale), vectors);
    }

    /// <inheritdoc/>
    public override ModelOutputs Encode(ModelInputs input)
    {
        CheckOutputs(input);
        var sight = new BartSight(input.AttentionMask, Causal: false, null, input.OutputAttentions, null, DropoutOverride);
        return Run(encoder, config.Layers, Vectors(input.InputIds, input.InputsEmbeds), null, input, sight);
    }

    /// <inheritdoc/>
    public override ModelOutputs Decode(ModelInputs input, Tensor encoded)
    {
        CheckOutputs(input);
        if (input is { Cache: not null, OutputAttentions: true })
            throw new ArgumentException("with a cache probabilities are not given; ask for them without one", nameof(input));
        var sight = new BartSight(input.DecoderAttentionMask, Causal: true, input.AttentionMask, input.OutputAttentions, input.Cache, DropoutOverride);
        return Run(decoder, config.DecoderLayers, Vectors(input.DecoderInputIds, input.DecoderInputsEmbeds), encoded, input, sight);
    }

    private ModelOutputs Run(BartStack stack, int layers, Tensor vectors, Tensor? encoded, ModelInputs input, BartSight sight)
    {
        long T = (sight.Cache?.Length ?? 0) + vectors.size(1);
        if (T > config.Positions) throw TooLong(T, config.Positions);
        bool checkpoint = GradientCheckpointing && training && !input.OutputAttentions && input.Cache is null;
        Tensor[] outputs = Segment.Run(inputs => stack.Forward(inputs[0]!, inputs[1], input, sight, checkpoint), vectors, encoded);
        (ModelOutputs made, Tensor[] crossAttentions) = Outputs(outputs, input, layers);
        return made with { CrossAttentions = crossAttentions };
    }
}
