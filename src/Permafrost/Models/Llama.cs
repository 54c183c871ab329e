// The decoders of Llama's kind: Touvron et al. 2023, "LLaMA" and "Llama 2"; Grattafiori et al. 2024, "The Llama 3 Herd of Models"; Jiang et al. 2023, "Mistral 7B";
// Yang et al. 2024, "Qwen2 Technical Report"; Yang et al. 2025, "Qwen3 Technical Report". They differ in biases, windows and norms of heads, which LlamaConfig tells apart.
// Checked against Hugging Face transformers 5.16, models/{llama,mistral,qwen2,qwen3}/modeling_*.py: names, masks, positions, windows, heads, loss, cache.
// What differs: every norm adds what the layer before it computed to the residual stream, in the same pass; attention never writes its probabilities
// unless they are asked for; and the last layer computes only the positions that are read.

using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>LlamaAttention and its like: rotary positions, key and value heads that query heads share, a window where the layer has one.</summary>
internal sealed class LlamaAttention : Module
{
    private readonly LlamaConfig config;
    private readonly string place;
    private readonly double scale;
    private readonly long? window;
    private readonly Linear query;
    private readonly Linear key;
    private readonly Linear value;
    private readonly Linear output;
    private readonly RmsNorm? queryNorm;
    private readonly RmsNorm? keyNorm;

    public LlamaAttention(LlamaConfig config, int layer)
    {
        this.config = config;
        place = $"layers.{layer}";
        scale = 1 / Math.Sqrt(config.HeadSize);
        window = config.Windows[layer];
        (int queries, int keys) = (config.Heads * config.HeadSize, config.KeyHeads * config.HeadSize);
        query = Declare("q_proj", LlamaModel.Map(config, config.Width, queries, config.QueryBias));
        key = Declare("k_proj", LlamaModel.Map(config, config.Width, keys, config.QueryBias));
        value = Declare("v_proj", LlamaModel.Map(config, config.Width, keys, config.QueryBias));
        output = Declare("o_proj", LlamaModel.Map(config, queries, config.Width, config.OutputBias));
        if (!config.HeadNorms) return;
        queryNorm = Declare("q_norm", new RmsNorm(config.HeadSize, config.Epsilon));
        keyNorm = Declare("k_norm", new RmsNorm(config.HeadSize, config.Epsilon));
    }

    public (Tensor Output, Tensor? Probabilities) Forward(Tensor x, LlamaPass pass, Tensor? read)
    {
        Tensor q = read is null ? Turned(query, queryNorm, x, pass.Angles) : Turned(query, queryNorm, x.Rows(read), pass.ReadAngles!);  // (B, T, H D), or (B, K, H D)
        Tensor k = Turned(key, keyNorm, x, pass.Angles), v = value.Forward(x);  // (B, S, KH D)
        if (pass.Cache is { } cache) (k, v) = cache.Append(place, k, v);
        var settings = new AttentionSettings(config.Heads, scale, Causal: true, read ?? pass.Places, pass.Mask, Dropout(pass.Dropout ?? config.AttentionDropout))
        {
            KeyHeads = config.KeyHeads == config.Heads ? null : config.KeyHeads,
            Before = window < k.size(1) ? window - 1 : null,
        };
        (Tensor context, Tensor? probabilities) = Attention.Attend(q, k, v, settings, pass.OutputAttentions, (queries, keys, _) => Probabilities(queries, keys, settings));
        return (output.Forward(context), probabilities);  // (B, T, H D)
    }

    // The norm is each head's own.
    private Tensor Turned(Linear map, RmsNorm? norm, Tensor x, RotaryAngles angles)
    {
        Tensor y = map.Forward(x);
        if (norm is not null) y = norm.Forward(y.Reshaped(y.size(0), y.size(1), y.size(2) / config.HeadSize, config.HeadSize)).Reshaped(y.shape);
        return Rotary.Turn(y, angles);
    }

    private static Tensor Probabilities(Tensor q, Tensor k, AttentionSettings settings)
    {
        (long T, long S) = (q.size(2), k.size(2));
        // New tokens stand behind those of the cache, the same number in every row.
        Tensor places = Scalars.Range(S - T, T, q.device).unsqueeze(1), keys = Scalars.Range(0, S, q.device);
        Tensor hidden = keys.gt(places);
        if (settings.Before is { } before) hidden = hidden.logical_or(keys.lt(places.Plus(-before)));
        Tensor mask = torch.zeros([T, S], ScalarType.Float32, q.device).masked_fill(hidden, AttentionMask.Hidden.Hold());
        Tensor? padding = settings.KeyMask is { } given ? AttentionMask.Padding(given.ne(0.Hold())) : null;
        return Attention.Probabilities(q, k, mask, padding, settings.Scale);
    }
}

