using Permafrost.Formats.Onnx;

namespace Permafrost.Models;

/// <summary>A layer of an encoder that was found in a graph.</summary>
internal sealed record OnnxLayer(
    OnnxDense Query, OnnxDense Key, OnnxDense Value, OnnxDense AttentionOutput, OnnxNorm AttentionNorm, OnnxDense Intermediate, OnnxDense Output, OnnxNorm OutputNorm)
{
    /// <summary>Numbers of an attention head; null where the graph does not say.</summary>
    public long? HeadSize { get; init; }

    /// <summary>Hugging Face's names of the feed-forward layers' activation, with blanks between them; null where it was not recognised.</summary>
    public string? Activation { get; init; }
}

/// <summary>Follows an encoder's stream through its layers.</summary>
internal sealed class OnnxLayers
{
    // Operators through which a chain of one value after the other is followed.
    private static readonly HashSet<string> Chain =
    [
        "Identity", "Cast", "CastLike", "Dropout", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Mul", "Div", "Add", "Where", "Softmax", "Expand", "Max", "Clip",
    ];

    private static readonly HashSet<string> Activating =
    [
        "Identity", "Cast", "CastLike", "Reshape", "Mul", "Div", "Add", "Sub", "Pow", "Sqrt", "Erf", "Tanh", "Relu", "Gelu", "Sigmoid", "FastGelu", "QuickGelu", "Dropout",
    ];

    /// <summary>Operators that choose positions.</summary>
    public static IReadOnlySet<string> Selecting { get; } = new HashSet<string>
    {
        "Identity", "Cast", "CastLike", "Dropout", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Gather", "Slice", "GatherND",
    };

    private const int LongestChain = 64;

    private readonly OnnxGraph graph;
    private readonly OnnxBlocks blocks;
    private readonly Dictionary<string, List<(OnnxNorm Norm, OnnxDense Dense)>> byResidual = new(StringComparer.Ordinal);

    public OnnxLayers(OnnxGraph graph, OnnxBlocks blocks)
    {
        this.graph = graph;
        this.blocks = blocks;
        foreach (OnnxNorm norm in blocks.Norms)
        {
            if (blocks.Residual(norm.Inputs) is not { } found) continue;
            if (!byResidual.TryGetValue(found.Residual, out List<(OnnxNorm, OnnxDense)>? list)) byResidual[found.Residual] = list = [];
            list.Add((norm, found.Dense));
        }
    }

    /// <summary>The layer that takes a value; null where none does.</summary>
    public OnnxLayer? Next(string stream)
    {
        stream = graph.Strip(stream);
        foreach ((OnnxNorm norm, OnnxDense dense) in byResidual.GetValueOrDefault(stream) ?? [])
        {
            if (Attention(dense.Input) is not { } heads || heads.Query.Input != stream || heads.Key.Input != stream || heads.Value.Input != stream) continue;
            string middle = graph.Strip(norm.Output);
            foreach ((OnnxNorm last, OnnxDense outer) in byResidual.GetValueOrDefault(middle) ?? [])
            {
                if (Activated(outer.Input) is not { } inner || inner.Dense.Input != middle) continue;
                return new OnnxLayer(heads.Query, heads.Key, heads.Value, dense, norm, inner.Dense, outer, last) { HeadSize = heads.HeadSize, Activation = inner.Activation };
            }
        }
        return null;
    }

    /// <summary>Whether a value follows from another through some operators alone.</summary>
    public bool Follows(string value, string from, IReadOnlySet<string> through)
    {
        from = graph.Strip(from);
        for (int step = 0; step < LongestChain; step++)
        {
            if (graph.Strip(value) == from) return true;
            if (graph.Producer(value) is not { } node || !through.Contains(node.Operator) || !graph.IsLive(node.Input(0))) return false;
            value = node.Input(0);
        }
        return false;
    }

    /// <summary>The one dense layer that a value follows from through an activation, and which one; null where there is none, or several.</summary>
    public (OnnxDense Dense, string? Activation)? Activated(string value)
    {
        var operators = new List<OnnxNode>();
        OnnxDense? found = null;
        var seen = new HashSet<string>([value]);
        var open = new Stack<string>(seen);
        while (open.TryPop(out string? next))
        {
            if (blocks.Dense(next) is { } dense)
            {
                if (found is not null && found.Product != dense.Product) return null;
                found = dense;
                continue;
            }
            if (graph.Producer(next) is not { } node || !Activating.Contains(node.Operator) || seen.Count > LongestChain) return null;
            operators.Add(node);
            foreach (string input in graph.LiveInputs(node)) if (seen.Add(input)) open.Push(input);
        }
        return found is null ? null : (found, Name(operators));
    }

