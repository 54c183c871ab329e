namespace Permafrost.Formats.Onnx;

/// <summary>Replaces calls of a model's functions by what these are made of.</summary>
internal sealed class OnnxInliner
{
    private const int MostNodes = 1 << 20;
    private const int Deepest = 32;

    private readonly string path;
    private readonly Dictionary<(string Domain, string Name), OnnxFunction> functions = [];
    private readonly List<OnnxNode> made = [];
    private int calls;

    public OnnxInliner(string path, IEnumerable<OnnxFunction> functions)
    {
        this.path = path;
        foreach (OnnxFunction function in functions) this.functions[(function.Domain, function.Name)] = function;
    }

    /// <summary>The operators of a graph, without calls.</summary>
    /// <exception cref="PermafrostException">A function calls itself, or the result is too large.</exception>
    public IReadOnlyList<OnnxNode> Inline(IReadOnlyList<OnnxNode> nodes)
    {
        foreach (OnnxNode node in nodes) Add(node, 0);
        return made;
    }

    private void Add(OnnxNode node, int depth)
    {
        if (!functions.TryGetValue((node.Domain, node.Operator), out OnnxFunction? function))
        {
            made.Add(node);
            if (made.Count > MostNodes) throw new PermafrostException($"{path} has more than {MostNodes:N0} operators, functions counted by what they hold");
            return;
        }
        if (depth == Deepest) throw new PermafrostException($"{path} is not a valid ONNX model: the function '{function.Name}' calls itself, or functions are nested too deep");
        string prefix = $"{function.Name}#{++calls}/";
        if (calls > MostNodes) throw new PermafrostException($"{path} has more than {MostNodes:N0} calls of functions");
        var names = new Dictionary<string, string>(StringComparer.Ordinal) { [""] = "" };
        for (int i = 0; i < function.Inputs.Length; i++) names[function.Inputs[i]] = node.Input(i);
        for (int i = 0; i < function.Outputs.Length; i++)
            if (i < node.Outputs.Length && node.Outputs[i].Length > 0 && !names.ContainsKey(function.Outputs[i])) names[function.Outputs[i]] = node.Outputs[i];
        string Name(string name) => names.GetValueOrDefault(name) ?? prefix + name;
        foreach (OnnxNode inner in function.Nodes)
            Add(inner with { Inputs = [.. inner.Inputs.Select(Name)], Outputs = [.. inner.Outputs.Select(Name)], Attributes = Filled(inner, node, function) }, depth + 1);
        // An output that is an input is handed on.
        for (int i = 0; i < Math.Min(function.Outputs.Length, node.Outputs.Length); i++)
            if (node.Outputs[i].Length > 0 && names.GetValueOrDefault(function.Outputs[i]) is { } given && given != node.Outputs[i])
                made.Add(new OnnxNode("Identity", "", [given], [node.Outputs[i]], new Dictionary<string, OnnxAttribute>()));
    }

    // Attributes that are those of the call.
    private static Dictionary<string, OnnxAttribute> Filled(OnnxNode inner, OnnxNode call, OnnxFunction function)
    {
        var filled = new Dictionary<string, OnnxAttribute>(StringComparer.Ordinal);
        foreach ((string name, OnnxAttribute attribute) in inner.Attributes)
        {
            if (attribute.Reference is not { } reference) filled[name] = attribute;
            else if ((call.Attributes.GetValueOrDefault(reference) ?? function.Defaults.GetValueOrDefault(reference)) is { } given) filled[name] = given with { Name = name };
        }
        return filled;
    }
}
