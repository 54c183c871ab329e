using static TorchSharp.torch.nn;

namespace Permafrost.Nn;

/// <summary>
/// Scaled dot-product attention (Vaswani et al. 2017) over heads that returns its probabilities too, in Hugging Face's order of operations. Where they
/// are not wanted, <see cref="Kernels.AttentionKernel"/> is many times faster.
/// </summary>
public static class Attention
{
    /// <summary>softmax(scale q k^T + mask), before dropout: (B, H, T, S).</summary>
    /// <param name="query">(B, H, T, D).</param>
    /// <param name="key">(B, H, S, D).</param>
    /// <param name="causalMask">(T, S), added to the scores; null when every key may be seen.</param>
    /// <param name="paddingMask">(B, 1, 1, S), added to the scores; null when there is no padding.</param>
    /// <param name="scale">Usually 1/sqrt(D).</param>
    public static Tensor Probabilities(Tensor query, Tensor key, Tensor? causalMask, Tensor? paddingMask, double scale)
    {
        Tensor scores = query.matmul(key.transpose(2, 3)) * scale;
        if (paddingMask is not null) scores = Pad(scores, causalMask, paddingMask);
        else if (causalMask is not null) scores = scores + causalMask;
        return functional.softmax(scores, -1);
    }

    // Hugging Face's order, which decides what a query sees that is padding itself: hidden scores are replaced (no gradient passes), padding is added.
    private static Tensor Pad(Tensor scores, Tensor? causalMask, Tensor paddingMask) =>
        (causalMask is null ? scores : scores.masked_fill(AttentionMask.Flags(causalMask), AttentionMask.Hidden)) + paddingMask;
}
