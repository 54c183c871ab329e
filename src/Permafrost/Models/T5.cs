// T5: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer"; v1.1 with gated activations: Shazeer 2020, "GLU Variants Improve
// Transformer". Checked against Hugging Face transformers 4.30, models/t5/modeling_t5.py: names, buckets, masks, norms, losses.
// What differs: norms add what the layer before computed in the same pass; attention takes its relative biases as one number for each head and distance and never writes
// its probabilities unless they are asked for; an encoder's last layer computes only the positions that are read.

using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>T5's configuration, with the keys of <c>config.json</c> and the defaults of the small model.</summary>
public sealed record T5Config
{
    /// <summary>Reads the keys of a configuration.</summary>
    /// <exception cref="PermafrostException">A key holds a value that cannot be.</exception>
    public T5Config(HfConfig config)
    {
        VocabSize = config.Int("vocab_size", 32128);
        Width = config.Int("d_model", 512);
        HeadSize = config.Int("d_kv", 64);
        Inner = config.Int("d_ff", 2048);
        Layers = config.Int("num_layers", 6);
        DecoderLayers = config.Architecture is "T5EncoderModel" ? 0 : config.OptionalInt("num_decoder_layers") ?? Layers;
        Heads = config.Int("num_heads", 8);
        Buckets = config.Int("relative_attention_num_buckets", 32, 2);
        MaxDistance = config.Int("relative_attention_max_distance", 128);
        Dropout = config.Number("dropout_rate", 0.1);
        Epsilon = config.Number("layer_norm_epsilon", 1e-6);
        InitializerFactor = config.Number("initializer_factor", 1);
        DecoderStart = config.OptionalInt("decoder_start_token_id", 0) ?? config.OptionalInt("pad_token_id", 0) ?? 0;
        PadId = config.OptionalInt("pad_token_id", 0) ?? 0;
        TiedHead = config.Flag("tie_word_embeddings", true);
        string feedForward = config.Text("feed_forward_proj", "relu")!;
        string[] parts = feedForward.Split('-');
        if (parts.Length > 2 || (parts.Length == 2 && parts[0] != "gated"))
            throw new PermafrostException($"{config.Source}: feed_forward_proj is '{feedForward}'; it must be an activation, or gated- and an activation");
        IsGated = parts.Length == 2;
        // The published v1.1 checkpoints say gated-gelu and mean the approximation by tanh.
        Activation = Activations.Find(feedForward == "gated-gelu" ? "gelu_new" : parts[^1], config.Source);
        if (Layers > 10_000 || DecoderLayers > 10_000 || Width > 1 << 20 || Heads * (long)HeadSize > 1 << 22 || Inner > 1 << 22 || VocabSize > 1 << 26 || Buckets > 1 << 20)
            throw new PermafrostException($"{config.Source}: a size (num_layers, d_model, d_kv, d_ff, vocab_size, ...) is beyond anything that exists");
        if (Epsilon is not (> 0 and < 1)) throw new PermafrostException($"{config.Source}: layer_norm_epsilon is {Epsilon}; it must be between 0 and 1");
        if (Dropout is not (>= 0 and < 1)) throw new PermafrostException($"{config.Source}: dropout_rate is {Dropout}; it must be at least 0 and below 1");
        if (Buckets % 2 != 0)
            throw new PermafrostException($"{config.Source}: relative_attention_num_buckets is {Buckets}; half of them are for each side, so it must be even");
        if (MaxDistance <= Buckets / 2)
            throw new PermafrostException(
                $"{config.Source}: relative_attention_max_distance is {MaxDistance}; it must be above half of relative_attention_num_buckets ({Buckets})");
        if (Math.Max(DecoderStart, PadId) >= VocabSize)
            throw new PermafrostException($"{config.Source}: decoder_start_token_id ({DecoderStart}) or pad_token_id ({PadId}) is not among vocab_size ({VocabSize}) tokens");
    }

