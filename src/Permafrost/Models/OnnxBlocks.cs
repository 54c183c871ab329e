using Permafrost.Formats.Onnx;

namespace Permafrost.Models;

/// <summary>A dense layer that was found in a graph.</summary>
/// <param name="Input">The value that it maps, without what leaves it as it is.</param>
/// <param name="Weight">The matrix, as (outputs, inputs).</param>
/// <param name="Bias">What is added; null for none.</param>
/// <param name="Product">The value that the product is.</param>
internal sealed record OnnxDense(string Input, OnnxConstant Weight, OnnxConstant? Bias, string Product);

/// <summary>A layer norm that was found in a graph.</summary>
/// <param name="Inputs">The values whose sum is normed.</param>
/// <param name="Scale">What the normed values are multiplied with.</param>
/// <param name="Shift">What is added to them.</param>
/// <param name="Epsilon">What is added to the variance; null where it is not a constant.</param>
/// <param name="Output">The value that it gives.</param>
internal sealed record OnnxNorm(string[] Inputs, OnnxConstant Scale, OnnxConstant Shift, double? Epsilon, string Output);

/// <summary>Finds layers in a graph: dense ones, whether a MatMul and an Add or a Gemm, and norms, whether one operator or the many of older exporters.</summary>
internal sealed class OnnxBlocks
{
    private readonly OnnxGraph graph;
    private readonly Dictionary<string, OnnxNorm> norms = new(StringComparer.Ordinal);

    public OnnxBlocks(OnnxGraph graph)
    {
        this.graph = graph;
        foreach (OnnxNode node in graph.File.Nodes)
            if (Norm(node) is { } norm) norms[norm.Output] = norm;
    }

    /// <summary>The norms, in the order in which they run.</summary>
    public IEnumerable<OnnxNorm> Norms => norms.Values;

    /// <summary>The parts of a sum; the result of a norm is one part.</summary>
    public List<string>? Terms(IEnumerable<string> values)
    {
        var terms = new List<string>();
        foreach (string value in values)
        {
            if (graph.Terms(value, norms.ContainsKey) is not { } parts) return null;
            terms.AddRange(parts);
        }
        return terms;
    }

    /// <summary>The dense layer that gives a value; null where it is not one's result.</summary>
    public OnnxDense? Dense(string value) => DenseAnd([value], others: 0)?.Dense;

    /// <summary>The dense layer and the other value whose sum something is; null where it is no such sum.</summary>
    public (OnnxDense Dense, string Residual)? Residual(IEnumerable<string> values) =>
        DenseAnd(values, others: 1) is { } found ? (found.Dense, found.Others[0]) : null;

    /// <summary>The product of an operator with a matrix of weights; null for another operator.</summary>
    public OnnxDense? Product(OnnxNode node)
    {
        if (node.Outputs.Length == 0) return null;
        if (node.Is("MatMul") && graph.Constant(node.Input(1)) is { IsMatrix: true } weight && graph.IsLive(node.Input(0)))
            return new OnnxDense(graph.Strip(node.Input(0)), Turned(weight), null, node.Outputs[0]);
        if (!node.Is("Gemm") || graph.Constant(node.Input(1)) is not { IsMatrix: true } matrix || !graph.IsLive(node.Input(0))) return null;
        if (node.Int("transA", 0) != 0 || node.Float("alpha", 1) != 1 || node.Float("beta", 1) != 1) return null;
        OnnxConstant? bias = graph.Constant(node.Input(2));
        if (node.Input(2).Length > 0 && bias?.Vector is null) return null;
        return new OnnxDense(graph.Strip(node.Input(0)), node.Int("transB", 0) != 0 ? matrix : Turned(matrix), bias, node.Outputs[0]);
    }

    private (OnnxDense Dense, string[] Others)? DenseAnd(IEnumerable<string> values, int others)
    {
        if (Terms(values) is not { } terms || terms.Count > others + 2) return null;
        OnnxDense? dense = null;
        OnnxConstant? bias = null;
        var rest = new List<string>();
        foreach (string term in terms)
        {
            if (graph.Constant(term) is { Vector: > 0 } vector)
            {
                if (bias is not null) return null;
                bias = vector;
            }
            else if (dense is null && !norms.ContainsKey(term) && graph.Producer(term) is { } node && Product(node) is { } product) dense = product;
            else rest.Add(term);
        }
        if (dense is null || rest.Count != others || (bias is not null && dense.Bias is not null)) return null;
        dense = dense with { Bias = dense.Bias ?? bias };
        return dense.Bias is null || dense.Bias.Vector == dense.Weight.Shape[0] ? (dense, [.. rest]) : null;
    }

