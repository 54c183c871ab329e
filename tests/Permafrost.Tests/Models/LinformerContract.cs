namespace Permafrost.Tests.Models;

/// <summary>Linformer keeps every model family's promises.</summary>
public class LinformerContract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "linformer", "architectures": ["LinformerLM"], "dim": 16, "seq_len": 16, "depth": 2, "k": 5, "heads": 2, "num_tokens": 11, "dropout": 0.1}
        """;

    protected override int Heads => 2;

    protected override long AttendedKeys => 5;
}

/// <summary>Linformer with heads of their own size that share one head of keys, which are the values too, keeps them.</summary>
public class LinformerSharedContract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "linformer", "dim": 16, "seq_len": 9, "depth": 3, "k": 3, "heads": 4, "dim_head": 6, "one_kv_head": true, "share_kv": true, "num_tokens": 11}
        """;

    protected override int Heads => 4;

    protected override long AttendedKeys => 3;
}