    /// <summary>V, the number of tokens.</summary>
    public int VocabSize { get; }

    /// <summary>C.</summary>
    public int Width { get; }

    /// <summary>D, numbers of a head; heads together may be wider or narrower than C.</summary>
    public int HeadSize { get; }

    /// <summary>Width of the feed-forward layers.</summary>
    public int Inner { get; }

    /// <summary>Layers of the encoder.</summary>
    public int Layers { get; }

    /// <summary>Layers of the decoder; 0 for an encoder alone.</summary>
    public int DecoderLayers { get; }

    /// <summary>H.</summary>
    public int Heads { get; }

    /// <summary>Kinds of distances, each with a bias for each head.</summary>
    public int Buckets { get; }

    /// <summary>The distance from which on all share a bucket.</summary>
    public int MaxDistance { get; }

    /// <summary>Every dropout's probability.</summary>
    public double Dropout { get; }

    /// <summary>Norms' epsilon.</summary>
    public double Epsilon { get; }

    /// <summary>Factor of the initial weights' standard deviations.</summary>
    public double InitializerFactor { get; }

    /// <summary>The token that a decoder starts from.</summary>
    public int DecoderStart { get; }

    /// <summary>The id of padding.</summary>
    public int PadId { get; }

    /// <summary>Whether the head is the token table, as in v1.0.</summary>
    public bool TiedHead { get; }

    /// <summary>Whether feed-forward layers have a gate, as in v1.1.</summary>
    public bool IsGated { get; }

    /// <summary>Activation of the feed-forward layers, or of their gate.</summary>
    public Activation Activation { get; }
}

/// <summary>What a layer may see, and how it is run.</summary>
/// <param name="KeyMask">(B, S) of the tokens that it attends to; null when nothing is padded.</param>
/// <param name="Causal">Whether a token sees only those before it.</param>
/// <param name="Positions">(B, T) int64: the queries' positions among the keys; null for 0, 1, 2, ...</param>
/// <param name="EncoderMask">(B, S) of the encoder's tokens.</param>
/// <param name="OutputAttentions">Whether probabilities are wanted.</param>
/// <param name="Cache">Keys and values of the tokens before.</param>
/// <param name="Dropout">The probability of every dropout.</param>
internal sealed record T5Sight(Tensor? KeyMask, bool Causal, Tensor? Positions, Tensor? EncoderMask, bool OutputAttentions, KeyValueCache? Cache, double Dropout);

/// <summary>T5Attention: unscaled scores, with a bias by distance in self-attention and none in encoder-decoder attention.</summary>
internal sealed class T5Attention : Module
{
    private readonly T5Config config;
    private readonly string place;
    private readonly Linear query;
    private readonly Linear key;
    private readonly Linear value;
    private readonly Linear output;
    private readonly Embedding? biases;

    public T5Attention(T5Config config, string place, bool hasBiases)
    {
        this.config = config;
        this.place = place;
        (int inner, double factor) = (config.Heads * config.HeadSize, config.InitializerFactor);
        Linear Map(int inputs, int outputs, double deviation) => new(inputs, outputs, bias: false, Initializers.Normal(factor * deviation));
        query = Declare("q", Map(config.Width, inner, Math.Pow(config.Width * config.HeadSize, -0.5)));
        key = Declare("k", Map(config.Width, inner, Math.Pow(config.Width, -0.5)));
        value = Declare("v", Map(config.Width, inner, Math.Pow(config.Width, -0.5)));
        output = Declare("o", Map(inner, config.Width, Math.Pow(inner, -0.5)));
        if (hasBiases) biases = Declare("relative_attention_bias", new Embedding(config.Buckets, config.Heads, Initializers.Normal(factor * Math.Pow(config.Width, -0.5))));
    }

