using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>
/// x W + b with the weight stored (inputs, outputs), as Hugging Face's Conv1D of GPT-2 (transformers pytorch_utils.py). Not a convolution but in
/// name. Shape: (..., inputs) to (..., outputs).
/// </summary>
public sealed class Conv1D : Module
{
    /// <summary>A linear map with transposed weight and zero start bias.</summary>
    public Conv1D(long inputs, long outputs, Initializer weightInitializer)
    {
        Weight = Declare("weight", [inputs, outputs], weightInitializer, MatrixLayout.InputsFirst);
        Bias = Declare("bias", [outputs], Initializers.Zeros);
    }

    /// <summary>(inputs, outputs).</summary>
    public Parameter Weight { get; }

    /// <summary>(outputs).</summary>
    public Parameter Bias { get; }

    /// <summary>Applies the map to the last dimension, and an activation after it.</summary>
    public Tensor Forward(Tensor x, Activation? activation = null) => LinearMap.Apply(x, Weight, Bias, Bias.Shape[0], activation, ActivationType);

    /// <summary>The outputs from <paramref name="first"/> on, <paramref name="count"/> of them; of a frozen weight the others are not computed.</summary>
    public Tensor ForwardPart(Tensor x, long first, long count) => x.FusedLinearPart(Weight.Stored, Bias.Value, Bias.Shape[0], first, count, ActivationType);
}
