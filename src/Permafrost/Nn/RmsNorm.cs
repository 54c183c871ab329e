using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>Root mean square normalisation (Zhang and Sennrich 2019) over the last dimension, with gain and without bias. Shape: (..., width) to the same.</summary>
public sealed class RmsNorm : Module
{
    private readonly double epsilon;

    /// <summary>A norm over vectors of <paramref name="width"/> numbers.</summary>
    public RmsNorm(long width, double epsilon)
    {
        this.epsilon = epsilon;
        Weight = Declare("weight", [width], Initializers.Ones);
    }

    /// <summary>The gain, (width); it starts at one.</summary>
    public Parameter Weight { get; }

    /// <summary>Normalises and scales.</summary>
    /// <param name="x">The residual stream.</param>
    /// <param name="type">The element type of the result; null for <see cref="Module.ActivationType"/>.</param>
    public Tensor Forward(Tensor x, ScalarType? type = null) => x.FusedRmsNorm(Weight.Value, epsilon, type ?? ActivationType);

    /// <summary>Adds the result of the layer before to the residual stream and normalises the sum, in one pass: the two are neighbours in every pre-norm model.</summary>
    /// <param name="stream">The residual stream.</param>
    /// <param name="update">The tensor that is added to the stream; null before the first layer.</param>
    /// <param name="dropout">The dropout of <paramref name="update"/>.</param>
    /// <param name="type">The element type of the normalised result; null for <see cref="Module.ActivationType"/>.</param>
    public (Tensor Stream, Tensor Normed) Add(Tensor stream, Tensor? update, DropoutDraw dropout, ScalarType? type = null) =>
        update is null ? (stream, Forward(stream, type)) : stream.ResidualRmsNorm(update, Weight.Value, epsilon, dropout, type ?? ActivationType);
}