    /// <summary>The biases (H, N) of the distances between so many queries and keys, which all layers of a stack share.</summary>
    public RelativeBias Biases(long queries, long keys, bool causal, Device device)
    {
        long zero = keys - 1;
        var buckets = new long[queries + keys - 1];
        for (int i = 0; i < buckets.Length; i++) buckets[i] = Bucket(i - zero, causal);
        Tensor rows = biases!.Forward(Tensors.From(buckets, buckets.Length).to(device));  // (N, H)
        return new RelativeBias(Segment.Compose(inputs => inputs[0].transpose(0, 1).contiguous(), rows), zero);
    }

    public (Tensor Output, Tensor? Probabilities) Forward(Tensor x, Tensor? encoded, RelativeBias? bias, T5Sight sight, Tensor? readPositions)
    {
        Tensor q = query.Forward(readPositions is null ? x : x.Rows(readPositions));
        (Tensor k, Tensor v) = EncoderDecoder.KeysAndValues(key, value, x, encoded, sight.Cache, place);
        Tensor? mask = encoded is null ? sight.KeyMask : sight.EncoderMask;
        bool causal = sight.Causal && encoded is null;
        var settings = new AttentionSettings(config.Heads, 1, causal, readPositions ?? (encoded is null ? sight.Positions : null), mask, Dropout(sight.Dropout)) { Bias = bias };
        (Tensor context, Tensor? probabilities) = Attention.Attend(
            q, k, v, settings, sight.OutputAttentions,
            (queries, keys, values) => Probabilities(queries, keys, values is null ? null : bias! with { Values = values }, causal, mask));
        return (output.Forward(context), probabilities);
    }

    private static Tensor Probabilities(Tensor q, Tensor k, RelativeBias? bias, bool causal, Tensor? mask)
    {
        (long T, long S) = (q.size(2), k.size(2));
        Tensor scores = q.matmul(k.transpose(2, 3));
        if (bias is not null) scores = scores.Plus(AttentionTwin.Spread(bias, Scalars.Range(0, T, q.device).view(1, 1, T, 1), S));
        Tensor? seen = mask?.ne(0.Hold()).view(mask.size(0), 1, 1, S);
        if (causal)
        {
            Tensor before = torch.ones([T, S], ScalarType.Bool, q.device).tril();
            seen = seen is null ? before : seen.logical_and(before);
        }
        // Hugging Face adds the most negative number once, whatever hides a key.
        if (seen is not null) scores = scores.Plus(seen.logical_not().to(scores.dtype).Times(AttentionMask.Hidden));
        return torch.nn.functional.softmax(scores, -1);
    }

    // T5Attention._relative_position_bucket: exact for near keys, logarithmic for far ones; keys behind their query have half of the buckets unless none is seen.
    private long Bucket(long distance, bool causal)
    {
        (long buckets, long first) = causal ? (config.Buckets, 0L) : (config.Buckets / 2, distance < 0 ? config.Buckets / 2 : 0L);
        long away = causal ? Math.Max(distance, 0) : Math.Abs(distance), exact = buckets / 2;
        if (away < exact) return first + away;
        // In float32, as the published code computes it: the result is cut to a whole number.
        float share = MathF.Log((float)away / exact) / (float)Math.Log(config.MaxDistance / (double)exact) * (buckets - exact);
        return first + Math.Min(exact + (long)share, buckets - 1);
    }
}

/// <summary>T5DenseActDense and T5DenseGatedActDense: the feed-forward layer.</summary>
internal sealed class T5FeedForward : Module
{
    private readonly T5Config config;
    private readonly Linear expand;
    private readonly Linear? gated;
    private readonly Linear contract;

    public T5FeedForward(T5Config config)
    {
        this.config = config;
        Linear Map(int inputs, int outputs) => new(inputs, outputs, bias: false, Initializers.Normal(config.InitializerFactor * Math.Pow(inputs, -0.5)));
        expand = Declare(config.IsGated ? "wi_0" : "wi", Map(config.Width, config.Inner));
        if (config.IsGated) gated = Declare("wi_1", Map(config.Width, config.Inner));
        contract = Declare("wo", Map(config.Inner, config.Width));
    }

