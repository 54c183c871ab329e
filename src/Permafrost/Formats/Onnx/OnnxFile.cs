namespace Permafrost.Formats.Onnx;

/// <summary>
/// A model as an <c>.onnx</c> file describes it (https://github.com/onnx/onnx, onnx.proto and docs/IR.md): operators in the order in which they run, and constant tensors, whose
/// bytes stay on disk. Functions are replaced by what they are made of. The file is treated as hostile: every length is checked before anything is read.
/// </summary>
internal sealed class OnnxFile
{
    /// <summary>Puts a model together.</summary>
    /// <exception cref="PermafrostException">Two values have one name, or a value is used before it is made.</exception>
    public OnnxFile(
        string path, string producer, IReadOnlyList<string> inputs, IReadOnlyList<string> outputs, IReadOnlyList<OnnxNode> nodes,
        IReadOnlyDictionary<string, OnnxTensor> initializers)
    {
        Path = path;
        Producer = producer;
        Initializers = initializers;
        // Until version 3 of the format, initialisers were to be among the inputs too.
        Inputs = [.. inputs.Where(input => !initializers.ContainsKey(input))];
        Outputs = outputs;
        Nodes = nodes;
        CheckOrder();
    }

    /// <summary>The file's path, as it was given.</summary>
    public string Path { get; }

    /// <summary>Who wrote it, such as <c>pytorch 2.6.0</c>; may be empty.</summary>
    public string Producer { get; }

    /// <summary>Names of what the model is fed.</summary>
    public IReadOnlyList<string> Inputs { get; }

    /// <summary>Names of what it gives.</summary>
    public IReadOnlyList<string> Outputs { get; }

    /// <summary>The operators; none uses a value that a later one makes.</summary>
    public IReadOnlyList<OnnxNode> Nodes { get; }

    /// <summary>The constant tensors, by name.</summary>
    public IReadOnlyDictionary<string, OnnxTensor> Initializers { get; }

    /// <summary>Reads a model; its tensors' bytes stay where they are.</summary>
    /// <exception cref="PermafrostException">The file is missing, truncated or no ONNX model, or what it says of itself cannot be.</exception>
    public static OnnxFile Load(string path) => OnnxParser.Parse(path);

    private void CheckOrder()
    {
        var made = new HashSet<string>(Inputs, StringComparer.Ordinal);
        made.UnionWith(Initializers.Keys);
        foreach (OnnxNode node in Nodes)
        {
            if (Array.Find(node.Inputs, input => input.Length > 0 && !made.Contains(input)) is { } unknown)
                throw new PermafrostException($"{Path} is not a valid ONNX model: an operator {node.Operator} uses the value '{unknown}', which nothing before it makes");
            foreach (string output in node.Outputs)
                if (output.Length > 0 && !made.Add(output)) throw new PermafrostException($"{Path} is not a valid ONNX model: the value '{output}' is made twice");
        }
    }
}
