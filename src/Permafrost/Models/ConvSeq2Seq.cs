// Tay et al. 2021, "Are Pre-trained Convolutions Better than Pre-trained Transformers?" (section 3), with the convolutions of Wu et al. 2019, "Pay Less Attention with Lightweight
// and Dynamic Convolutions". The released code is google-research/pretrained_conv over tensorflow/mesh (LocalConvAttnBlock); where paper and code disagree, a key of the
// configuration decides, and the presets @paper and @released set them. Convolutions are checked against fairseq's; the trunk with attention for a mixer is T5, number by number.
// What differs: a tap is dropped for all tokens of a step alike (LightweightConv); one encoder layer may attend (encoder_attention_layer), as the paper tried for pairs of
// sentences.

using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>What stands in self-attention's place: W_O conv(W_I x * sigmoid(W_S x)), in the released code with a pointwise map behind the convolution.</summary>
internal sealed class ConvMixer : Module
{
    private static readonly Activation Sigmoid = Activations.Find("sigmoid", "conv-seq2seq");

    private readonly string place;
    private readonly double tapDropout;
    private readonly Linear inner;
    private readonly Linear gate;
    private readonly TimeConvolution convolution;
    private readonly Linear? pointwise;
    private readonly Linear output;

    public ConvMixer(ConvSeq2SeqConfig config, bool isDecoder, int layer)
    {
        (place, tapDropout) = ($"mixer.{layer}", config.TapDropout);
        inner = Declare("wi", Map(config));
        gate = Declare("ws", Map(config));
        convolution = Declare("conv", Convolution(config, isDecoder, layer));
        if (config.Pointwise) pointwise = Declare("wp", Map(config));
        output = Declare("wo", Map(config));
    }

    public Tensor Forward(Tensor x, T5Sight sight, bool dropoutOverridden, Tensor? readPositions)
    {
        Tensor opened = inner.Forward(x).Gated(gate.Forward(x, Sigmoid));
        double dropped = dropoutOverridden ? sight.Dropout : tapDropout;
        Tensor mixed = convolution.Forward(opened, new TimeConvolutionInputs(sight.KeyMask, sight.Cache, place, dropped));
        if (readPositions is not null) mixed = mixed.Rows(readPositions);
        return output.Forward(pointwise is null ? mixed : pointwise.Forward(mixed));
    }

    private static Linear Map(ConvSeq2SeqConfig config) => new(
        config.Trunk.Width, config.Trunk.Width, config.MixerBias, Initializers.Normal(config.Trunk.InitializerFactor * Math.Pow(config.Trunk.Width, -0.5)), Initializers.Zeros);

    private static TimeConvolution Convolution(ConvSeq2SeqConfig config, bool isDecoder, int layer)
    {
        (int width, int kernel, int dilation) = (
            config.Trunk.Width, (isDecoder ? config.DecoderKernels : config.Kernels)[layer], (isDecoder ? config.DecoderDilations : config.Dilations)[layer]);
        var window = new TapWindow(kernel, isDecoder);
        return config.Mixer switch
        {
            SequenceMixer.Depthwise => new DepthwiseConv(width, window, config.OutputBias),
            SequenceMixer.Dilated => new DilatedConv(width, kernel, isDecoder, dilation, config.OutputBias),
            SequenceMixer.Dynamic => new DynamicConv(
                width, config.Rows, window, new DynamicTaps { Alternating = config.AlternatingRows, Bias = config.TapBias, OutputBias = config.OutputBias }),
            _ => new LightweightConv(width, config.Rows, window, config.AlternatingRows, bias: config.OutputBias),
        };
    }
}

/// <summary>One part of a block with its norm, wherever that stands, and its residual.</summary>
internal sealed class ConvPart<TInner> : Module where TInner : Module
{
    private readonly NormPlace place;
    private readonly RmsNorm? before;
    private readonly LayerNorm? behind;

