namespace Permafrost.Tests.Models;

/// <summary>BERT keeps every model family's promises.</summary>
public class BertContract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
         "max_position_embeddings": 16, "vocab_size": 11, "pad_token_id": 0}
        """;

    protected override int Heads => 2;

    protected override IReadOnlyList<string> Fixtures => ["bert_a", "bert_b"];
}
