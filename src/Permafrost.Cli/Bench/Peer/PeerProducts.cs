using static TorchSharp.torch;

namespace Permafrost.Cli.Bench.Peer;

/// <summary>A step's products with weights and nothing else, by libtorch's own matrix product: one of the two rates that can be its ceiling.</summary>
internal sealed class PeerProducts
{
    private readonly Tensor[] weights;
    private readonly Dictionary<long, Tensor> rows = [];
    private readonly IReadOnlyCollection<string> passes;

    public PeerProducts(ProductShape shape, ScalarType type, Device device)
    {
        passes = shape.Passes;
        Tensor Random(long count, long width)
        {
            using DisposeScope scope = NewDisposeScope();
            return randn([count, width]).to(type).to(device).MoveToOuterDisposeScope();
        }
        // Every layer has weights of its own, as in the step: they do not stay in the cache. (outputs, inputs), as a fused linear wants them.
        weights = [.. shape.Weights.Select(weight => Random(weight.Outputs, weight.Inputs))];
        foreach (long width in shape.Weights.SelectMany(weight => new[] { weight.Inputs, weight.Outputs }).Distinct()) rows[width] = Random(shape.Rows, width);
    }

    public double Step()
    {
        using IDisposable noGrad = no_grad();
        foreach (Tensor weight in weights) Done(nn.functional.linear(rows[weight.size(1)], weight));
        foreach (Tensor weight in weights.Reverse())
        {
            if (passes.Contains("input")) Done(rows[weight.size(0)].mm(weight));
            if (passes.Contains("weight"))
            {
                using Tensor turned = rows[weight.size(0)].t();
                Done(turned.mm(rows[weight.size(1)]));
            }
        }
        return 0;
    }

    private static void Done(Tensor product) => product.Dispose();
}
