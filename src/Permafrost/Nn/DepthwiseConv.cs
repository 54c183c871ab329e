namespace Permafrost.Nn;

/// <summary>A row of free taps for each channel: output (i, c) is the sum of W[c, j] x[i + j - ceil((k + 1) / 2), c]. Shape: (B, T, C) to the same; weight (C, 1, k).</summary>
internal class DepthwiseConv : TimeConvolution
{
    private readonly Parameter weight;

    /// <summary>A convolution whose taps, and bias, start as torch.nn.Conv1d's with a group for each channel: uniform within 1 / sqrt(k).</summary>
    public DepthwiseConv(long width, TapWindow window, bool bias = false) : base(width, width, window, alternating: false)
    {
        weight = Declare("weight", [width, 1, window.Kernel], Initializers.LinearDefault(window.Kernel));
        if (bias) Bias = Declare("bias", [width], Initializers.LinearDefault(window.Kernel));
    }

    /// <inheritdoc/>
    protected override Parameter? Bias { get; }

    /// <inheritdoc/>
    protected override (Tensor Inputs, Tensor Taps) Read(Tensor x, Tensor? query) => (x, Kernels.RowsKernel.Reshaped(weight.Value, weight.Shape[0], weight.Shape[2]));
}
