using Permafrost.Kernels;

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
    /// <param name="x">The residual stream.</param>
    /// <param name="type">Of the result; null for the type that flows between layers.</param>
    public Tensor Forward(Tensor x, ScalarType? type = null) => x.FusedNorm(Weight.Value, Bias.Value, epsilon, type ?? ActivationType);

    /// <summary>
    /// Adds what the layer before has computed to the residual stream, and normalises, in one pass: the two are neighbours in every pre-norm model.
    /// </summary>
    /// <param name="stream">The residual stream.</param>
    /// <param name="update">What is added to it; null at the start.</param>
    /// <param name="dropout">Of <paramref name="update"/>.</param>
    /// <param name="type">Of the normalised result; null for the type that flows between layers.</param>
    public (Tensor Stream, Tensor Normed) Add(Tensor stream, Tensor? update, DropoutDraw dropout, ScalarType? type = null) =>
        update is null ? (stream, Forward(stream, type)) : stream.ResidualNorm(update, Weight.Value, Bias.Value, epsilon, dropout, type ?? ActivationType);
}
