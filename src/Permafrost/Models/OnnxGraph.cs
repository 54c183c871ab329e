using Permafrost.Formats.Onnx;

namespace Permafrost.Models;

/// <summary>A constant of a graph, as an operator meets it: a tensor, perhaps turned round.</summary>
/// <param name="Tensor">The tensor that is stored.</param>
/// <param name="Transposed">A matrix whose rows are the stored columns.</param>
internal sealed record OnnxConstant(OnnxTensor Tensor, bool Transposed)
{
    /// <summary>The sizes, with <see cref="Transposed"/> taken into account.</summary>
    public long[] Shape => Transposed ? [.. Tensor.Dims.Reverse()] : Tensor.Dims;

    /// <summary>Two dimensions of weights.</summary>
    public bool IsMatrix => Tensor.Dims.Length == 2 && Tensor.Type.IsFloat();

    /// <summary>The length of a list of weights, whose other dimensions are 1; null for what is none.</summary>
    public long? Vector => Tensor.Type.IsFloat() && Tensor.Dims.Length > 0 && Tensor.Count == Tensor.Dims.Max() ? Tensor.Count : null;
}

/// <summary>
/// Who makes a value of a model's graph and what flows into it: constants wherever the exporter put them, and which values depend on the embedded input.
/// </summary>
internal sealed class OnnxGraph
{
    // An encoder's sums have three parts; one of hundreds is no encoder's, and must not cost time.
    private const int MostTerms = 16;

