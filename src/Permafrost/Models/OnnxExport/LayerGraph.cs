using Permafrost.Formats.Onnx;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models.OnnxExport;

/// <summary>The layers of <see cref="Nn"/> as operators of ONNX. Weights go by their names in the model; every value is named by a string.</summary>
/// <param name="graph">What they are added to.</param>
/// <param name="weight">The values of a weight in float32, on the processor.</param>
internal sealed class LayerGraph(OnnxWriter graph, Func<string, Tensor> weight)
{
    // Scores that are this low come to nothing in a softmax, and yet never to a difference of infinities.
    private const double Lowest = -3e38;

    // (B, 1, 1, T) or (B, 1, T, T): which keys a query sees; and the mask that it is made of.
    private string? allowed;
    private string? tokens;

    /// <summary>The file.</summary>
    public OnnxWriter Graph { get; } = graph;

    /// <summary>An operator.</summary>
    public string Node(string type, params string[] given) => Graph.Node(type, given);

    /// <summary>A weight as a constant.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="form">What is made of it, which gives the constant another name; null for the weight as it is.</param>
    /// <param name="ending">That other name's ending.</param>
    public string Constant(string name, Func<Tensor, Tensor>? form = null, string ending = "")
    {
        Tensor value = form is null ? weight(name) : form(weight(name));
        return Graph.Constant(name + ending, value.shape, () => value.detach().contiguous().ToArray<float>());
    }

    /// <summary>A map: x W + b with W as (inputs, outputs).</summary>
    /// <param name="x">(..., inputs).</param>
    /// <param name="name">The layer's name, without <c>.weight</c>.</param>
    /// <param name="bias">Whether there is a bias.</param>
    /// <param name="inputsFirst">Whether the weight is stored as (inputs, outputs).</param>
    public string Linear(string x, string name, bool bias = true, bool inputsFirst = false)
    {
        string matrix = inputsFirst ? Constant($"{name}.weight") : Constant($"{name}.weight", matrix => matrix.t(), ".transposed");
        string product = Node("MatMul", x, matrix);
        return bias ? Node("Add", product, Constant($"{name}.bias")) : product;
    }

    /// <summary>A layer norm over the last dimension.</summary>
    public string LayerNorm(string x, string name, double epsilon) => Graph.Node(
        "LayerNormalization", [x, Constant($"{name}.weight"), Constant($"{name}.bias")], new NodeAttribute("axis", -1), new NodeAttribute("epsilon", Float: (float)epsilon));

    /// <summary>The rows of a table (rows, C) for T tokens one after another, from <paramref name="first"/> on: (T, C).</summary>
    public string Rows(string table, int first, string tokens)
    {
        string end = Node("Add", tokens, Graph.Integers(first));
        return Node("Slice", Constant(table), Graph.Integers(first), end, Graph.Integers(0));
    }

    /// <summary>The size of a dimension, as a vector of one number.</summary>
    public string Size(string x, int dimension) => Node("Gather", Node("Shape", x), Graph.Integers(dimension));

    /// <summary>Says which tokens see which, for every layer's <see cref="Attention"/>.</summary>
    /// <param name="mask">(B, T) int64, 1 for tokens and 0 for padding.</param>
    /// <param name="causal">Whether a token sees those before it alone.</param>
    public void Mask(string mask, bool causal)
    {
        string seen = Node("Unsqueeze", Node("Greater", mask, Graph.Integer(0)), Graph.Integers(1, 2));  // (B, 1, 1, T)
        if (causal)
        {
            string places = Range(mask);
            string before = Node("LessOrEqual", Node("Unsqueeze", places, Graph.Integers(0)), Node("Unsqueeze", places, Graph.Integers(1)));  // (T, T): key by query
            seen = Node("And", seen, before);
        }
        (allowed, tokens) = (seen, mask);
    }

    /// <summary>0 .. T - 1 of a mask (B, T).</summary>
    public string Range(string mask)
    {
        string tokens = Node("Squeeze", Size(mask, 1), Graph.Integers(0));
        return Node("Range", Graph.Integer(0), tokens, Graph.Integer(1));
    }

    /// <summary>Attention of queries, keys and values (B, T, C) in heads: (B, T, C).</summary>
    public string Attention(string queries, string keys, string values, long heads, double scale) =>
        Joined(AttentionOfHeads(Heads(queries, heads), Heads(keys, heads), Heads(values, heads), scale));

    /// <summary>Attention of queries, keys and values (B, H, T, D): the same.</summary>
    /// <param name="queries">(B, H, T, D).</param>
    /// <param name="keys">(B, H, T, D).</param>
    /// <param name="values">(B, H, T, D).</param>
    /// <param name="scale">Multiplies the scores.</param>
    /// <param name="before">How many tokens before it a query sees; null for all.</param>
    public string AttentionOfHeads(string queries, string keys, string values, double scale, long? before = null)
    {
        string turned = Graph.Node("Transpose", [keys], new NodeAttribute("perm", Ints: [0, 1, 3, 2]));
        string scores = Node("Where", Seen(before), Node("Mul", Node("MatMul", queries, turned), Graph.Number(scale)), Graph.Number(Lowest));  // (B, H, T, T)
        return Node("MatMul", Graph.Node("Softmax", [scores], new NodeAttribute("axis", -1)), values);
    }

