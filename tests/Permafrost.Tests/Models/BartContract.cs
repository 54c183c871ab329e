namespace Permafrost.Tests.Models;

/// <summary>BART's encoder keeps every model family's promises; <see cref="EncoderDecoderTests"/> has those of its decoder.</summary>
public class BartContract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "bart", "architectures": ["BartModel"], "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 4,
         "encoder_ffn_dim": 24, "decoder_ffn_dim": 20, "max_position_embeddings": 16, "vocab_size": 11, "pad_token_id": 1, "decoder_start_token_id": 2, "scale_embedding": true}
        """;

    protected override int Heads => 2;

    protected override bool TakesPositions => false;

    protected override IReadOnlyList<string> Fixtures => ["bart_a", "bart_b"];
}
