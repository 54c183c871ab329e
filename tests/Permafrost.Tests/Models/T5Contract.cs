namespace Permafrost.Tests.Models;

/// <summary>T5's encoder keeps every model family's promises; <see cref="EncoderDecoderTests"/> has those of its decoder.</summary>
public class T5Contract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 2, "num_heads": 2, "vocab_size": 11,
         "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12, "decoder_start_token_id": 0, "feed_forward_proj": "gated-gelu"}
        """;

    protected override int Heads => 2;

    protected override IReadOnlyList<string> Fixtures => ["t5_a", "t5_b"];
}
