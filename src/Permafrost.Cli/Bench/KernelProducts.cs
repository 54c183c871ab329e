using Permafrost.Kernels;

namespace Permafrost.Cli.Bench;

/// <summary>A step's products with weights and nothing else, by our own kernels: the other rate that can be its ceiling.</summary>
internal sealed class KernelProducts
{
    private readonly (ProductWeight Weight, Tensor Values)[] weights;
    private readonly Dictionary<(long Rows, long Width), Tensor> rows = [], results = [];
    private readonly Dictionary<long, Tensor> gradients = [];
    private readonly ProductShape shape;

    private sealed record ProductWeight(long Inputs, long Outputs);

    public KernelProducts(ProductShape shape, ScalarType type)
    {
        this.shape = shape;
        Tensor Random(long count, long width) => torch.randn([count, width]);
        Tensor Weight(long inputs, long outputs)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            Tensor values = Random(inputs, outputs);
            return (type == ScalarType.BFloat16 ? values.Pack() : values).MoveToOuterDisposeScope();
        }
        void Rows(long count, long width)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            rows[(count, width)] = Random(count, width).to(type).MoveToOuterDisposeScope();
        }
        foreach (long width in Widths) Rows(shape.Rows, width);
        foreach (long width in Widths) results[(shape.Rows, width)] = torch.empty([shape.Rows, width], type);
        weights = [.. shape.Weights.Select(weight => (new ProductWeight(weight.Inputs, weight.Outputs), Weight(weight.Inputs, weight.Outputs)))];
        if (!shape.Passes.Contains("weight")) return;
        foreach (long width in Widths) gradients[width] = Weight(Even, width);
        foreach (long width in Widths) Rows(width, Even);
        foreach ((long inputs, long outputs) in shape.Weights) results[(inputs, outputs)] = torch.empty([inputs, outputs], type);
    }

    private IEnumerable<long> Widths => shape.Weights.SelectMany(weight => new[] { weight.Inputs, weight.Outputs }).Distinct();

    // The kernels take the numbers of a row in pairs.
    private long Even => shape.Rows + shape.Rows % 2;

    public double Step()
    {
        foreach ((ProductWeight weight, Tensor values) in weights) Multiply(weight, values, transposed: false);
        foreach ((ProductWeight weight, Tensor values) in weights.Reverse())
        {
            if (shape.Passes.Contains("input")) Multiply(weight, values, transposed: true);
            if (shape.Passes.Contains("weight"))
                PackedProduct.Multiply(rows[(weight.Inputs, Even)], gradients[weight.Outputs], Even, weight.Outputs, transposed: false, results[(weight.Inputs, weight.Outputs)]);
        }
        return 0;
    }

    private void Multiply(ProductWeight weight, Tensor values, bool transposed)
    {
        (long from, long to) = transposed ? (weight.Outputs, weight.Inputs) : (weight.Inputs, weight.Outputs);
        PackedProduct.Multiply(rows[(shape.Rows, from)], values, weight.Inputs, weight.Outputs, transposed, results[(shape.Rows, to)]);
    }
}