    private static readonly HashSet<string> Same = ["Identity", "Cast", "CastLike", "Dropout", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Expand"];

    // What tells a shape, or is made from one, does not carry the values.
    private static readonly HashSet<string> ShapeOnly = ["Shape", "Size", "ConstantOfShape", "EyeLike"];

    private readonly Dictionary<string, OnnxNode> producers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, OnnxConstant> constants = new(StringComparer.Ordinal);
    private readonly HashSet<string> live = new(StringComparer.Ordinal);

    public OnnxGraph(OnnxFile file)
    {
        File = file;
        foreach ((string name, OnnxTensor tensor) in file.Initializers) constants[name] = new OnnxConstant(tensor, false);
        foreach (OnnxNode node in file.Nodes)
        {
            foreach (string output in node.Outputs) producers[output] = node;
            if (node.Outputs.Length > 0 && Fold(node) is { } constant) constants[node.Outputs[0]] = constant;
            else if (IsLookUp(node) || (!ShapeOnly.Contains(node.Operator) && Carrying(node).Any(live.Contains))) live.UnionWith(node.Outputs);
        }
    }

    /// <summary>The model.</summary>
    public OnnxFile File { get; }

    /// <summary>The operator that makes a value; null for an input or a constant.</summary>
    public OnnxNode? Producer(string value) => constants.ContainsKey(value) ? null : producers.GetValueOrDefault(value);

    /// <summary>The constant that a value is; null where it is computed or fed.</summary>
    public OnnxConstant? Constant(string value) => constants.GetValueOrDefault(value);

    /// <summary>A constant of a single number; null for anything else.</summary>
    public double? Scalar(string value) => Constant(value)?.Tensor.Scalar();

    /// <summary>Whether a value depends on rows of an embedding table, other than through its shape.</summary>
    public bool IsLive(string value) => live.Contains(value);

    /// <summary>Rows of a matrix of weights, looked up by ids.</summary>
    public bool IsLookUp(OnnxNode node) => node.Is("Gather") && node.Int("axis", 0) == 0 && Constant(node.Input(0)) is { IsMatrix: true };

    /// <summary>The inputs of an operator that depend on the embedded input; each once.</summary>
    public string[] LiveInputs(OnnxNode node) => [.. Carrying(node).Where(IsLive).Distinct()];

    /// <summary>A value before operators that leave its numbers and their order alone.</summary>
    public string Strip(string value)
    {
        while (Producer(value) is { Domain.Length: 0 } node && Same.Contains(node.Operator) && node.Inputs.Length > 0) value = node.Inputs[0];
        return value;
    }

    /// <summary>The parts of a sum; null where there are too many. A value in <paramref name="whole"/> is one part, whatever it is made of.</summary>
    public List<string>? Terms(string value, Func<string, bool> whole)
    {
        var terms = new List<string>();
        var open = new Stack<string>([value]);
        while (open.TryPop(out string? next))
        {
            next = Strip(next);
            if (!whole(next) && Producer(next) is { } node && (node.Is("Add") || node.Is("Sum"))) foreach (string input in node.Inputs.Reverse()) open.Push(input);
            else terms.Add(next);
            if (terms.Count + open.Count > MostTerms) return null;
        }
        return terms;
    }

    /// <summary>The model's inputs whose numbers a value follows from; what only looks at a shape does not count. Also the operators on the way.</summary>
    public (HashSet<string> Inputs, HashSet<string> Operators) Sources(string value)
    {
        (var inputs, var operators) = (new HashSet<string>(), new HashSet<string>());
        var seen = new HashSet<string>([value]);
        var open = new Stack<string>(seen);
        while (open.TryPop(out string? next))
        {
            if (Producer(next) is not { } node)
            {
                if (Constant(next) is null && next.Length > 0) inputs.Add(next);
                continue;
            }
            operators.Add(node.Operator);
            if (ShapeOnly.Contains(node.Operator)) continue;
            foreach (string input in node.Inputs) if (seen.Add(input)) open.Push(input);
        }
        return (inputs, operators);
    }

    // Of CastLike's second input only the type counts.
    private static IEnumerable<string> Carrying(OnnxNode node) => node.Is("CastLike") ? node.Inputs.Take(1) : node.Inputs;

    // The constant that an operator gives without computing; null for one that computes.
    private OnnxConstant? Fold(OnnxNode node)
    {
        if (node.Is("Constant"))
        {
            OnnxTensor? tensor = node.Attributes.GetValueOrDefault("value")?.Tensor ?? Numbers(node);
            return tensor is null ? null : new OnnxConstant(tensor with { Name = node.Outputs[0] }, false);
        }
        if (Constant(node.Input(0)) is not { } constant) return null;
        if (node.Is("Identity")) return constant;
        if ((node.Is("Cast") || node.Is("CastLike")) && constant.Tensor.Type.IsFloat() && (node.Is("CastLike") || ((OnnxType)node.Int("to", 0)).IsFloat())) return constant;
        if (node.Is("Transpose") && constant.Tensor.Dims.Length == 2)
            return node.Ints("perm") is [0, 1] ? constant : constant with { Transposed = !constant.Transposed };
        // A list stays a list, with or without dimensions of 1.
        bool reshapes = node.Operator is "Reshape" or "Squeeze" or "Unsqueeze" && node.Domain.Length == 0;
        return reshapes && constant.Vector is > 1 && constant.Tensor.Dims.Length != 2 ? constant : null;
    }

    private OnnxTensor? Numbers(OnnxNode node)
    {
        if (node.Attributes.GetValueOrDefault("value_float")?.Float is { } number) return Inline(OnnxType.Float, [], BitConverter.GetBytes((float)number));
        if (node.Attributes.GetValueOrDefault("value_int")?.Int is { } whole) return Inline(OnnxType.Int64, [], BitConverter.GetBytes(whole));
        if (node.Attributes.GetValueOrDefault("value_floats")?.Floats is { } numbers)
            return Inline(OnnxType.Float, [numbers.Length], [.. numbers.SelectMany(BitConverter.GetBytes)]);
        if (node.Ints("value_ints") is { } wholes) return Inline(OnnxType.Int64, [wholes.Length], [.. wholes.SelectMany(BitConverter.GetBytes)]);
        return null;
    }

    private OnnxTensor Inline(OnnxType type, long[] dims, byte[] bytes) => new("", type, dims) { File = File.Path, Length = bytes.Length, Inline = bytes };
}
