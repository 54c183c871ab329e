namespace Permafrost.Formats.Onnx;

/// <summary>An operator of a graph.</summary>
/// <param name="Operator">Its kind, such as <c>MatMul</c>.</param>
/// <param name="Domain">Whose kind it is: empty for ONNX's own.</param>
/// <param name="Inputs">Names of the values it takes; empty for one that is left out.</param>
/// <param name="Outputs">Names of the values it makes.</param>
/// <param name="Attributes">Its constants, by name.</param>
internal sealed record OnnxNode(string Operator, string Domain, string[] Inputs, string[] Outputs, IReadOnlyDictionary<string, OnnxAttribute> Attributes)
{
    /// <summary>The operator is ONNX's own, and this one.</summary>
    public bool Is(string name) => Operator == name && Domain.Length == 0;

    /// <summary>An input's name; empty where it is left out.</summary>
    public string Input(int index) => index < Inputs.Length ? Inputs[index] : "";

    /// <summary>A whole number among the attributes.</summary>
    public long Int(string name, long usual) => Attributes.TryGetValue(name, out OnnxAttribute? attribute) ? attribute.Int ?? usual : usual;

    /// <summary>A number among the attributes.</summary>
    public double Float(string name, double usual) => Attributes.TryGetValue(name, out OnnxAttribute? attribute) ? attribute.Float ?? usual : usual;

    /// <summary>A list of whole numbers among the attributes; null where it is not given.</summary>
    public long[]? Ints(string name) => Attributes.TryGetValue(name, out OnnxAttribute? attribute) ? attribute.Ints : null;

    /// <summary>A text among the attributes; null where it is not given.</summary>
    public string? Text(string name) => Attributes.TryGetValue(name, out OnnxAttribute? attribute) ? attribute.Text : null;
}

/// <summary>A constant of an operator. Only what its writer set is there.</summary>
internal sealed record OnnxAttribute
{
    /// <summary>Its name.</summary>
    public string Name { get; init; } = "";

    /// <summary>A number.</summary>
    public double? Float { get; init; }

    /// <summary>A whole number.</summary>
    public long? Int { get; init; }

    /// <summary>A text.</summary>
    public string? Text { get; init; }

    /// <summary>A tensor.</summary>
    public OnnxTensor? Tensor { get; init; }

    /// <summary>Whole numbers.</summary>
    public long[]? Ints { get; init; }

    /// <summary>Numbers.</summary>
    public float[]? Floats { get; init; }

    /// <summary>Within a function: the attribute of the calling node that gives the value.</summary>
    public string? Reference { get; init; }
}

/// <summary>A function of a model: an operator that is made of others.</summary>
/// <param name="Name">The operator that it makes.</param>
/// <param name="Domain">Whose.</param>
/// <param name="Inputs">What it calls its inputs.</param>
/// <param name="Outputs">What it calls its outputs.</param>
/// <param name="Nodes">Its operators.</param>
/// <param name="Defaults">Attributes that a caller may leave out.</param>
internal sealed record OnnxFunction(string Name, string Domain, string[] Inputs, string[] Outputs, OnnxNode[] Nodes, IReadOnlyDictionary<string, OnnxAttribute> Defaults);
