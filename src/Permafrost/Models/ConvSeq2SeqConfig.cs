using Permafrost.Formats;

namespace Permafrost.Models;

/// <summary>What mixes the tokens of a sequence.</summary>
internal enum SequenceMixer
{
    /// <summary>Rows of taps that blocks of channels share, each summing to one.</summary>
    Lightweight,
    /// <summary>A free row of taps for each channel.</summary>
    Depthwise,
    /// <summary>Taps that are computed from each token.</summary>
    Dynamic,
    /// <summary>A free row of taps for each channel, which stand some tokens apart.</summary>
    Dilated,
    /// <summary>Self-attention as T5's: the Transformer to compare with.</summary>
    Attention,
}

/// <summary>Where the norms are.</summary>
internal enum NormPlace
{
    /// <summary>A root mean square norm in front of each part, and one behind the last: x + part(norm(x)).</summary>
    PreRms,
    /// <summary>A layer norm behind each residual: norm(x + part(x)).</summary>
    PostLayer,
    /// <summary>A layer norm of what each part gives: x + norm(part(x)).</summary>
    BranchLayer,
}

/// <summary>
/// The configuration of a convolutional sequence-to-sequence model. Of its trunk (widths, layers, heads, feed-forward layer, dropout, ids) the keys and defaults are T5's; its own
/// are below, each with its key.
/// </summary>
internal sealed record ConvSeq2SeqConfig
{
    /// <summary>Reads the keys of a configuration.</summary>
    /// <exception cref="PermafrostException">A key holds a value that cannot be.</exception>
    public ConvSeq2SeqConfig(HfConfig config)
    {
        Trunk = new T5Config(config);
        Mixer = Choice(config, "mixer", "lightweight", SequenceMixer.Lightweight, SequenceMixer.Depthwise, SequenceMixer.Dynamic, SequenceMixer.Dilated, SequenceMixer.Attention);
        Norm = config.Text("norm", "pre-rmsnorm") switch
        {
            "pre-rmsnorm" => NormPlace.PreRms,
            "post-layernorm" => NormPlace.PostLayer,
            "branch-layernorm" => NormPlace.BranchLayer,
            var other => throw new PermafrostException($"{config.Source}: norm is '{other}'; there are pre-rmsnorm, post-layernorm and branch-layernorm"),
        };
        Kernels = config.Ints("kernel_size", 7, Trunk.Layers);
        DecoderKernels = config.Ints(config.Holds("decoder_kernel_size") ? "decoder_kernel_size" : "kernel_size", 7, Trunk.DecoderLayers);
        Dilations = config.Ints("dilation", 1, Trunk.Layers);
        DecoderDilations = config.Ints(config.Holds("decoder_dilation") ? "decoder_dilation" : "dilation", 1, Trunk.DecoderLayers);
        Rows = config.OptionalInt("conv_heads") ?? Trunk.Width;
        AlternatingRows = config.Text("conv_head_order", "blocks") switch
        {
            "blocks" => false,
            "alternating" => true,
            var other => throw new PermafrostException(
                $"{config.Source}: conv_head_order is '{other}'; there are blocks (neighbouring channels share a row) and alternating (channel c reads row c mod conv_heads)"),
        };
        MixerBias = config.Flag("mixer_bias", true);
        OutputBias = config.Flag("conv_bias", false);
        TapBias = config.Flag("tap_bias", false);
        Pointwise = config.Flag("pointwise", false);
        Positions = config.OptionalInt("max_position_embeddings");
        AttentionLayer = config.OptionalInt("encoder_attention_layer", 0);
        TapDropout = config.Number("weight_dropout", 0);
        if (Trunk.DecoderLayers < 1) throw new PermafrostException($"{config.Source}: num_decoder_layers is 0; a conv-seq2seq has a decoder");
        if (Kernels.Concat(DecoderKernels).Max() > 1 << 16 || Dilations.Concat(DecoderDilations).Max() > 1 << 16 || Positions > 1 << 24)
            throw new PermafrostException($"{config.Source}: kernel_size, dilation or max_position_embeddings is beyond anything that exists");
        if (TapDropout is not (>= 0 and < 1)) throw new PermafrostException($"{config.Source}: weight_dropout is {TapDropout}; it must be at least 0 and below 1");
        if (Trunk.Width % Rows != 0) throw new PermafrostException($"{config.Source}: d_model ({Trunk.Width}) channels cannot share conv_heads ({Rows}) rows of taps");
        if (Rows != Trunk.Width && Mixer is SequenceMixer.Depthwise or SequenceMixer.Dilated)
            throw new PermafrostException(
                $"{config.Source}: conv_heads is {Rows}, and the mixer {config.Text("mixer", null)} has a row of taps for each of d_model ({Trunk.Width}) channels");
        if (Mixer != SequenceMixer.Dilated && Dilations.Concat(DecoderDilations).Any(dilation => dilation != 1))
            throw new PermafrostException($"{config.Source}: dilation is set, and only the mixer dilated has one");
        if (AttentionLayer >= Trunk.Layers)
            throw new PermafrostException($"{config.Source}: encoder_attention_layer is {AttentionLayer}; the encoder's layers are 0 to {Trunk.Layers - 1}");
    }

