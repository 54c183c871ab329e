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

    /// <summary>The gain, (width); it starts at one.</summary>
    public Parameter Weight { get; }

    /// <summary>The bias, (width); it starts at zero.</summary>
    public Parameter Bias { get; }

    /// <summary>Normalises, scales and shifts.</summary>
    /// <param name="x">The residual stream.</param>
    /// <param name="type">The element type of the result; null for <see cref="Module.ActivationType"/>.</param>
    public Tensor Forward(Tensor x, ScalarType? type = null) => x.FusedNorm(Weight.Value, Bias.Value, epsilon, type ?? ActivationType);

    /// <summary>
    /// Adds the result of the layer before to the residual stream and normalises the sum, in one pass: the two are neighbours in every pre-norm model.
    /// </summary>
    /// <param name="stream">The residual stream.</param>
    /// <param name="update">The tensor that is added to the stream; null before the first layer.</param>
    /// <param name="dropout">The dropout of <paramref name="update"/>.</param>
    /// <param name="type">The element type of the normalised result; null for <see cref="Module.ActivationType"/>.</param>
    public (Tensor Stream, Tensor Normed) Add(Tensor stream, Tensor? update, DropoutDraw dropout, ScalarType? type = null) =>
        update is null ? (stream, Forward(stream, type)) : stream.ResidualNorm(update, Weight.Value, Bias.Value, epsilon, dropout, type ?? ActivationType);
}
