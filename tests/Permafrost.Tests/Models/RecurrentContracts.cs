namespace Permafrost.Tests.Models;

/// <summary>PyTorch's LSTM keeps every model family's promises.</summary>
public class LstmContract : ArchitectureContract
{
    protected override string Config => """{"model_type": "lstm", "hidden_size": 16, "num_layers": 2}""";

    protected override int Heads => 0;
}

/// <summary>So does one that also reads backward.</summary>
public class LstmBidirectionalContract : ArchitectureContract
{
    protected override string Config => """{"model_type": "lstm", "architectures": ["LSTM"], "hidden_size": 10, "num_layers": 2, "bidirectional": true, "bias": false}""";

    protected override int Heads => 0;
}

/// <summary>So does the layer-normalised one.</summary>
public class LnLstmContract : ArchitectureContract
{
    protected override string Config => """{"model_type": "lnlstm", "hidden_size": 18, "num_layers": 2}""";

    protected override int Heads => 0;
}

/// <summary>So does the paper's LSTM*, with residual connections and positions.</summary>
public class LstmStarContract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "lnlstm", "architectures": ["LNLSTM"], "hidden_size": 16, "num_hidden_layers": 3, "residual": true, "max_position_embeddings": 16, "norm_init": "ones"}
        """;

    protected override int Heads => 0;
}
