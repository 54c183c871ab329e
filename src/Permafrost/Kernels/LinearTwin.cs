using static TorchSharp.torch.nn;

namespace Permafrost.Kernels;

/// <summary>Linear maps composed of libtorch's operators.</summary>
internal static class LinearTwin
{
    /// <summary>activation(x W + b).</summary>
    /// <param name="x">(..., inputs).</param>
    /// <param name="weight">(inputs, outputs), of any floating type.</param>
    /// <param name="bias">(outputs), or null.</param>
    /// <param name="activation">After it.</param>
    /// <param name="type">Of the result.</param>
    public static Tensor Forward(Tensor x, Tensor weight, Tensor? bias, FusedActivation activation, ScalarType type)
    {
        // Where bfloat16 flows, a float32 weight that trains is rounded for each step; its gradient is float32 again.
        ScalarType product = type == ScalarType.BFloat16 ? type : weight.dtype == ScalarType.BFloat16 ? ScalarType.Float32 : weight.dtype;
        Tensor y = x.to(product).matmul(weight.to(product));
        return Activate(bias is null ? y : y + bias.to(y.dtype), activation).to(type);
    }

    public static Tensor Activate(Tensor x, FusedActivation activation) => activation switch
    {
        FusedActivation.GeluTanh => functional.gelu(x, TorchSharp.Modules.GELU.Approximate.tanh),
        FusedActivation.Gelu => functional.gelu(x),
        FusedActivation.Relu => functional.relu(x),
        _ => x,
    };
}
