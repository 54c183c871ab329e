using System.Text.Json.Nodes;

namespace Permafrost.Cli.Bench;

/// <summary>The products with weights of one step.</summary>
/// <param name="Rows">Rows that each weight is multiplied with.</param>
/// <param name="Weights">Inputs and outputs of each weight, in the order of forward.</param>
/// <param name="Passes"><c>forward</c>, <c>input</c> (the gradient of the products' inputs) and <c>weight</c> (that of the weights).</param>
internal sealed record ProductShape(long Rows, IReadOnlyList<(long Inputs, long Outputs)> Weights, IReadOnlyCollection<string> Passes)
{
    public double Flops => 2.0 * Rows * Passes.Count * Weights.Sum(weight => (double)weight.Inputs * weight.Outputs);

    /// <summary>Reads the shape from a command to a measuring process.</summary>
    public static ProductShape Parse(JsonObject command)
    {
        long Size(string name) => (long)command[name]!;
        (long width, long inner) = (Size("width"), Size("inner"));
        long headSize = (long?)command["head_size"] ?? width / Size("heads"), queries = Size("heads") * headSize, keys = ((long?)command["key_heads"] ?? Size("heads")) * headSize;
        IEnumerable<(long, long)> expand = Enumerable.Repeat((width, inner), (bool?)command["gated"] == true ? 2 : 1);
        (long, long)[] layer = [(width, queries + 2 * keys), (queries, width), .. expand, (inner, width)];
        string[] passes = [.. command["passes"]!.AsArray().Select(pass => (string)pass!)];
        return new ProductShape(Size("batch") * Size("tokens"), [.. Enumerable.Repeat(layer, (int)Size("layers")).SelectMany(one => one)], passes);
    }
}
