namespace Permafrost.Tests.Models;

/// <summary>RoBERTa keeps every model family's promises.</summary>
public class RobertaContract : ArchitectureContract
{
    // The ids that the tests feed are not that of padding, which is told from tokens by its id.
    protected override string Config => """
        {"model_type": "roberta", "architectures": ["RobertaModel"], "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
         "max_position_embeddings": 14, "vocab_size": 200, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1}
        """;

    protected override int Heads => 2;

    protected override int FirstPosition => 2;
}
