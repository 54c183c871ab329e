namespace Permafrost.Kernels;

/// <summary>Convolution along time whose channels do not mix: each channel has a row of taps, which it may share with others, the same for all tokens or one for each.</summary>
internal static class ConvolutionKernel
{
    /// <summary>(B, T, C): the convolution of these inputs (B, S, C).</summary>
    /// <param name="x">(B, S, C).</param>
    /// <param name="taps">(H, k), or (B, T, H, k) for taps of each output's own.</param>
    /// <param name="bias">(C), or null.</param>
    /// <param name="settings">What the taps read.</param>
    /// <exception cref="ArgumentException">Shapes or types do not match.</exception>
    public static Tensor ConvolveTime(this Tensor x, Tensor taps, Tensor? bias, ConvolutionSettings settings)
    {
        Check(x, taps, bias, settings);
        return bias is null
            ? Segment.Compose(inputs => ConvolutionTwin.Forward(inputs[0], inputs[1], null, settings), x, taps)
            : Segment.Compose(inputs => ConvolutionTwin.Forward(inputs[0], inputs[1], inputs[2], settings), x, taps, bias);
    }

    private static void Check(Tensor x, Tensor taps, Tensor? bias, ConvolutionSettings settings)
    {
        LinearKernel.CheckFloating(x, "the input");
        LinearKernel.CheckFloating(taps, "taps");
        LinearKernel.CheckDevice(x, taps, "taps");
        if (x.Dimensions != 3 || x.NumberOfElements == 0) throw new ArgumentException($"a convolution along time wants (batch, tokens, width), not {x.Describe()}");
        long outputs = settings.Outputs ?? x.size(1);
        bool fits = taps.Dimensions == 2 || (taps.Dimensions == 4 && taps.size(0) == x.size(0) && taps.size(1) == outputs);
        if (!fits || taps.NumberOfElements == 0 || x.size(2) % taps.size(-2) != 0)
            throw new ArgumentException($"the taps {taps.Describe()} are not there for {outputs} outputs of the inputs {x.Describe()}: (rows, taps) or (batch, outputs, rows, taps)");
        if (settings.Dilation < 1 || outputs < 1) throw new ArgumentException($"a convolution cannot have a dilation of {settings.Dilation} and {outputs} outputs");
        if (bias is not null)
        {
            if (!bias.HasShape(x.size(2))) throw new ArgumentException($"the bias is {bias.Describe()}, and a token has {x.size(2)} numbers");
            LinearKernel.CheckFloating(bias, "the bias");
            LinearKernel.CheckDevice(x, bias, "the bias");
        }
        if (settings.Mask is not { } mask) return;
        if (!mask.HasShape(x.size(0), x.size(1))) throw new ArgumentException($"the mask must be (batch, tokens), not {mask.Describe()}");
        LinearKernel.CheckDevice(x, mask, "the mask");
    }
}