    private static OnnxConstant Turned(OnnxConstant matrix) => matrix with { Transposed = !matrix.Transposed };

    private OnnxNorm? Norm(OnnxNode node)
    {
        if (node.Outputs.Length == 0) return null;
        if (node.Is("LayerNormalization")) return Fused(node, [node.Input(0)], node.Input(1), node.Input(2), 1e-5);
        // ONNX Runtime's: input, what is added to it, scale, shift, a bias that is added too.
        if (node is { Operator: "SkipLayerNormalization", Domain: "com.microsoft" })
            return Fused(node, [.. new[] { node.Input(0), node.Input(1), node.Input(4) }.Where(input => input.Length > 0)], node.Input(2), node.Input(3), 1e-12);
        return node.Is("Add") ? Decomposed(node) : null;
    }

    private OnnxNorm? Fused(OnnxNode node, string[] inputs, string scale, string shift, double usualEpsilon) =>
        graph.Constant(scale) is { Vector: > 0 } gamma && graph.Constant(shift) is { Vector: > 0 } beta
            ? new OnnxNorm(inputs, gamma, beta, node.Float("epsilon", usualEpsilon), node.Outputs[0]) : null;

    // (x - mean) / sqrt(variance + epsilon) * scale + shift, in any order of factors and terms.
    private OnnxNorm? Decomposed(OnnxNode sum)
    {
        if (ConstantAnd(sum) is not { } shifted || graph.Producer(graph.Strip(shifted.Other)) is not { } product || !product.Is("Mul")) return null;
        if (ConstantAnd(product) is not { } scaled || scaled.Constant.Vector != shifted.Constant.Vector) return null;
        if (graph.Producer(graph.Strip(scaled.Other)) is not { } quotient || !(quotient.Is("Div") || quotient.Is("Mul"))) return null;
        for (int side = 0; side < (quotient.Is("Div") ? 1 : 2); side++)
        {
            if (Centred(quotient.Input(side)) is not { } centred) continue;
            return new OnnxNorm([centred], scaled.Constant, shifted.Constant, Epsilon(quotient.Input(1 - side)), sum.Outputs[0]);
        }
        return null;
    }

    private (OnnxConstant Constant, string Other)? ConstantAnd(OnnxNode node)
    {
        if (node.Inputs.Length != 2) return null;
        for (int side = 0; side < 2; side++)
            if (graph.Constant(node.Inputs[side]) is { Vector: > 0 } constant && graph.IsLive(node.Inputs[1 - side])) return (constant, node.Inputs[1 - side]);
        return null;
    }

    // x of x - mean(x).
    private string? Centred(string value)
    {
        if (graph.Producer(graph.Strip(value)) is not { } difference || !difference.Is("Sub")) return null;
        string x = graph.Strip(difference.Input(0));
        return graph.Producer(graph.Strip(difference.Input(1))) is { } mean && mean.Is("ReduceMean") && graph.Strip(mean.Input(0)) == x && OverLast(mean) ? x : null;
    }

    private bool OverLast(OnnxNode mean)
    {
        long[]? axes = mean.Ints("axes") ?? (mean.Input(1).Length > 0 ? graph.Constant(mean.Input(1))?.Tensor.Integers() : null);
        return axes is [-1] or [2];
    }

    // Of sqrt(variance + epsilon), or of 1 over it.
    private double? Epsilon(string value)
    {
        for (int step = 0; step < 4 && graph.Producer(graph.Strip(value)) is { } node; step++)
        {
            if (node.Is("Add"))
            {
                double?[] numbers = [.. node.Inputs.Select(graph.Scalar)];
                return Array.Find(numbers, number => number is not null);
            }
            if (!node.Is("Sqrt") && !node.Is("Reciprocal") && !node.Is("Div") && !node.Is("Pow")) return null;
            value = node.Inputs.FirstOrDefault(graph.IsLive) ?? "";
        }
        return null;
    }
}