/// <summary>LlamaMLP: the feed-forward layer, one half of whose inner numbers opens and shuts the other (Shazeer 2020).</summary>
internal sealed class LlamaMlp : Module
{
    private readonly Activation activation;
    private readonly Linear gate;
    private readonly Linear up;
    private readonly Linear down;

    public LlamaMlp(LlamaConfig config)
    {
        activation = config.Activation;
        gate = Declare("gate_proj", LlamaModel.Map(config, config.Width, config.Inner, config.InnerBias));
        up = Declare("up_proj", LlamaModel.Map(config, config.Width, config.Inner, config.InnerBias));
        down = Declare("down_proj", LlamaModel.Map(config, config.Inner, config.Width, config.InnerBias));
    }

    public Tensor Forward(Tensor x) => down.Forward(up.Forward(x).Gated(gate.Forward(x, activation)));
}

/// <summary>What every layer of one forward pass is given.</summary>
/// <param name="Angles">The tokens' rotations.</param>
/// <param name="ReadAngles">Those of the positions that the last layer computes; null for all.</param>
/// <param name="Mask">(B, S), not 0 for tokens; null when nothing is padded.</param>
/// <param name="Places">(B, T) int64: where the tokens stand among the keys; null for 0, 1, 2, ...</param>
/// <param name="Cache">Keys and values of the tokens before; null for none.</param>
/// <param name="OutputAttentions">Whether probabilities are returned.</param>
/// <param name="Dropout">In place of the configuration's.</param>
internal sealed record LlamaPass(RotaryAngles Angles, RotaryAngles? ReadAngles, Tensor? Mask, Tensor? Places, KeyValueCache? Cache, bool OutputAttentions, double? Dropout);

/// <summary>LlamaDecoderLayer: norm, attention, norm, feed-forward, each around a residual.</summary>
internal sealed class LlamaLayer : Module
{
    private readonly LlamaAttention attention;
    private readonly LlamaMlp mlp;
    private readonly RmsNorm inputNorm;
    private readonly RmsNorm innerNorm;

    public LlamaLayer(LlamaConfig config, int layer)
    {
        attention = Declare("self_attn", new LlamaAttention(config, layer));
        mlp = Declare("mlp", new LlamaMlp(config));
        inputNorm = Declare("input_layernorm", new RmsNorm(config.Width, config.Epsilon));
        innerNorm = Declare("post_attention_layernorm", new RmsNorm(config.Width, config.Epsilon));
    }

    /// <summary>The residual stream without what the layer's own feed-forward layer adds; that is the update, which the next norm adds.</summary>
    public (Tensor Stream, Tensor Update, Tensor? Probabilities) Forward(Tensor stream, Tensor? update, LlamaPass pass, Tensor? read)
    {
        // The scope frees what no gradient needs as soon as the layer is done.
        using DisposeScope scope = torch.NewDisposeScope();
        (stream, Tensor normed) = inputNorm.Add(stream, update, DropoutDraw.None);
        (Tensor attended, Tensor? probabilities) = attention.Forward(normed, pass, read);
        if (read is not null) stream = stream.Rows(read);
        (stream, normed) = innerNorm.Add(stream, attended, DropoutDraw.None);
        Tensor next = mlp.Forward(normed);
        if (probabilities is not null) scope.MoveToOuter(probabilities);
        return (scope.MoveToOuter(stream), scope.MoveToOuter(next), probabilities);
    }
}

/// <summary>LlamaModel, MistralModel, Qwen2Model or Qwen3Model: a decoder without a head.</summary>
public sealed class LlamaModel : Backbone
{
    /// <summary>The families.</summary>
    public static IReadOnlyList<Architecture> Architectures { get; } = [Family("llama", "Llama"), Family("mistral", "Mistral"), Family("qwen2", "Qwen2"), Family("qwen3", "Qwen3")];

