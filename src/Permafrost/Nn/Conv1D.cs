using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>
/// x W + b with the weight stored (inputs, outputs), as Hugging Face's Conv1D of GPT-2 (transformers pytorch_utils.py). A convolution in name
/// only. Shape: (..., inputs) to (..., outputs).
/// </summary>
public sealed class Conv1D : Module
{
    /// <summary>A linear map whose bias starts at zero.</summary>
    public Conv1D(long inputs, long outputs, Initializer weightInitializer)
    {
        Weight = Declare("weight", [inputs, outputs], weightInitializer, MatrixLayout.InputsFirst);
        Bias = Declare("bias", [outputs], Initializers.Zeros);
    }

    /// <summary>The weight, (inputs, outputs).</summary>
    public Parameter Weight { get; }

    /// <summary>The bias, (outputs).</summary>
    public Parameter Bias { get; }

    /// <summary>Applies the map, and then an activation, to the last dimension.</summary>
    public Tensor Forward(Tensor x, Activation? activation = null) => LinearMap.Apply(x, Weight, Bias, Bias.Shape[0], activation, ActivationType);

    /// <summary>The outputs from <paramref name="first"/> on, <paramref name="count"/> of them; of a frozen weight the others are not computed.</summary>
    public Tensor ForwardPart(Tensor x, long first, long count) => x.FusedLinearPart(Weight.Stored, Bias.Value, Bias.Shape[0], first, count, ActivationType);
}
