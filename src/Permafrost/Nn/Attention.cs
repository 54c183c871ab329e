using Permafrost.Kernels;
using static TorchSharp.torch.nn;

namespace Permafrost.Nn;

/// <summary>
/// Scaled dot-product attention (Vaswani et al. 2017) over heads that returns its probabilities too, in Hugging Face's order of operations. Where they
/// are not wanted, <see cref="Kernels.AttentionKernel"/> is many times faster.
/// </summary>
public static class Attention
{
    /// <summary>What queries see, and, where they are wanted, the probabilities (B, H, T, S) by which they see it.</summary>
    /// <param name="query">(B, T, H D).</param>
    /// <param name="key">(B, S, D times the heads of keys).</param>
    /// <param name="value">As the keys.</param>
    /// <param name="settings">Heads, scale, masks, bias and dropout.</param>
    /// <param name="wantProbabilities">Whether to compose the probabilities, for which queries stand where the keys do.</param>
    /// <param name="compose">
    /// The family's own order of operations, from queries (B, H, T, D), keys (B, H, S, D) and the bias's values (null without one); null for a causal mask and one of padding.
    /// </param>
    internal static (Tensor Context, Tensor? Probabilities) Attend(
        Tensor query, Tensor key, Tensor value, AttentionSettings settings, bool wantProbabilities, Func<Tensor, Tensor, Tensor?, Tensor>? compose = null)
    {
        if (!wantProbabilities) return (query.CrossAttention(key, value, settings), null);
        long H = settings.Heads, D = query.size(2) / H;
        compose ??= (q, k, _) => Masked(q, k, settings);
        Tensor[] given = settings.Bias is { } bias ? [query, key, bias.Values] : [query, key];
        Tensor probabilities = Segment.Compose(inputs => compose(Split(inputs[0], H, D), Split(inputs[1], H, D), inputs.Length > 2 ? inputs[2] : null), given);
        return (Segment.Compose(inputs => Context(Split(inputs[0], H, D), inputs[1], settings.Dropout), value, probabilities), probabilities);
    }

    private static Tensor Masked(Tensor query, Tensor key, AttentionSettings settings)
    {
        long T = query.size(2);
        return Probabilities(
            query, key, settings.Causal && T > 1 ? AttentionMask.Causal(T, query.device) : null, settings.KeyMask is { } mask ? AttentionMask.Padding(mask) : null, settings.Scale);
    }

    // (B, H, T, D); heads of keys are repeated for the heads of queries that share them.
    private static Tensor Split(Tensor x, long heads, long size)
    {
        Tensor split = x.view(x.size(0), x.size(1), x.size(2) / size, size).transpose(1, 2);
        return split.size(1) == heads ? split : split.repeat_interleave(heads / split.size(1), 1);
    }

    private static Tensor Context(Tensor value, Tensor probabilities, DropoutDraw dropout)
    {
        (long B, long H, long T, long S) = (probabilities.size(0), probabilities.size(1), probabilities.size(2), probabilities.size(3));
        Tensor dropped = dropout.Active ? probabilities * dropout.AttentionFactors(B, H, T, S, value.device) : probabilities;
        return dropped.to(value.dtype).matmul(value).transpose(1, 2).reshape(B, T, H * value.size(3));
    }

    /// <summary>softmax(scale q k^T + mask), before dropout: (B, H, T, S).</summary>
    /// <param name="query">(B, H, T, D).</param>
    /// <param name="key">(B, H, S, D).</param>
    /// <param name="causalMask">(T, S), added to the scores; null when every key may be seen.</param>
    /// <param name="paddingMask">(B, 1, 1, S), added to the scores; null when there is no padding.</param>
    /// <param name="scale">Usually 1/sqrt(D).</param>
    public static Tensor Probabilities(Tensor query, Tensor key, Tensor? causalMask, Tensor? paddingMask, double scale)
    {
        Tensor scores = query.matmul(key.transpose(2, 3)).Times(scale);
        if (paddingMask is not null) scores = Pad(scores, causalMask, paddingMask);
        else if (causalMask is not null) scores = scores.Plus(causalMask);
        return functional.softmax(scores, -1);
    }

    // Hugging Face's order, which matters for queries that are padding themselves: the causal mask replaces scores (no gradient passes), the padding mask is added.
    private static Tensor Pad(Tensor scores, Tensor? causalMask, Tensor paddingMask) =>
        (causalMask is null ? scores : scores.masked_fill(AttentionMask.Flags(causalMask), AttentionMask.Hidden.Hold())).Plus(paddingMask);
}
