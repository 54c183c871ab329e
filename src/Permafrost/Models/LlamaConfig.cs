using Permafrost.Formats;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>The configuration of a decoder of Llama's kind, with the keys of <c>config.json</c> and the defaults of its <c>model_type</c> in Hugging Face transformers.</summary>
public sealed record LlamaConfig
{
    /// <summary>Reads the keys of a configuration.</summary>
    /// <exception cref="PermafrostException">A key holds a value that cannot be, or the weights are quantised.</exception>
    public LlamaConfig(HfConfig config)
    {
        string type = config.ModelType;
        bool mistral = type == "mistral", qwen = type is "qwen2" or "qwen3";
        VocabSize = config.Int("vocab_size", qwen ? 151936 : 32000);
        Positions = config.Int("max_position_embeddings", mistral ? 131072 : qwen ? 32768 : 2048);
        Width = config.Int("hidden_size", 4096);
        Layers = config.Int("num_hidden_layers", 32);
        Heads = config.Int("num_attention_heads", 32);
        // Only where the key is missing, not where it is null.
        KeyHeads = config.OptionalInt("num_key_value_heads") ?? (config.Holds("num_key_value_heads") || type == "llama" ? Heads : mistral ? 8 : 32);
        Inner = config.Int("intermediate_size", mistral ? 14336 : qwen ? 22016 : 11008);
        HeadSize = config.OptionalInt("head_dim") ?? (type == "qwen3" ? 128 : Width / Heads);
        Epsilon = config.Number("rms_norm_eps", 1e-6);
        InitializerRange = config.Number("initializer_range", 0.02);
        AttentionDropout = config.Number("attention_dropout", 0);
        Activation = Activations.Find(config.Text("hidden_act", "silu")!, config.Source);
        TiedHead = config.Flag("tie_word_embeddings", false);
        OutputBias = type is "llama" or "qwen3" && config.Flag("attention_bias", false);
        QueryBias = OutputBias || type == "qwen2";
        InnerBias = type == "llama" && config.Flag("mlp_bias", false);
        HeadNorms = type == "qwen3";
        Check(config);
        PadId = Padding(config, VocabSize);
        Windows = ReadWindows(config, mistral, qwen, Layers);
        Frequencies = RotaryConfig.Frequencies(config, HeadSize, Positions);
    }

    /// <summary>V, the number of tokens.</summary>
    public int VocabSize { get; }

    /// <summary>The longest sequence that was trained on.</summary>
    public int Positions { get; }

    /// <summary>C.</summary>
    public int Width { get; }

    /// <summary>L.</summary>
    public int Layers { get; }

    /// <summary>H, the heads of queries.</summary>
    public int Heads { get; }

    /// <summary>The heads of keys and values, each for H / KeyHeads heads of queries.</summary>
    public int KeyHeads { get; }

    /// <summary>D, which need not be C / H.</summary>
    public int HeadSize { get; }

    /// <summary>Width of the feed-forward layers.</summary>
    public int Inner { get; }

    /// <summary>The norms' epsilon.</summary>
    public double Epsilon { get; }

    /// <summary>Standard deviation of the initial weights.</summary>
    public double InitializerRange { get; }

    /// <summary>Dropout on the attention probabilities.</summary>
    public double AttentionDropout { get; }

    /// <summary>Activation of the gate in the feed-forward layers.</summary>
    public Activation Activation { get; }

    /// <summary>Whether the head is the token table.</summary>
    public bool TiedHead { get; }

    /// <summary>Whether the maps to queries, keys and values have biases.</summary>
    public bool QueryBias { get; }

    /// <summary>Whether the map behind attention has a bias.</summary>
    public bool OutputBias { get; }

    /// <summary>Whether the feed-forward layers' maps have biases.</summary>
    public bool InnerBias { get; }

    /// <summary>Whether each head of queries and keys is normed before it is turned.</summary>
    public bool HeadNorms { get; }

    /// <summary>The id of padding, whose vector starts at zero and is not trained; null for none.</summary>
    public int? PadId { get; }

    /// <summary>For each layer, how many tokens a token sees, itself among them; null for all before it.</summary>
    public IReadOnlyList<int?> Windows { get; }

    /// <summary>The rotary positions' frequencies (D/2), in radians a position.</summary>
    public IReadOnlyList<float> Frequencies { get; }

    private void Check(HfConfig config)
    {
        if (config.Section("quantization_config") is { } quantised)
            throw new PermafrostException(
                $"{config.Source}: quantization_config says that the weights are quantised ({quantised.Text("quant_method", "by an unnamed method")}); " +
                "take the checkpoint of float16, bfloat16 or float32 that they were made from");
        if (Layers > 10_000 || Width > 1 << 20 || Inner > 1 << 22 || Positions > 1 << 24 || VocabSize > 1 << 26 || Heads * (long)HeadSize > 1 << 22)
            throw new PermafrostException(
                $"{config.Source}: a size (num_hidden_layers, hidden_size, intermediate_size, num_attention_heads, head_dim, vocab_size, ...) is beyond anything that exists");
        if (Epsilon is not (> 0 and < 1)) throw new PermafrostException($"{config.Source}: rms_norm_eps is {Epsilon}; it must be between 0 and 1");
        if (AttentionDropout is not (>= 0 and < 1)) throw new PermafrostException($"{config.Source}: attention_dropout is {AttentionDropout}; it must be at least 0 and below 1");
        if (InitializerRange < 0) throw new PermafrostException($"{config.Source}: initializer_range is {InitializerRange}; it must not be negative");
        if (config.OptionalInt("head_dim") is null && HeadSize * Heads != Width && !HeadNorms)
            throw new PermafrostException($"{config.Source}: hidden_size ({Width}) is not a multiple of num_attention_heads ({Heads}), and there is no head_dim");
        if (KeyHeads > Heads || Heads % KeyHeads != 0)
            throw new PermafrostException($"{config.Source}: num_attention_heads ({Heads}) is not a multiple of num_key_value_heads ({KeyHeads}), so its heads cannot share those");
    }

    // torch.nn.Embedding counts a negative padding_idx from the end.
    private static int? Padding(HfConfig config, int rows)
    {
        if (config.OptionalInt("pad_token_id", minimum: int.MinValue) is not { } pad) return null;
        if (pad < -rows || pad >= rows) throw new PermafrostException($"{config.Source}: pad_token_id is {pad}, and vocab_size {rows}");
        return pad < 0 ? pad + rows : pad;
    }

    private static int?[] ReadWindows(HfConfig config, bool mistral, bool qwen, int layers)
    {
        var windows = new int?[layers];
        if (!mistral && !(qwen && config.Flag("use_sliding_window", false))) return windows;
        int? window = config.Holds("sliding_window") ? config.OptionalInt("sliding_window") : 4096;
        IReadOnlyList<string>? types = qwen ? config.Texts("layer_types") : null;
        if (types is not null && types.Count != layers)
            throw new PermafrostException($"{config.Source}: layer_types names {types.Count} layers, and num_hidden_layers is {layers}");
        int first = qwen ? config.Int("max_window_layers", 28, minimum: 0) : 0;
        for (int layer = 0; layer < layers; layer++)
        {
            if (types is not null && types[layer] is not ("full_attention" or "sliding_attention"))
                throw new PermafrostException($"{config.Source}: layer_types holds '{types[layer]}'; known are full_attention and sliding_attention");
            if (types is null ? layer < first : types[layer] == "full_attention") continue;
            if (types is not null && window is null) throw new PermafrostException($"{config.Source}: layer_types asks for sliding_attention, and sliding_window is null");
            windows[layer] = window;
        }
        return windows;
    }
}