    /// <summary>Configurations that were published, and a small one.</summary>
    public static IReadOnlyList<Preset> Presets { get; } =
    [
        Preset("llama-tiny", "llama", 2, 128, 4, 2, 2048, """ "intermediate_size": 352, "vocab_size": 32000, "rms_norm_eps": 1e-5"""),
        Preset("tinyllama-1.1b", "llama", 22, 2048, 32, 4, 2048, """ "intermediate_size": 5632, "vocab_size": 32000, "rms_norm_eps": 1e-5"""),
        Preset("llama-3.2-1b", "llama", 16, 2048, 32, 8, 131072, """
             "intermediate_size": 8192, "vocab_size": 128256, "rms_norm_eps": 1e-5, "head_dim": 64, "tie_word_embeddings": true, "rope_theta": 500000.0,
             "rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
            """),
        Preset("llama-3-8b", "llama", 32, 4096, 32, 8, 8192, """ "intermediate_size": 14336, "vocab_size": 128256, "rms_norm_eps": 1e-5, "rope_theta": 500000.0"""),
        Preset("mistral-7b", "mistral", 32, 4096, 32, 8, 32768, """ "intermediate_size": 14336, "vocab_size": 32000, "rms_norm_eps": 1e-5, "sliding_window": 4096"""),
        Preset("qwen2-0.5b", "qwen2", 24, 896, 14, 2, 131072, """ "intermediate_size": 4864, "vocab_size": 151936, "tie_word_embeddings": true, "rope_theta": 1000000.0"""),
        Preset("qwen2.5-1.5b", "qwen2", 28, 1536, 12, 2, 131072, """ "intermediate_size": 8960, "vocab_size": 151936, "tie_word_embeddings": true, "rope_theta": 1000000.0"""),
        Preset("qwen3-0.6b", "qwen3", 28, 1024, 16, 8, 40960, """
             "intermediate_size": 3072, "vocab_size": 151936, "head_dim": 128, "tie_word_embeddings": true, "rope_theta": 1000000.0
            """),
    ];

    private readonly LlamaConfig config;
    private readonly Embedding tokens;
    private readonly LlamaLayer[] layers;
    private readonly RmsNorm finalNorm;
    private readonly Rotary rotary;

    /// <summary>A model without weights yet: load or initialise them.</summary>
    public LlamaModel(HfConfig hfConfig)
    {
        Config = hfConfig;
        config = new LlamaConfig(hfConfig);
        Traits = new BackboneTraits(config.Width, config.Layers) { LongestInput = config.Positions, Causal = true, Vocabulary = config.VocabSize, GradientCheckpointing = true };
        tokens = Declare("embed_tokens", new Embedding(config.VocabSize, config.Width, Initializers.Normal(config.InitializerRange), config.PadId));
        layers = [.. Enumerable.Range(0, config.Layers).Select(layer => Declare($"layers.{layer}", new LlamaLayer(config, layer)))];
        finalNorm = Declare("norm", new RmsNorm(config.Width, config.Epsilon));
        rotary = Declare("rotary_emb", new Rotary(config.Frequencies, config.Positions));
        Groups = [.. ListGroups(config)];
    }

    /// <inheritdoc/>
    public override HfConfig Config { get; }

