using Permafrost.Torch;

namespace Permafrost.Nn;

/// <summary>x W^T + b, as torch.nn.Linear. Shape: (..., inputs) to (..., outputs); weight (outputs, inputs), bias (outputs).</summary>
public sealed class Linear : Module
{
    /// <summary>A linear map; the initialisers default to torch.nn.Linear's.</summary>
    public Linear(long inputs, long outputs, bool bias = true, Initializer? weightInitializer = null, Initializer? biasInitializer = null)
    {
        Weight = Declare("weight", [outputs, inputs], weightInitializer ?? Initializers.LinearDefault(inputs));
        if (bias) Bias = Declare("bias", [outputs], biasInitializer ?? Initializers.LinearDefault(inputs));
    }

    /// <summary>(outputs, inputs).</summary>
    public Parameter Weight { get; }

    /// <summary>(outputs), or null.</summary>
    public Parameter? Bias { get; }

    /// <summary>Applies the map to the last dimension.</summary>
    public Tensor Forward(Tensor x) => x.Linear(Weight.Value, Bias?.Value);
}
