using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>x W^T + b, as torch.nn.Linear. Shape: (..., inputs) to (..., outputs); weight (outputs, inputs), bias (outputs).</summary>
public sealed class Linear : Module
{
    /// <summary>A linear map; the initialisers default to torch.nn.Linear's.</summary>
    public Linear(long inputs, long outputs, bool bias = true, Initializer? weightInitializer = null, Initializer? biasInitializer = null)
    {
        Weight = Declare("weight", [outputs, inputs], weightInitializer ?? Initializers.LinearDefault(inputs), MatrixLayout.OutputsFirst);
        if (bias) Bias = Declare("bias", [outputs], biasInitializer ?? Initializers.LinearDefault(inputs));
    }

    /// <summary>The weight, (outputs, inputs).</summary>
    public Parameter Weight { get; }

    /// <summary>The bias, (outputs); null for a map without one.</summary>
    public Parameter? Bias { get; }

    /// <summary>Applies the map, and then an activation, to the last dimension.</summary>
    public Tensor Forward(Tensor x, Activation? activation = null) => LinearMap.Apply(x, Weight, Bias, Weight.Shape[0], activation, ActivationType);
}

/// <summary>What <see cref="Linear"/> and <see cref="Conv1D"/> share: one fused operator, whatever the weight's type and layout.</summary>
internal static class LinearMap
{
    public static Tensor Apply(Tensor x, Parameter weight, Parameter? bias, long outputs, Activation? activation, ScalarType type)
    {
        bool outputsFirst = weight.Layout == MatrixLayout.OutputsFirst && !weight.IsPacked;
        Tensor y = x.FusedLinear(weight.Matrix, bias?.Value, outputs, activation?.Fused ?? FusedActivation.None, type, outputsFirst);
        return activation is { Fused: null } ? Segment.Compose(inputs => activation.Function(inputs[0]), y) : y;
    }
}