    /// <inheritdoc/>
    public override BackboneTraits Traits { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<GroupRule> Groups { get; }

    /// <summary>The token table (V, C), which is the head too where it is tied.</summary>
    internal Embedding Tokens => tokens;

    internal LlamaConfig Settings => config;

    internal override string? TokenTable => "embed_tokens.weight";

    /// <summary>A dense layer with the start values of Hugging Face's classes: normal weights, no bias.</summary>
    internal static Linear Map(LlamaConfig config, long inputs, long outputs, bool bias) =>
        new(inputs, outputs, bias, Initializers.Normal(config.InitializerRange), Initializers.Zeros);

    private static Architecture Family(string modelType, string name) => new()
    {
        ModelType = modelType,
        Backbone = config => new LlamaModel(config),
        Heads = new Dictionary<string, Func<HfConfig, PretrainedModel>>
        {
            [$"{name}Model"] = config => new LlamaPretrained(config, head: false),
            [$"{name}ForCausalLM"] = config => new LlamaPretrained(config, head: true),
        },
        BasePrefixes = ["model."],
        Buffers = ["rotary_emb.inv_freq"],
        Tied = ("embed_tokens.weight", "lm_head.weight"),
        TiedByDefault = false,
        HeadPrefixes = ["lm_head.", "score.", "qa_outputs."],
    };

    private static Preset Preset(string name, string modelType, int layers, int width, int heads, int keyHeads, int positions, string rest) => new(
        name, $"{char.ToUpperInvariant(modelType[0])}{modelType[1..]}, {layers} layers of {width}, {heads} heads, {keyHeads} of keys, {positions} positions",
        $$"""{"model_type": "{{modelType}}", "architectures": ["{{char.ToUpperInvariant(modelType[0])}}{{modelType[1..]}}ForCausalLM"], "num_hidden_layers": {{layers}},""" +
        $$""" "hidden_size": {{width}}, "num_attention_heads": {{heads}}, "num_key_value_heads": {{keyHeads}}, "max_position_embeddings": {{positions}},{{rest}}}""");

    private static IEnumerable<GroupRule> ListGroups(LlamaConfig config)
    {
        yield return new("embed_tokens.weight", GroupName.Embed);
        foreach (string map in new[] { "q_proj", "k_proj", "v_proj", "o_proj" }) yield return new($"layers.{{layer}}.self_attn.{map}.*", GroupName.Attn);
        if (config.HeadNorms)
            foreach (string norm in new[] { "q_norm", "k_norm" }) yield return new($"layers.{{layer}}.self_attn.{norm}.*", GroupName.Ln);
        yield return new("layers.{layer}.mlp.*", GroupName.Ff);
        yield return new("layers.{layer}.input_layernorm.*", GroupName.Ln);
        yield return new("layers.{layer}.post_attention_layernorm.*", GroupName.Ln);
        yield return new("norm.*", GroupName.Ln);
    }

    /// <inheritdoc/>
    public override IEnumerable<string> UnusedParameters(BackboneUse use) => use.Vectors ? ["embed_tokens.weight"] : [];

    /// <inheritdoc/>
    public override Tensor EmbedTokens(Tensor ids) => tokens.Forward(ids);

    /// <inheritdoc/>
    public override ModelOutputs Forward(ModelInputs input)
    {
        using IDisposable? noGrad = input.Cache is null ? null : torch.no_grad();
        Tensor vectors = Vectors(input.InputIds, input.InputsEmbeds);
        CheckOutputs(input);
        long length = (input.Cache?.Length ?? 0) + vectors.size(1);
        if (length > config.Positions) throw TooLong(length, config.Positions);
        Tensor[] outputs = Segment.Run(inputs => RunLayers(inputs[0]!, input), vectors);
        return Outputs(outputs, input, config.Layers).Outputs;
    }

    // The last hidden state; the states between the layers and the attention probabilities, where they are wanted.
    private Tensor[] RunLayers(Tensor stream, ModelInputs input)
    {
        var hiddenStates = new List<Tensor>();
        var attentions = new List<Tensor>();
        LlamaPass pass = Begin(stream, input);
        Tensor? update = null;
        for (int layer = 0; layer < layers.Length; layer++)
        {
            if (input.OutputHiddenStates)
            {
                if (update is not null) stream = Segment.Compose(inputs => inputs[0].Plus(inputs[1]), stream, update);
                update = null;
                hiddenStates.Add(stream);
            }
            (stream, update, Tensor? probabilities) = Layer(layers[layer], stream, update, pass, layer == layers.Length - 1 ? input.ReadPositions : null);
            if (probabilities is not null) attentions.Add(probabilities);
        }
        (_, Tensor hidden) = finalNorm.Add(stream, update, DropoutDraw.None, ScalarType.Float32);
        if (input.OutputHiddenStates) hiddenStates.Add(hidden);
        return [hidden, .. hiddenStates, .. attentions];
    }

    private LlamaPass Begin(Tensor stream, ModelInputs input)
    {
        (long B, long T, long first) = (stream.size(0), stream.size(1), input.Cache?.Length ?? 0);
        RotaryAngles angles = input.PositionIds is { } ids ? rotary.At(ids) : rotary.At(first, T, stream.device);
        RotaryAngles? readAngles = input.ReadPositions is not { } read ? null : rotary.At(input.PositionIds?.expand(B, T).gather(1, read) ?? read);
        Tensor? places = first == 0 ? null : Scalars.Range(first, T, stream.device).unsqueeze(0).expand(B, T);
        return new LlamaPass(angles, readAngles, input.AttentionMask, places, input.Cache, input.OutputAttentions, DropoutOverride);
    }

    private (Tensor Stream, Tensor Update, Tensor? Probabilities) Layer(LlamaLayer layer, Tensor stream, Tensor? update, LlamaPass pass, Tensor? read)
    {
        if (!GradientCheckpointing || !training || pass.OutputAttentions || pass.Cache is not null) return layer.Forward(stream, update, pass, read);
        Tensor[] next = Segment.Checkpoint(inputs =>
        {
            var again = new LlamaPass(new(inputs[4]!, inputs[5]!), inputs[6] is null ? null : new(inputs[6]!, inputs[7]!), inputs[2], null, null, false, pass.Dropout);
            (Tensor nextStream, Tensor nextUpdate, _) = layer.Forward(inputs[0]!, inputs[1], again, inputs[3]);
            return [nextStream, nextUpdate];
        }, stream, update, pass.Mask, read, pass.Angles.Cos, pass.Angles.Sin, pass.ReadAngles?.Cos, pass.ReadAngles?.Sin);
        return (next[0], next[1], null);
    }
}
