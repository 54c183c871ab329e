namespace Permafrost.Tests.Models;

/// <summary>Longformer keeps every model family's promises; windows are smaller than the sequences.</summary>
public class LongformerContract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "longformer", "architectures": ["LongformerModel"], "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
         "max_position_embeddings": 18, "type_vocab_size": 1, "vocab_size": 50, "pad_token_id": 1, "attention_window": 4}
        """;

    protected override int Heads => 2;

    protected override IReadOnlyList<string> Fixtures => ["longformer_a", "longformer_b"];

    protected override int FirstPosition => 2;

    protected override long AttendedKeys => 5;
}