    public ConvPart(ConvSeq2SeqConfig config, string name, TInner inner)
    {
        place = config.Norm;
        Inner = Declare(name, inner);
        if (place == NormPlace.PreRms) before = Declare("layer_norm", new RmsNorm(config.Trunk.Width, config.Trunk.Epsilon));
        else behind = Declare("layer_norm", new LayerNorm(config.Trunk.Width, config.Trunk.Epsilon));
    }

    public TInner Inner { get; }

    /// <summary>The stream with what the part before gave, where that was not added yet, and what this part reads.</summary>
    public (Tensor Stream, Tensor Input) Enter(Tensor stream, Tensor? update, double dropout) => before is null ? (stream, stream) : before.Add(stream, update, Dropout(dropout));

    /// <summary>The stream, and what the next part's norm, or else the last one, is to add to it.</summary>
    public (Tensor Stream, Tensor? Update) Leave(Tensor stream, Tensor made, double dropout)
    {
        if (place == NormPlace.PreRms) return (stream, made);
        if (place == NormPlace.PostLayer) return (behind!.Add(stream, made, Dropout(dropout), ScalarType.Float32).Normed, null);
        Tensor normed = behind!.Forward(made, ScalarType.Float32).FusedDropout(Dropout(dropout));
        return (Segment.Compose(inputs => inputs[0].Plus(inputs[1]), stream, normed), null);
    }
}

/// <summary>A mixer, in a decoder encoder-decoder attention, and a feed-forward layer.</summary>
internal sealed class ConvBlock : Module
{
    private readonly ConvPart<ConvMixer>? mixer;
    private readonly ConvPart<T5Attention>? attention;
    private readonly ConvPart<T5Attention>? cross;
    private readonly ConvPart<T5FeedForward> feedForward;

    public ConvBlock(ConvSeq2SeqConfig config, bool isDecoder, int layer, bool hasBiases)
    {
        if (config.Attends(isDecoder, layer))
            attention = Declare("layer.0", new ConvPart<T5Attention>(config, "SelfAttention", new T5Attention(config.Trunk, $"self.{layer}", hasBiases)));
        else
            mixer = Declare("layer.0", new ConvPart<ConvMixer>(config, "ConvMixer", new ConvMixer(config, isDecoder, layer)));
        if (isDecoder) cross = Declare("layer.1", new ConvPart<T5Attention>(config, "EncDecAttention", new T5Attention(config.Trunk, $"cross.{layer}", hasBiases: false)));
        feedForward = Declare(isDecoder ? "layer.2" : "layer.1", new ConvPart<T5FeedForward>(config, "DenseReluDense", new T5FeedForward(config.Trunk)));
    }

    public RelativeBias Biases(long queries, long keys, bool causal, Device device) => attention!.Inner.Biases(queries, keys, causal, device);

    /// <summary>The residual stream, and what is to be added to it where the next norm does that.</summary>
    public (Tensor Stream, Tensor? Update, Tensor? Probabilities, Tensor? CrossProbabilities) Forward(
        Tensor stream, Tensor? update, Tensor? encoded, RelativeBias? bias, T5Sight sight, bool dropoutOverridden, Tensor? readPositions)
    {
        // The scope frees what no gradient needs as soon as the block is done.
        using DisposeScope scope = torch.NewDisposeScope();
        (double dropout, Tensor? probabilities, Tensor? crossProbabilities) = (sight.Dropout, null, null);
        Tensor read, made;
        if (mixer is not null)
        {
            (stream, read) = mixer.Enter(stream, update, dropout);
            made = mixer.Inner.Forward(read, sight, dropoutOverridden, readPositions);
        }
        else
        {
            (stream, read) = attention!.Enter(stream, update, dropout);
            (made, probabilities) = attention.Inner.Forward(read, null, bias, sight, readPositions);
        }
        if (readPositions is not null) stream = stream.Rows(readPositions);
        (stream, update) = mixer is not null ? mixer.Leave(stream, made, dropout) : attention!.Leave(stream, made, dropout);
        if (cross is not null)
        {
            (stream, read) = cross.Enter(stream, update, dropout);
            (made, crossProbabilities) = cross.Inner.Forward(read, encoded, null, sight, null);
            (stream, update) = cross.Leave(stream, made, dropout);
        }
        (stream, read) = feedForward.Enter(stream, update, dropout);
        (stream, update) = feedForward.Leave(stream, feedForward.Inner.Forward(read, dropout), dropout);
        foreach (Tensor? kept in new[] { update, probabilities, crossProbabilities }) if (kept is not null) scope.MoveToOuter(kept);
        return (scope.MoveToOuter(stream), update, probabilities, crossProbabilities);
    }
}

