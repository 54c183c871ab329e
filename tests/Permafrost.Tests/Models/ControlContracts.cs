namespace Permafrost.Tests.Models;

/// <summary>No body at all keeps the promises that need no weights.</summary>
public class IdentityContract : ArchitectureContract
{
    protected override string Config => """{"model_type": "identity", "hidden_size": 16}""";

    protected override int Heads => 0;
}

/// <summary>Attention alone, in both directions, keeps every model family's promises.</summary>
public class AttentionOnlyContract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "attention-only", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 16, "is_causal": false}
        """;

    protected override int Heads => 2;
}

/// <summary>So does causal attention, as the preset has it.</summary>
public class CausalAttentionOnlyContract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "attention-only", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 16}
        """;

    protected override int Heads => 4;
}
