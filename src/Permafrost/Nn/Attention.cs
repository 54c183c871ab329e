using Permafrost.Torch;

namespace Permafrost.Nn;

/// <summary>
/// Scaled dot-product attention (Vaswani et al. 2017) over heads that returns its probabilities too, in Hugging Face's order of operations. Where they
/// are not wanted, <see cref="Tensor.SelfAttention"/> and <see cref="Tensor.CrossAttention"/> are many times faster.
/// </summary>
public static class Attention
{
    /// <summary>softmax(scale q k^T + mask) v.</summary>
    /// <param name="query">(B, H, T, D).</param>
    /// <param name="key">(B, H, S, D).</param>
    /// <param name="value">(B, H, S, D).</param>
    /// <param name="causalMask">(T, S), added to the scores; null when every key may be seen.</param>
    /// <param name="paddingMask">(B, 1, 1, S), added to the scores; null when there is no padding.</param>
    /// <param name="scale">Usually 1/sqrt(D).</param>
    /// <param name="dropout">Probability with which an attention weight is dropped; 0 when not training.</param>
    /// <returns>The context (B, H, T, D), and the probabilities (B, H, T, S) before dropout.</returns>
    public static (Tensor Context, Tensor Probabilities) WithProbabilities(Tensor query, Tensor key, Tensor value, Tensor? causalMask, Tensor? paddingMask, double scale, double dropout)
    {
        (long B, long H, long T, long D) = (query.Size(0), query.Size(1), query.Size(2), query.Size(3));
        long S = key.Size(2);
        using var scope = new TensorScope();
        Tensor q = query.Reshape(B * H, T, D);
        Tensor k = key.Reshape(B * H, S, D).Transpose(1, 2);
        Tensor v = value.Reshape(B * H, S, D);
        // Causal mask and product in one. (Without a mask not as baddbmm with beta 0: libtorch 1.13 still reads the addend then.)
        Tensor scores = causalMask is not null && paddingMask is null
            ? Tensor.Baddbmm(causalMask, q, k, beta: 1, alpha: scale)  // (B*H, T, S)
            : q.Bmm(k) * scale;
        if (paddingMask is not null) scores = Pad(scores.View(B, H, T, S), causalMask, paddingMask).View(B * H, T, S);
        Tensor probabilities = scores.Softmax(-1);
        Tensor context = probabilities.Dropout(dropout, dropout > 0).Bmm(v).View(B, H, T, D);
        return (scope.Keep(context), scope.Keep(probabilities.View(B, H, T, S)));
    }

    // Hugging Face's order, which decides what a query sees that is padding itself: hidden scores are replaced (no gradient passes), padding is added.
    private static Tensor Pad(Tensor scores, Tensor? causalMask, Tensor paddingMask) =>
        (causalMask is null ? scores : scores.MaskedFill(AttentionMask.Flags(causalMask), AttentionMask.Hidden)) + paddingMask;
}