/// <summary>The blocks of an encoder or a decoder, its positions, and the norm behind it where norms come first.</summary>
internal sealed class ConvStack : Module
{
    private readonly ConvSeq2SeqConfig config;
    private readonly bool isDecoder;
    private readonly Embedding? positions;
    private readonly ConvBlock[] blocks;
    private readonly RmsNorm? finalNorm;
    private readonly int firstAttention;

    public ConvStack(ConvSeq2SeqConfig config, bool isDecoder)
    {
        (this.config, this.isDecoder) = (config, isDecoder);
        int layers = isDecoder ? config.Trunk.DecoderLayers : config.Trunk.Layers;
        int[] attending = [.. Enumerable.Range(0, layers).Where(layer => config.Attends(isDecoder, layer))];
        (AttentionLayers, firstAttention) = (attending.Length, attending is [var first, ..] ? first : -1);
        if (config.Positions is { } rows) positions = Declare("embed_positions", new Embedding(rows, config.Trunk.Width, Initializers.Normal(config.Trunk.InitializerFactor)));
        // Without a table of positions, attention is told distances, as in T5: the first such layer's biases are those of all.
        blocks = [.. Enumerable.Range(0, layers).Select(layer => Declare($"block.{layer}", new ConvBlock(config, isDecoder, layer, positions is null && layer == firstAttention)))];
        if (config.Norm == NormPlace.PreRms) finalNorm = Declare("final_layer_norm", new RmsNorm(config.Trunk.Width, config.Trunk.Epsilon));
    }

    /// <summary>How many of the layers attend to their own sequence.</summary>
    public int AttentionLayers { get; }

    // The last hidden state, then the states before and between the blocks and at the end, the attention and the encoder-decoder attention probabilities, where wanted.
    public Tensor[] Forward(Tensor vectors, Tensor? encoded, ModelInputs input, T5Sight sight, bool dropoutOverridden, bool checkpoint)
    {
        var hiddenStates = new List<Tensor>();
        var attentions = new List<Tensor>();
        var crossAttentions = new List<Tensor>();
        long before = sight.Cache?.Length ?? 0, T = vectors.size(1);
        Tensor stream = vectors;
        if (positions is not null)
        {
            Tensor? places = isDecoder ? Scalars.Range(before, T, vectors.device).unsqueeze(0) : input.PositionIds;
            stream = stream.AddPositions(positions.Weight.Value, places);
        }
        RelativeBias? bias = positions is null && firstAttention >= 0 ? blocks[firstAttention].Biases(before + T, before + T, isDecoder, vectors.device) : null;
        stream = stream.FusedDropout(Dropout(sight.Dropout));
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
            (stream, update, Tensor? probabilities, Tensor? crossProbabilities) = Block(blocks[layer], stream, update, encoded, bias, sight, dropoutOverridden, read, checkpoint);
            if (probabilities is not null) attentions.Add(probabilities);
            if (crossProbabilities is not null) crossAttentions.Add(crossProbabilities);
        }
        if (finalNorm is not null)
            stream = finalNorm.Add(stream, update, Dropout(sight.Dropout, 1), ScalarType.Float32).Normed.FusedDropout(Dropout(sight.Dropout, 3));
        if (input.OutputHiddenStates) hiddenStates.Add(stream);
        return [stream, .. hiddenStates, .. attentions, .. crossAttentions];
    }

    private static (Tensor Stream, Tensor? Update, Tensor? Probabilities, Tensor? CrossProbabilities) Block(
        ConvBlock block, Tensor stream, Tensor? update, Tensor? encoded, RelativeBias? bias, T5Sight sight, bool dropoutOverridden, Tensor? read, bool checkpoint)
    {
        if (!checkpoint) return block.Forward(stream, update, encoded, bias, sight, dropoutOverridden, read);
        Tensor[] next = Segment.Checkpoint(inputs =>
        {
            T5Sight same = sight with { KeyMask = inputs[4], EncoderMask = inputs[5] };
            (Tensor made, Tensor? left, _, _) = block.Forward(
                inputs[0]!, inputs[1], inputs[2], bias is null ? null : bias with { Values = inputs[3]! }, same, dropoutOverridden, inputs[6]);
            return left is null ? [made] : [made, left];
        }, stream, update, encoded, bias?.Values, sight.KeyMask, sight.EncoderMask, read);
        return (next[0], next.Length > 1 ? next[1] : null, null, null);
    }
}