    /// <summary>(B, H, T, D) of (B, T, H D).</summary>
    public string Heads(string x, long heads) => Graph.Node("Transpose", [Parted(x, heads)], new NodeAttribute("perm", Ints: [0, 2, 1, 3]));

    /// <summary>(B, T, H, D) of (B, T, H D).</summary>
    public string Parted(string x, long heads) => Node("Reshape", x, Graph.Integers(0, 0, heads, -1));

    /// <summary>(B, T, H D) of (B, H, T, D).</summary>
    public string Joined(string x) => Node("Reshape", Graph.Node("Transpose", [x], new NodeAttribute("perm", Ints: [0, 2, 1, 3])), Graph.Integers(0, 0, -1));

    /// <summary>The norm by the root of the mean square, over the last dimension, with gain.</summary>
    public string RmsNorm(string x, string name, double epsilon)
    {
        string mean = Graph.Node("ReduceMean", [Node("Mul", x, x)], new NodeAttribute("axes", Ints: [-1]));
        return Node("Mul", Node("Div", x, Node("Sqrt", Node("Add", mean, Graph.Number(epsilon)))), Constant($"{name}.weight"));
    }

    /// <summary>Cosines and sines (T, D/2) of the angles of tokens one after another.</summary>
    public (string Cos, string Sin) Angles(IReadOnlyList<float> frequencies)
    {
        string places = Node("Unsqueeze", Graph.Node("Cast", [Range(tokens!)], new NodeAttribute("to", 1)), Graph.Integers(1));
        string angles = Node("Mul", places, Graph.Constant("rotary.frequencies", [1, frequencies.Count], () => [.. frequencies]));
        return (Node("Cos", angles), Node("Sin", angles));
    }

    /// <summary>Heads (B, H, T, D), turned by their tokens' positions: number i of the first half with number i of the second.</summary>
    public string Turned(string heads, (string Cos, string Sin) angles, long half)
    {
        string first = Node("Slice", heads, Graph.Integers(0), Graph.Integers(half), Graph.Integers(3));
        string second = Node("Slice", heads, Graph.Integers(half), Graph.Integers(2 * half), Graph.Integers(3));
        string low = Node("Sub", Node("Mul", first, angles.Cos), Node("Mul", second, angles.Sin));
        string high = Node("Add", Node("Mul", second, angles.Cos), Node("Mul", first, angles.Sin));
        return Graph.Node("Concat", [low, high], new NodeAttribute("axis", 3));
    }

    /// <summary>(B, KH copies, T, D) of (B, KH, T, D): each head, so many times in a row.</summary>
    public string Repeated(string heads, long count, long copies)
    {
        if (copies == 1) return heads;
        string many = Node("Expand", Node("Unsqueeze", heads, Graph.Integers(2)), Graph.Integers(1, 1, copies, 1, 1));
        string size = Size(heads, 3), shape = Graph.Node("Concat", [Graph.Integers(0), Graph.Integers(count * copies), Graph.Integers(-1), size], new NodeAttribute("axis", 0));
        return Node("Reshape", many, shape);
    }

    /// <summary>An activation function.</summary>
    /// <exception cref="PermafrostException">It is one of a user's own.</exception>
    public string Activate(string x, Activation activation) => activation.Fused switch
    {
        FusedActivation.None => x,
        FusedActivation.Gelu => Gelu(x),
        FusedActivation.Gelu10 => Node("Clip", Gelu(x), Graph.Number(-10), Graph.Number(10)),
        FusedActivation.GeluTanh => GeluTanh(x),
        FusedActivation.Relu => Node("Relu", x),
        FusedActivation.Relu6 => Node("Clip", x, Graph.Number(0), Graph.Number(6)),
        FusedActivation.Silu => Node("Mul", x, Node("Sigmoid", x)),
        FusedActivation.QuickGelu => Node("Mul", x, Node("Sigmoid", Node("Mul", x, Graph.Number(1.702)))),
        FusedActivation.Sigmoid => Node("Sigmoid", x),
        FusedActivation.Tanh => Node("Tanh", x),
        FusedActivation.Mish => Node("Mul", x, Node("Tanh", Node("Softplus", x))),
        _ => throw new PermafrostException("this model has an activation function of its own, which cannot be written as ONNX"),
    };

    private string Seen(long? before)
    {
        if (before is not { } most) return allowed!;
        string places = Range(tokens!);
        string distance = Node("Sub", Node("Unsqueeze", places, Graph.Integers(1)), Node("Unsqueeze", places, Graph.Integers(0)));  // (T, T): query minus key
        return Node("And", allowed!, Node("LessOrEqual", distance, Graph.Integer(most)));
    }

    private string Gelu(string x) => Node("Mul", Node("Mul", x, Graph.Number(0.5)), Node("Add", Node("Erf", Node("Mul", x, Graph.Number(Math.Sqrt(0.5)))), Graph.Number(1)));

    private string GeluTanh(string x)
    {
        string cube = Node("Mul", Node("Mul", Node("Mul", x, x), x), Graph.Number(0.044715));
        string inner = Node("Tanh", Node("Mul", Node("Add", x, cube), Graph.Number(Math.Sqrt(2 / Math.PI))));
        return Node("Mul", Node("Mul", x, Graph.Number(0.5)), Node("Add", inner, Graph.Number(1)));
    }
}
