namespace Permafrost.Tests.Models;

/// <summary>DistilBERT keeps every model family's promises.</summary>
public class DistilBertContract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "distilbert", "architectures": ["DistilBertModel"], "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 16,
         "vocab_size": 11, "pad_token_id": 0}
        """;

    protected override int Heads => 2;
}