    public Tensor Forward(Tensor x, double dropout)
    {
        Tensor inner = expand.Forward(x, config.Activation);
        if (gated is not null) inner = gated.Forward(x).Gated(inner);
        return contract.Forward(inner.FusedDropout(Dropout(dropout)));
    }
}

/// <summary>One part of a block: a norm in front of attention or of the feed-forward layer.</summary>
internal sealed class T5Layer<TInner> : Module where TInner : Module
{
    private readonly RmsNorm norm;

    public T5Layer(T5Config config, string name, TInner inner)
    {
        Inner = Declare(name, inner);
        norm = Declare("layer_norm", new RmsNorm(config.Width, config.Epsilon));
    }

    public TInner Inner { get; }

    public (Tensor Stream, Tensor Normed) Norm(Tensor stream, Tensor? update, double dropout) => norm.Add(stream, update, Dropout(dropout));
}

/// <summary>T5Block: self-attention, in a decoder encoder-decoder attention, feed-forward layer, each around a residual.</summary>
internal sealed class T5Block : Module
{
    private readonly T5Layer<T5Attention> attention;
    private readonly T5Layer<T5Attention>? cross;
    private readonly T5Layer<T5FeedForward> feedForward;

    public T5Block(T5Config config, bool isDecoder, int number)
    {
        attention = Declare("layer.0", new T5Layer<T5Attention>(config, "SelfAttention", new T5Attention(config, $"self.{number}", hasBiases: number == 0)));
        if (isDecoder) cross = Declare("layer.1", new T5Layer<T5Attention>(config, "EncDecAttention", new T5Attention(config, $"cross.{number}", hasBiases: false)));
        feedForward = Declare(isDecoder ? "layer.2" : "layer.1", new T5Layer<T5FeedForward>(config, "DenseReluDense", new T5FeedForward(config)));
    }

    public RelativeBias Biases(long queries, long keys, bool causal, Device device) => attention.Inner.Biases(queries, keys, causal, device);

    /// <summary>The residual stream without what the block's own feed-forward layer adds; that is the update, which the next norm adds.</summary>
    public (Tensor Stream, Tensor Update, Tensor? Probabilities, Tensor? CrossProbabilities) Forward(
        Tensor stream, Tensor? update, Tensor? encoded, RelativeBias bias, T5Sight sight, Tensor? readPositions)
    {
        // The scope frees what no gradient needs as soon as the block is done.
        using DisposeScope scope = torch.NewDisposeScope();
        (stream, Tensor normed) = attention.Norm(stream, update, sight.Dropout);
        (Tensor attended, Tensor? probabilities) = attention.Inner.Forward(normed, null, bias, sight, readPositions);
        if (readPositions is not null) stream = stream.Rows(readPositions);
        Tensor? crossProbabilities = null;
        if (cross is not null)
        {
            (stream, normed) = cross.Norm(stream, attended, sight.Dropout);
            (attended, crossProbabilities) = cross.Inner.Forward(normed, encoded, null, sight, null);
        }
        (stream, normed) = feedForward.Norm(stream, attended, sight.Dropout);
        Tensor next = feedForward.Inner.Forward(normed, sight.Dropout);
        if (probabilities is not null) scope.MoveToOuter(probabilities);
        if (crossProbabilities is not null) scope.MoveToOuter(crossProbabilities);
        return (scope.MoveToOuter(stream), scope.MoveToOuter(next), probabilities, crossProbabilities);
    }
}

/// <summary>T5Stack: the blocks of an encoder or a decoder, and the norm behind them.</summary>
internal sealed class T5Stack : Module
{
    private readonly T5Config config;
    private readonly bool isDecoder;
    private readonly T5Block[] blocks;
    private readonly RmsNorm finalNorm;

