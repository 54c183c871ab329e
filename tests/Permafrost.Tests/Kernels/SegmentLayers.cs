using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>A norm, an attention, a residual norm and a linear map with weights of their own, small enough to compare bit by bit.</summary>
internal sealed class SegmentLayers
{
    private const ulong Key = 0x9d8f3c0152a6b7e4;
    private readonly Tensor[] p;
    private readonly ScalarType type;

    /// <summary>With trained float32 weights.</summary>
    public SegmentLayers()
    {
        type = ScalarType.Float32;
        p = [.. new[] { Random(1, 1, 8), Random(2, 0, 8), Random(3, 0, 8, 24), Random(4, 0, 24), Random(5, 1, 8), Random(6, 0, 8), Random(7, 0, 8, 8), Random(8, 0, 8) }.Select(tensor => tensor.requires_grad_(true))];
    }

    /// <summary>With weights of another type, after the input.</summary>
    public SegmentLayers(Tensor[] leaves, ScalarType? type) => (p, this.type) = (leaves[1..], type ?? ScalarType.Float32);

    /// <summary>(2, 7, 8).</summary>
    public Tensor Input { get; } = KernelSets.Normal(9, ScalarType.Float32, 0, 1, 2, 7, 8);

    public Tensor[] Parameters => p;

    public Tensor Norm(Tensor x) => x.FusedNorm(p[0], p[1], 1e-5, type);

    public (Tensor Sum, Tensor Normed) Add(Tensor x, Tensor y) => x.ResidualNorm(y, p[4], p[5], 1e-5, new DropoutDraw(0.25, Key), type);

    public Tensor Linear(Tensor x) => x.FusedLinear(p[6], p[7], 8, FusedActivation.GeluTanh, type);

    public Tensor Attend(Tensor x) => x.FusedLinear(p[2], p[3], 24, FusedActivation.None, type).SelfAttention(new(2, 0.5, Causal: true, Dropout: new DropoutDraw(0.25, Key + 1)));

    /// <summary>A block as models have them; both results of its residual norm go on.</summary>
    public Tensor Forward(Tensor x)
    {
        (Tensor sum, Tensor normed) = Add(x, Attend(Norm(x)));
        return Add(sum, Linear(normed)).Normed;
    }

    private static Tensor Random(ulong seed, double mean, params long[] shape) => KernelSets.Normal(seed, ScalarType.Float32, mean, 0.3, shape);
}