/// <summary>A convolutional encoder-decoder without a head.</summary>
internal sealed class ConvSeq2SeqModel : EncoderDecoder
{
    /// <summary>The family.</summary>
    public static Architecture Architecture { get; } = new()
    {
        ModelType = "conv-seq2seq",
        Backbone = config => new ConvSeq2SeqModel(config),
        Heads = new Dictionary<string, Func<HfConfig, PretrainedModel>>
        {
            ["ConvSeq2SeqModel"] = config => new ConvSeq2SeqPretrained(config, head: false),
            ["ConvSeq2SeqForConditionalGeneration"] = config => new ConvSeq2SeqPretrained(config, head: true),
        },
        Tied = ("shared.weight", "lm_head.weight"),
        HeadPrefixes = ["lm_head."],
    };

    /// <summary>Each size as we would make it, as the paper writes it, and as its code was released; and other mixers.</summary>
    public static IReadOnlyList<Preset> Presets { get; } = [.. ConvSeq2SeqPresets.All];

    private readonly ConvSeq2SeqConfig config;
    private readonly Embedding tokens;
    private readonly ConvStack encoder;
    private readonly ConvStack decoder;

    /// <summary>A model without weights yet: load or initialise them.</summary>
    public ConvSeq2SeqModel(HfConfig hfConfig)
    {
        Config = hfConfig;
        config = new ConvSeq2SeqConfig(hfConfig);
        T5Config trunk = config.Trunk;
        Traits = new BackboneTraits(trunk.Width, trunk.Layers + trunk.DecoderLayers)
        {
            DecoderLayers = trunk.DecoderLayers,
            DecoderStart = trunk.DecoderStart,
            LongestInput = config.Positions,
            Vocabulary = trunk.VocabSize,
            GradientCheckpointing = true,
        };
        tokens = Declare("shared", new Embedding(trunk.VocabSize, trunk.Width, Initializers.Normal(trunk.InitializerFactor)));
        encoder = Declare("encoder", new ConvStack(config, isDecoder: false));
        decoder = Declare("decoder", new ConvStack(config, isDecoder: true));
        Groups = [new("shared.weight", GroupName.Embed), .. GroupsOf("encoder", encoder, 0), .. GroupsOf("decoder", decoder, trunk.Layers), .. CrossGroups(trunk.Layers)];
    }

    /// <inheritdoc/>
    public override HfConfig Config { get; }

