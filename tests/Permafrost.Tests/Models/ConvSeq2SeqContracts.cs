namespace Permafrost.Tests.Models;

/// <summary>A convolutional encoder keeps every model family's promises; <see cref="ConvSeq2SeqTests"/> has those of its decoder. Here, norms come first, as released.</summary>
public class ConvSeq2SeqContract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "conv-seq2seq", "architectures": ["ConvSeq2SeqForConditionalGeneration"], "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 2, "num_heads": 2, "vocab_size": 11,
         "mixer": "lightweight", "kernel_size": 3, "conv_heads": 4, "weight_dropout": 0.1, "decoder_start_token_id": 0}
        """;

    protected override int Heads => 0;
}

/// <summary>So does one with dynamic convolutions, positions and norms behind, whose rows of taps alternate.</summary>
public class ConvSeq2SeqDynamicContract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "conv-seq2seq", "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "vocab_size": 11, "mixer": "dynamic", "kernel_size": [3, 4], "conv_heads": 8,
         "conv_head_order": "alternating", "tap_bias": true, "conv_bias": true, "pointwise": true, "norm": "post-layernorm", "max_position_embeddings": 16}
        """;

    protected override int Heads => 0;
}

/// <summary>So does one with dilated convolutions and norms of the branches.</summary>
public class ConvSeq2SeqDilatedContract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "conv-seq2seq", "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "vocab_size": 11, "mixer": "dilated", "kernel_size": 3, "dilation": [1, 2],
         "mixer_bias": false, "norm": "branch-layernorm", "feed_forward_proj": "gated-gelu"}
        """;

    protected override int Heads => 0;
}

/// <summary>So does the Transformer in the same trunk.</summary>
public class ConvSeq2SeqAttentionContract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "conv-seq2seq", "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "vocab_size": 11, "mixer": "attention", "max_position_embeddings": 16}
        """;

    protected override int Heads => 2;
}
