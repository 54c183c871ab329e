using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>
/// A depthwise convolution with few rows of taps, which blocks of channels share, and which a softmax makes sum to one (Wu et al. 2019, section 3; fairseq, LightweightConv1dTBC,
/// or LightweightConv1d where rows alternate from channel to channel). Shape: (B, T, C) to the same; weight (H, 1, k), as fairseq names and shapes it.
/// </summary>
/// <remarks>DropConnect drops a tap for all tokens of a step, as LightweightConv1d and fairseq's CUDA layer do; LightweightConv1dTBC draws for each token anew.</remarks>
internal sealed class LightweightConv : TimeConvolution
{
    private readonly Parameter weight;

    /// <summary>A convolution whose taps start Xavier-uniform, and whose bias at zero.</summary>
    /// <param name="width">C.</param>
    /// <param name="rows">H, the rows of taps.</param>
    /// <param name="window">Where the taps stand.</param>
    /// <param name="alternating">Whether channel c reads row c mod H, not row c / (C / H).</param>
    /// <param name="softmax">Whether a softmax makes the taps of a row sum to one.</param>
    /// <param name="bias">Whether a number is added to each channel.</param>
    public LightweightConv(long width, long rows, TapWindow window, bool alternating = false, bool softmax = true, bool bias = false) : base(width, rows, window, alternating)
    {
        Normalises = softmax;
        weight = Declare("weight", [rows, 1, window.Kernel], Initializers.Uniform(Math.Sqrt(6.0 / (window.Kernel + rows * window.Kernel))));
        if (bias) Bias = Declare("bias", [width], Initializers.Zeros);
    }

    /// <inheritdoc/>
    protected override bool Normalises { get; }

    /// <inheritdoc/>
    protected override Parameter? Bias { get; }

    /// <inheritdoc/>
    protected override (Tensor Inputs, Tensor Taps) Read(Tensor x, Tensor? query) => (x, weight.Value.Reshaped(weight.Shape[0], weight.Shape[2]));
}
