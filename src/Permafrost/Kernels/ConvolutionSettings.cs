namespace Permafrost.Kernels;

/// <summary>How a convolution along time reads its inputs: output t is the sum of tap j times input t - Left + j Dilation, zeros where there is none.</summary>
/// <param name="Left">How many tokens before an output's own its first tap stands; below 0 where inputs begin before the outputs, as behind a cache.</param>
/// <param name="Dilation">Tokens from one tap to the next.</param>
/// <param name="Alternating">Whether channel c reads row c mod H; otherwise H blocks of neighbouring channels read a row each.</param>
/// <param name="Mask">(B, S), 0 for inputs that count as zeros; null when all count.</param>
internal sealed record ConvolutionSettings(long Left, long Dilation = 1, bool Alternating = false, Tensor? Mask = null)
{
    /// <summary>T, the number of outputs; null for as many as inputs.</summary>
    public long? Outputs { get; init; }
}