    public T5Stack(T5Config config, bool isDecoder)
    {
        (this.config, this.isDecoder) = (config, isDecoder);
        blocks = [.. Enumerable.Range(0, isDecoder ? config.DecoderLayers : config.Layers).Select(i => Declare($"block.{i}", new T5Block(config, isDecoder, i)))];
        finalNorm = Declare("final_layer_norm", new RmsNorm(config.Width, config.Epsilon));
    }

    // The last hidden state, then the states before and between the blocks and behind the norm, the attention and the encoder-decoder attention probabilities, where wanted.
    public Tensor[] Forward(Tensor vectors, Tensor? encoded, ModelInputs input, T5Sight sight, bool checkpoint)
    {
        var hiddenStates = new List<Tensor>();
        var attentions = new List<Tensor>();
        var crossAttentions = new List<Tensor>();
        long before = sight.Cache?.Length ?? 0, T = vectors.size(1);
        RelativeBias bias = blocks[0].Biases(before + T, before + T, isDecoder, vectors.device);
        Tensor stream = vectors.FusedDropout(Dropout(sight.Dropout));
        Tensor? update = null;
        for (int layer = 0; layer < blocks.Length; layer++)
        {
            if (input.OutputHiddenStates)
            {
                if (update is not null) stream = Segment.Compose(inputs => inputs[0].Plus(inputs[1]), stream, update.FusedDropout(Dropout(sight.Dropout, 2)));
                update = null;
                hiddenStates.Add(stream);
            }
            Tensor? read = layer == blocks.Length - 1 && !isDecoder ? input.ReadPositions : null;
            (stream, update, Tensor? probabilities, Tensor? crossProbabilities) = Block(blocks[layer], stream, update, encoded, bias, sight, read, checkpoint);
            if (probabilities is not null) attentions.Add(probabilities);
            if (crossProbabilities is not null) crossAttentions.Add(crossProbabilities);
        }
        (_, Tensor hidden) = finalNorm.Add(stream, update, Dropout(sight.Dropout, 1), ScalarType.Float32);
        hidden = hidden.FusedDropout(Dropout(sight.Dropout, 3));
        if (input.OutputHiddenStates) hiddenStates.Add(hidden);
        return [hidden, .. hiddenStates, .. attentions, .. crossAttentions];
    }

    private static (Tensor Stream, Tensor Update, Tensor? Probabilities, Tensor? CrossProbabilities) Block(
        T5Block block, Tensor stream, Tensor? update, Tensor? encoded, RelativeBias bias, T5Sight sight, Tensor? read, bool checkpoint)
    {
        if (!checkpoint) return block.Forward(stream, update, encoded, bias, sight, read);
        Tensor[] next = Segment.Checkpoint(inputs =>
        {
            T5Sight same = sight with { KeyMask = inputs[4], EncoderMask = inputs[5] };
            (Tensor nextStream, Tensor nextUpdate, _, _) = block.Forward(inputs[0]!, inputs[1], inputs[2], bias with { Values = inputs[3]! }, same, inputs[6]);
            return [nextStream, nextUpdate];
        }, stream, update, encoded, bias.Values, sight.KeyMask, sight.EncoderMask, read);
        return (next[0], next[1], null, null);
    }
}