    /// <summary>T5's configuration of everything but the mixers, norms and positions.</summary>
    public T5Config Trunk { get; }

    /// <summary><c>mixer</c>: lightweight, depthwise, dynamic, dilated or attention.</summary>
    internal SequenceMixer Mixer { get; }

    /// <summary><c>norm</c>: pre-rmsnorm, post-layernorm or branch-layernorm.</summary>
    internal NormPlace Norm { get; }

    /// <summary><c>kernel_size</c>: taps of each encoder layer; a list, or one number for all.</summary>
    public IReadOnlyList<int> Kernels { get; }

    /// <summary><c>decoder_kernel_size</c>: taps of each decoder layer; <c>kernel_size</c> where it is missing.</summary>
    public IReadOnlyList<int> DecoderKernels { get; }

    /// <summary><c>dilation</c>: tokens from tap to tap in each encoder layer; a list, or one number for all.</summary>
    public IReadOnlyList<int> Dilations { get; }

    /// <summary><c>decoder_dilation</c>: the same of the decoder; <c>dilation</c> where it is missing.</summary>
    public IReadOnlyList<int> DecoderDilations { get; }

    /// <summary><c>conv_heads</c>: H, the rows of taps that channels share; missing or null for a row for each channel.</summary>
    public int Rows { get; }

    /// <summary><c>conv_head_order</c>: alternating where channel c reads row c mod H; else blocks.</summary>
    public bool AlternatingRows { get; }

    /// <summary><c>mixer_bias</c>: whether the maps around a convolution have biases.</summary>
    public bool MixerBias { get; }

    /// <summary><c>conv_bias</c>: whether lightweight and other convolutions add a number to each channel.</summary>
    public bool OutputBias { get; }

    /// <summary><c>tap_bias</c>: whether a dynamic convolution's map to its taps has a bias.</summary>
    public bool TapBias { get; }

    /// <summary><c>pointwise</c>: whether a second map stands between convolution and output map, with nothing in between, as in the released code.</summary>
    public bool Pointwise { get; }

    /// <summary><c>max_position_embeddings</c>: rows of each stack's learned position table, and so the longest sequence; null for no table and any length.</summary>
    public int? Positions { get; }

    /// <summary><c>encoder_attention_layer</c>: the encoder's layer that attends in place of its convolution; null for none.</summary>
    public int? AttentionLayer { get; }

    /// <summary><c>weight_dropout</c>: DropConnect, the probability with which a tap is dropped.</summary>
    public double TapDropout { get; }

    /// <summary>Whether a layer attends to its own sequence.</summary>
    internal bool Attends(bool isDecoder, int layer) => Mixer == SequenceMixer.Attention || (!isDecoder && layer == AttentionLayer);

    private static SequenceMixer Choice(HfConfig config, string key, string fallback, params SequenceMixer[] known)
    {
        string given = config.Text(key, fallback)!;
        foreach (SequenceMixer mixer in known) if (string.Equals(mixer.ToString(), given, StringComparison.OrdinalIgnoreCase)) return mixer;
        throw new PermafrostException($"{config.Source}: {key} is '{given}'; there are {string.Join(", ", known.Select(mixer => mixer.ToString().ToLowerInvariant()))}");
    }
}
