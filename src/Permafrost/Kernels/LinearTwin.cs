using static TorchSharp.torch.nn;

namespace Permafrost.Kernels;

/// <summary>Linear maps composed of libtorch's operators.</summary>
internal static class LinearTwin
{
    /// <summary>activation(x W + b).</summary>
    /// <param name="x">(..., inputs).</param>
    /// <param name="weight">(inputs, outputs), of any floating type.</param>
    /// <param name="bias">(outputs), or null.</param>
    /// <param name="activation">Applied to the result of the map.</param>
    /// <param name="type">The element type of the result.</param>
    public static Tensor Forward(Tensor x, Tensor weight, Tensor? bias, FusedActivation activation, ScalarType type)
    {
        // Where bfloat16 flows, a float32 weight that trains is rounded for each step; its gradient is float32 again.
        ScalarType product = weight.dtype;
        if (type == ScalarType.BFloat16) product = ScalarType.BFloat16;
        else if (product == ScalarType.BFloat16) product = ScalarType.Float32;
        Tensor y = x.to(product).matmul(weight.to(product));
        return Activate(bias is null ? y : y.Plus(bias.to(y.dtype)), activation).to(type);
    }

    public static Tensor Activate(Tensor x, FusedActivation activation) => activation switch
    {
        FusedActivation.GeluTanh => functional.gelu(x, TorchSharp.Modules.GELU.Approximate.tanh),
        FusedActivation.Gelu => functional.gelu(x),
        FusedActivation.Relu => functional.relu(x),
        FusedActivation.Silu => functional.silu(x),
        FusedActivation.QuickGelu => x * x.Times(1.702).sigmoid(),
        FusedActivation.Sigmoid => x.sigmoid(),
        FusedActivation.Tanh => x.tanh(),
        FusedActivation.Mish => functional.mish(x),
        FusedActivation.Relu6 => functional.relu6(x),
        FusedActivation.Gelu10 => functional.gelu(x).clamp((-10).Hold(), 10.Hold()),
        _ => x,
    };
}
