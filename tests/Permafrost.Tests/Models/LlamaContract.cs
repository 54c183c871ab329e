namespace Permafrost.Tests.Models;

/// <summary>Llama keeps every model family's promises, here with all its biases and scaled frequencies.</summary>
public class LlamaContract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "intermediate_size": 24, "max_position_embeddings": 16, "vocab_size": 11, "attention_bias": true, "mlp_bias": true, "rope_theta": 100.0,
         "rope_scaling": {"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8}}
        """;

    protected override int Heads => 4;

    protected override IReadOnlyList<string> Fixtures => ["llama_a", "llama_b"];
}

/// <summary>Mistral keeps every model family's promises, here with a window shorter than the sequences and a head size of its own.</summary>
public class MistralContract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "mistral", "architectures": ["MistralModel"], "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 6,
         "intermediate_size": 24, "max_position_embeddings": 16, "vocab_size": 11, "sliding_window": 3, "rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}
        """;

    protected override int Heads => 4;

    protected override IReadOnlyList<string> Fixtures => ["mistral_a"];
}

/// <summary>Qwen2 keeps every model family's promises, here with a window in its last layer and as many heads of keys as of queries.</summary>
public class Qwen2Contract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
         "intermediate_size": 24, "max_position_embeddings": 16, "vocab_size": 11, "use_sliding_window": true, "sliding_window": 2, "max_window_layers": 1}
        """;

    protected override int Heads => 2;

    protected override IReadOnlyList<string> Fixtures => ["qwen2_a"];
}

/// <summary>Qwen3 keeps every model family's promises.</summary>
public class Qwen3Contract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
         "intermediate_size": 24, "max_position_embeddings": 16, "vocab_size": 11}
        """;

    protected override int Heads => 4;

    protected override IReadOnlyList<string> Fixtures => ["qwen3_a"];
}