    /// <inheritdoc/>
    public override BackboneTraits Traits { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<GroupRule> Groups { get; }

    /// <summary>The token table (V, C), which is the head too where it is tied.</summary>
    internal Embedding Tokens => tokens;

    internal ConvSeq2SeqConfig Settings => config;

    private IEnumerable<GroupRule> GroupsOf(string name, ConvStack stack, int first)
    {
        bool isDecoder = name == "decoder";
        string layer = $"{name}.block.{{layer}}.layer", feedForward = isDecoder ? "2" : "1";
        int layers = isDecoder ? config.Trunk.DecoderLayers : config.Trunk.Layers;
        if (config.Positions is not null) yield return new($"{name}.embed_positions.weight", GroupName.Pos);
        if (stack.AttentionLayers < layers) yield return new($"{layer}.0.ConvMixer.*", GroupName.Conv, first);
        if (stack.AttentionLayers > 0)
        {
            foreach (string map in new[] { "q", "k", "v", "o" }) yield return new($"{layer}.0.SelfAttention.{map}.weight", GroupName.Attn, first);
            if (config.Positions is null) yield return new($"{layer}.0.SelfAttention.relative_attention_bias.weight", GroupName.Pos, first);
        }
        yield return new($"{layer}.0.layer_norm.*", GroupName.Ln, first);
        yield return new($"{layer}.{feedForward}.DenseReluDense.*", GroupName.Ff, first);
        yield return new($"{layer}.{feedForward}.layer_norm.*", GroupName.Ln, first);
        if (config.Norm == NormPlace.PreRms) yield return new($"{name}.final_layer_norm.weight", GroupName.Ln);
    }

    private static GroupRule[] CrossGroups(int first) =>
        [new("decoder.block.{layer}.layer.1.EncDecAttention.*", GroupName.Cross, first), new("decoder.block.{layer}.layer.1.layer_norm.*", GroupName.Ln, first)];

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
        .Where(name => name.EndsWith("SelfAttention.q.weight", StringComparison.Ordinal) || name.EndsWith("SelfAttention.k.weight", StringComparison.Ordinal)
            || name.EndsWith("relative_attention_bias.weight", StringComparison.Ordinal));

    internal override string? TokenTable => "shared.weight";

    /// <inheritdoc/>
    public override Tensor EmbedTokens(Tensor ids) => tokens.Forward(ids);

    /// <inheritdoc/>
    public override ModelOutputs Encode(ModelInputs input)
    {
        CheckOutputs(input);
        var sight = new T5Sight(input.AttentionMask, Causal: false, null, null, input.OutputAttentions, null, DropoutOverride ?? config.Trunk.Dropout);
        return Run(encoder, config.Trunk.Layers, Vectors(input.InputIds, input.InputsEmbeds), null, input, sight);
    }

    /// <inheritdoc/>
    public override ModelOutputs Decode(ModelInputs input, Tensor encoded)
    {
        CheckOutputs(input);
        if (input is { Cache: not null, OutputAttentions: true })
            throw new ArgumentException("with a cache probabilities are not given; ask for them without one", nameof(input));
        Tensor vectors = Vectors(input.DecoderInputIds, input.DecoderInputsEmbeds);
        Tensor? positions = input.Cache is { } cache ? PositionsFrom(cache.Length, vectors.size(0), vectors.size(1), vectors.device) : null;
        double dropout = DropoutOverride ?? config.Trunk.Dropout;
        var sight = new T5Sight(input.DecoderAttentionMask, Causal: true, positions, input.AttentionMask, input.OutputAttentions, input.Cache, dropout);
        return Run(decoder, config.Trunk.DecoderLayers, vectors, encoded, input, sight);
    }

    private ModelOutputs Run(ConvStack stack, int layers, Tensor vectors, Tensor? encoded, ModelInputs input, T5Sight sight)
    {
        long T = (sight.Cache?.Length ?? 0) + vectors.size(1);
        if (T > config.Positions) throw TooLong(T, config.Positions.Value);
        bool checkpoint = GradientCheckpointing && training && !input.OutputAttentions && input.Cache is null;
        Tensor[] outputs = Segment.Run(inputs => stack.Forward(inputs[0]!, inputs[1], input, sight, DropoutOverride is not null, checkpoint), vectors, encoded);
        int states = 1 + (input.OutputHiddenStates ? layers + 1 : 0), attentions = states + (input.OutputAttentions ? stack.AttentionLayers : 0);
        return new ModelOutputs(outputs[0], outputs[1..states], outputs[states..attentions]) { CrossAttentions = outputs[attentions..] };
    }
}
