namespace Permafrost.Kernels;

/// <summary>A convolution along time composed of libtorch's operators: one padded copy of the inputs, then a product and a sum for each tap; sums are float32, or wider.</summary>
internal static class ConvolutionTwin
{
    /// <summary>(B, T, C) from inputs (B, S, C), taps (H, k) or (B, T, H, k), and a bias (C) or none.</summary>
    public static Tensor Forward(Tensor x, Tensor taps, Tensor? bias, ConvolutionSettings settings)
    {
        (long B, long S, long C, long H, long K) = (x.size(0), x.size(1), x.size(2), taps.size(-2), taps.size(-1));
        long T = settings.Outputs ?? S, before = Math.Max(0, settings.Left), after = Math.Max(0, T + (K - 1) * settings.Dilation - settings.Left - S);
        Tensor wide = x.dtype is ScalarType.BFloat16 or ScalarType.Float16 ? x.to(ScalarType.Float32) : x;
        if (settings.Mask is { } mask) wide = wide.masked_fill(mask.eq(0.Hold()).unsqueeze(2), 0.Hold());
        Tensor Zeros(long tokens) => torch.zeros([B, tokens, C], wide.dtype, wide.device);
        Tensor padded = torch.cat([Zeros(before), wide, Zeros(after)], 1);
        padded = settings.Alternating ? padded.view(B, -1, C / H, H) : padded.view(B, -1, H, C / H);
        Tensor factors = taps.to(wide.dtype).unsqueeze(settings.Alternating ? -3 : -2);  // (..., 1, H, k) or (..., H, 1, k)
        Tensor? sum = null;
        for (long tap = 0; tap < K; tap++)
        {
            Tensor part = padded.narrow(1, before - settings.Left + tap * settings.Dilation, T) * factors.select(-1, tap);
            sum = sum is null ? part : sum.Plus(part);
        }
        Tensor y = sum!.reshape(B, T, C);
        return (bias is null ? y : y.Plus(bias.to(wide.dtype))).to(x.dtype);
    }
}