    private string? Name(List<OnnxNode> operators)
    {
        bool Has(string name) => operators.Exists(node => node.Operator == name);
        const string exact = "gelu gelu_python", tanh = "gelu_new gelu_pytorch_tanh gelu_fast gelu_accurate";
        if (Has("Gelu")) return operators.Exists(node => node.Operator == "Gelu" && node.Text("approximate") == "tanh") ? tanh : exact;
        if (Has("Erf")) return exact;
        if (Has("FastGelu")) return tanh;
        if (Has("Relu")) return operators.Count(node => node.Operator == "Relu") == 1 && !Has("Mul") ? "relu" : null;
        // Tanh's cubic term sets the approximation of gelu apart from tanh itself.
        if (Has("Tanh")) return Has("Mul") ? tanh : "tanh";
        return Has("Sigmoid") && Has("Mul") ? Scales(operators) ? "quick_gelu" : "silu swish" : null;
    }

    private bool Scales(List<OnnxNode> operators) => operators.Exists(node => node.Is("Mul") && node.Inputs.Any(input => graph.Scalar(input) is not null));

    // What the products of probabilities and values give, merged: the three maps behind it.
    private (OnnxDense Query, OnnxDense Key, OnnxDense Value, long? HeadSize)? Attention(string context)
    {
        if (Back(context, node => node.Is("MatMul") || node.Operator is "Attention" or "MultiHeadAttention") is not { } node) return null;
        // ONNX's own operator (version 23), and ONNX Runtime's with its biases added before.
        bool whole = node.Is("Attention") || (node is { Operator: "MultiHeadAttention", Domain: "com.microsoft" } && node.Input(3).Length == 0);
        if (whole) return Heads(node.Input(0), node.Input(1), node.Input(2));
        if (!node.Is("MatMul") || graph.LiveInputs(node).Length != 2) return null;
        if (Back(node.Input(0), candidate => candidate.Is("Softmax")) is not { } softmax) return null;
        if (Back(softmax.Input(0), candidate => candidate.Is("MatMul")) is not { } scores || graph.LiveInputs(scores).Length != 2) return null;
        return Heads(scores.Input(0), scores.Input(1), node.Input(1));
    }

    private (OnnxDense Query, OnnxDense Key, OnnxDense Value, long? HeadSize)? Heads(string query, string key, string value)
    {
        if (BackToDense(query) is not { } q || BackToDense(key) is not { } k || BackToDense(value) is not { } v) return null;
        return (q.Dense, k.Dense, v.Dense, q.HeadSize ?? k.HeadSize ?? v.HeadSize);
    }

    // The nearest operator of a kind before a value, where the chain to it does not branch.
    private OnnxNode? Back(string value, Func<OnnxNode, bool> wanted)
    {
        for (int step = 0; step < LongestChain; step++)
        {
            if (graph.Producer(value) is not { } node) return null;
            if (wanted(node)) return node;
            if (Previous(node) is not { } previous) return null;
            value = previous;
        }
        return null;
    }

    private (OnnxDense Dense, long? HeadSize)? BackToDense(string value)
    {
        long? headSize = null;
        for (int step = 0; step < LongestChain; step++)
        {
            if (graph.Producer(value) is not { } node) return null;
            if (node.Is("Reshape")) headSize ??= LastSize(node);
            if (blocks.Dense(value) is { } dense) return (dense, headSize ?? SplitSize(value));
            if (Previous(node) is not { } previous) return null;
            value = previous;
        }
        return null;
    }

    // The one input that a chain goes on with.
    private string? Previous(OnnxNode node)
    {
        if (node.Domain.Length > 0 || !Chain.Contains(node.Operator)) return null;
        // Where a condition depends on the values, it only guards against rows without any (NaN).
        string[] inputs = node.Is("Where") ? [.. node.Inputs.Skip(1).Where(graph.IsLive).Distinct()] : graph.LiveInputs(node);
        return inputs is [var only] ? only : null;
    }

    // A view over the width that a dense layer's result was seen through, such as Reshape(x, [B, T, heads, size]).
    private long? SplitSize(string value)
    {
        for (int step = 0; step < LongestChain && graph.Producer(value) is { } node; step++)
        {
            if (node.Is("Reshape") && LastSize(node) is { } size) return size;
            if (node.Operator is not ("Reshape" or "Identity" or "Cast" or "Squeeze" or "Unsqueeze")) return null;
            value = node.Input(0);
        }
        return null;
    }

    // The last size of a shape of four: numbers of a head. Exporters give the shape whole, or put together of pieces.
    private long? LastSize(OnnxNode reshape)
    {
        if (graph.Constant(reshape.Input(1))?.Tensor.Integers() is { Length: 4 } shape) return shape[3] > 0 ? shape[3] : null;
        if (graph.Producer(graph.Strip(reshape.Input(1))) is not { } concat || !concat.Is("Concat")) return null;
        if (concat.Inputs.Length != 4 || graph.Constant(concat.Inputs[3])?.Tensor.Integers() is not [> 0 and var last]) return null;
        return last;
    }
}
