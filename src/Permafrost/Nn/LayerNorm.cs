using Permafrost.Torch;

namespace Permafrost.Nn;

/// <summary>Layer normalisation (Ba et al. 2016) over the last dimension, with gain and bias. Shape: (..., width) to the same.</summary>
public sealed class LayerNorm : Module
{
    private readonly double epsilon;

    /// <summary>A norm over vectors of <paramref name="width"/> numbers.</summary>
    public LayerNorm(long width, double epsilon)
    {
        this.epsilon = epsilon;
        Weight = Declare("weight", [width], Initializers.Ones);
        Bias = Declare("bias", [width], Initializers.Zeros);
    }

    /// <summary>The gain (width).</summary>
    public Parameter Weight { get; }

    /// <summary>The bias (width).</summary>
    public Parameter Bias { get; }

    /// <summary>Normalises, scales and shifts.</summary>
    public Tensor Forward(Tensor x) => x.LayerNorm(Weight.Value, Bias.Value, epsilon);
}
