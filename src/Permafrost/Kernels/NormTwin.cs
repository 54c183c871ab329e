using static TorchSharp.torch.nn;

namespace Permafrost.Kernels;

/// <summary>Layer and root mean square normalisation and the residual composed of libtorch's operators; sums are float32, or wider.</summary>
internal static class NormTwin
{
    // Without a bias, a root mean square norm.
    public static Tensor Norm(Tensor x, Tensor weight, Tensor? bias, double epsilon, ScalarType type)
    {
        Tensor wide = Wide(x);
        if (bias is null) return (wide * wide.square().mean([-1L], keepdim: true).Plus(epsilon).rsqrt() * weight.to(wide.dtype)).to(type);
        return functional.layer_norm(wide, [wide.size(-1)], weight.to(wide.dtype), bias.to(wide.dtype), epsilon).to(type);
    }

    public static (Tensor Sum, Tensor Normed) ResidualNorm(Tensor x, Tensor y, Tensor weight, Tensor? bias, double epsilon, DropoutDraw dropout, ScalarType type)
    {
        Tensor sum = Residual(x, y, dropout);
        return (sum, Norm(sum, weight, bias, epsilon, type));
    }

    public static Tensor Residual(Tensor x, Tensor y, DropoutDraw dropout)
    {
        Tensor wide = Wide(x);
        return wide.Plus(DropoutTwin.Forward(Wide(y).to(wide.dtype), dropout));
    }

    private static Tensor Wide(Tensor x) => x.dtype is ScalarType.BFloat16 or ScalarType.Float16 ? x.to(ScalarType.Float32) : x;
}

/// <summary>Dropout composed of libtorch's operators, with the kernels' masks.</summary>
internal static class DropoutTwin
{
    public static Tensor Forward(Tensor x, DropoutDraw dropout) => dropout.Active ? Scaled(x, dropout.Factors(x.shape, x.device)) : x;

    // As the kernels do, a bfloat16 number is multiplied in float32 and rounded once.
    private static Tensor Scaled(Tensor x, Tensor factors) =>
        x.dtype is ScalarType.BFloat16 or ScalarType.Float16 ? (x.to(ScalarType.Float32) * factors).to(x.dtype) : x * factors.to(x.dtype);
}