/// <summary>T5Model, or with <c>T5EncoderModel</c> in the configuration its encoder alone.</summary>
public sealed class T5Model : EncoderDecoder
{
    /// <summary>The family.</summary>
    public static Architecture Architecture { get; } = new()
    {
        ModelType = "t5",
        Backbone = config => new T5Model(config),
        Heads = new Dictionary<string, Func<HfConfig, PretrainedModel>>
        {
            ["T5Model"] = config => new T5Pretrained(config, head: false),
            ["T5EncoderModel"] = config => new T5Pretrained(config, head: false),
            ["T5ForConditionalGeneration"] = config => new T5Pretrained(config, head: true),
        },
        Buffers = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "EncDecAttention.relative_attention_bias.weight"],
        Tied = ("shared.weight", "lm_head.weight"),
        OldEndings = [("shared.weight", "encoder.embed_tokens.weight"), ("shared.weight", "decoder.embed_tokens.weight")],
        HeadPrefixes = ["lm_head."],
    };

    /// <summary>Configurations that were published, and a small one.</summary>
    public static IReadOnlyList<Preset> Presets { get; } =
    [
        Preset("t5-tiny", 2, 128, 2, 512, "relu"), Preset("t5-mini", 4, 256, 4, 1024, "relu"),
        Preset("t5-small", 6, 512, 8, 2048, "relu"), Preset("t5-base", 12, 768, 12, 3072, "relu"), Preset("t5-large", 24, 1024, 16, 4096, "relu"),
        Preset("t5-v1_1-small", 8, 512, 6, 1024, "gated-gelu"), Preset("t5-v1_1-base", 12, 768, 12, 2048, "gated-gelu"), Preset("t5-v1_1-large", 24, 1024, 16, 2816, "gated-gelu"),
    ];

    private readonly T5Config config;
    private readonly Embedding tokens;
    private readonly T5Stack encoder;
    private readonly T5Stack? decoder;

    /// <summary>A model without weights yet: load or initialise them.</summary>
    public T5Model(HfConfig hfConfig)
    {
        Config = hfConfig;
        config = new T5Config(hfConfig);
        Traits = new BackboneTraits(config.Width, config.Layers + config.DecoderLayers)
        {
            DecoderLayers = config.DecoderLayers,
            DecoderStart = config.DecoderLayers > 0 ? config.DecoderStart : null,
            Vocabulary = config.VocabSize,
            GradientCheckpointing = true,
        };
        tokens = Declare("shared", new Embedding(config.VocabSize, config.Width, Initializers.Normal(config.InitializerFactor)));
        encoder = Declare("encoder", new T5Stack(config, isDecoder: false));
        if (config.DecoderLayers > 0) decoder = Declare("decoder", new T5Stack(config, isDecoder: true));
        Groups = [.. GroupsOf(config)];
    }

    /// <inheritdoc/>
    public override HfConfig Config { get; }

    /// <inheritdoc/>
    public override BackboneTraits Traits { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<GroupRule> Groups { get; }

    /// <summary>The token table (V, C), which is the head too where it is tied.</summary>
    internal Embedding Tokens => tokens;

    internal T5Config Settings => config;

    private static IEnumerable<GroupRule> GroupsOf(T5Config config)
    {
        yield return new("shared.weight", GroupName.Embed);
        foreach ((string stack, int first, string feedForward) in new[] { ("encoder", 0, "layer.1"), ("decoder", config.Layers, "layer.2") })
        {
            if (stack == "decoder" && config.DecoderLayers == 0) yield break;
            foreach (string map in new[] { "q", "k", "v", "o" }) yield return new($"{stack}.block.{{layer}}.layer.0.SelfAttention.{map}.weight", GroupName.Attn, first);
            yield return new($"{stack}.block.{{layer}}.layer.0.SelfAttention.relative_attention_bias.weight", GroupName.Pos, first);
            yield return new($"{stack}.block.{{layer}}.layer.0.layer_norm.weight", GroupName.Ln, first);
            if (stack == "decoder")
            {
                yield return new("decoder.block.{layer}.layer.1.EncDecAttention.*", GroupName.Cross, first);
                yield return new("decoder.block.{layer}.layer.1.layer_norm.weight", GroupName.Ln, first);
            }
            yield return new($"{stack}.block.{{layer}}.{feedForward}.DenseReluDense.*", GroupName.Ff, first);
            yield return new($"{stack}.block.{{layer}}.{feedForward}.layer_norm.weight", GroupName.Ln, first);
            yield return new($"{stack}.final_layer_norm.weight", GroupName.Ln);
        }
    }

    private static Preset Preset(string name, int layers, int width, int heads, int inner, string feedForward) => new(
        name, $"T5, {layers} and {layers} layers of {width}, {heads} heads, {feedForward}",
        """{"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "d_kv": 64,""" +
        $$""" "num_layers": {{layers}}, "d_model": {{width}}, "num_heads": {{heads}}, "d_ff": {{inner}}, "feed_forward_proj": "{{feedForward}}",""" +
        $$""" "tie_word_embeddings": {{(feedForward == "relu" ? "true" : "false")}}, "vocab_size": 32128}""");

    /// <inheritdoc/>
    public override IEnumerable<string> UnusedParameters(BackboneUse use)
    {
        // The decoder looks up the token that it starts from.
        if (use.Vectors && use.Decoder != DecoderUse.FirstToken) yield return "shared.weight";
        if (use.Decoder != DecoderUse.None || decoder is null) yield break;
        foreach ((string name, _) in decoder.NamedParameters()) yield return $"decoder.{name}";
    }

    /// <inheritdoc/>
    public override IEnumerable<string> ConstantParameters(BackboneUse use) => use.Decoder != DecoderUse.FirstToken || decoder is null ? [] : decoder.NamedParameters()
        .Select(pair => $"decoder.{pair.Name}")
        .Where(name => name.EndsWith("SelfAttention.q.weight", StringComparison.Ordinal) || name.EndsWith("SelfAttention.k.weight", StringComparison.Ordinal)
            || name.EndsWith("relative_attention_bias.weight", StringComparison.Ordinal));

    internal override string? TokenTable => "shared.weight";

    /// <inheritdoc/>
    internal override double? TiedHeadScale => config.TiedHead ? Math.Pow(config.Width, -0.5) : null;

    /// <inheritdoc/>
    public override Tensor EmbedTokens(Tensor ids) => tokens.Forward(ids);

    /// <inheritdoc/>
    public override ModelOutputs Encode(ModelInputs input)
    {
        CheckOutputs(input);
        var sight = new T5Sight(input.AttentionMask, Causal: false, null, null, input.OutputAttentions, null, DropoutOverride ?? config.Dropout);
        return Run(encoder, config.Layers, Vectors(input.InputIds, input.InputsEmbeds), null, input, sight);
    }

    /// <inheritdoc/>
    public override ModelOutputs Decode(ModelInputs input, Tensor encoded)
    {
        CheckOutputs(input);
        if (input is { Cache: not null, OutputAttentions: true })
            throw new ArgumentException("with a cache probabilities are not given; ask for them without one", nameof(input));
        Tensor vectors = Vectors(input.DecoderInputIds, input.DecoderInputsEmbeds);
        Tensor? positions = input.Cache is { } cache ? PositionsFrom(cache.Length, vectors.size(0), vectors.size(1), vectors.device) : null;
        var sight = new T5Sight(input.DecoderAttentionMask, Causal: true, positions, input.AttentionMask, input.OutputAttentions, input.Cache, DropoutOverride ?? config.Dropout);
        return Run(decoder!, config.DecoderLayers, vectors, encoded, input, sight);
    }

    private ModelOutputs Run(T5Stack stack, int layers, Tensor vectors, Tensor? encoded, ModelInputs input, T5Sight sight)
    {
        bool checkpoint = GradientCheckpointing && training && !input.OutputAttentions && input.Cache is null;
        Tensor[] outputs = Segment.Run(inputs => stack.Forward(inputs[0]!, inputs[1], input, sight, checkpoint), vectors, encoded);
        (ModelOutputs made, Tensor[] crossAttentions) = Outputs(outputs, input, layers);
        return made with { CrossAttentions = crossAttentions };
    }
}
