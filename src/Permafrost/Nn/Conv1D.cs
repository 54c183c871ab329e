using Permafrost.Torch;

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
        Weight = Declare("weight", [inputs, outputs], weightInitializer);
        Bias = Declare("bias", [outputs], Initializers.Zeros);
    }

    /// <summary>(inputs, outputs).</summary>
    public Parameter Weight { get; }

    /// <summary>(outputs).</summary>
    public Parameter Bias { get; }

    /// <summary>Applies the map to the last dimension.</summary>
    public Tensor Forward(Tensor x)
    {
        long[] shape = [.. x.Shape[..^1], Bias.Shape[0]];
        return Tensor.Addmm(Bias.Value, x.Reshape(-1, x.Size(-1)), Weight.Value).View(shape);
    }
}
