using static TorchSharp.torch.nn;

namespace Permafrost.Kernels;

/// <summary>Attention composed of libtorch's operators: its own fused one on a GPU where nothing is dropped, and scores, softmax and product elsewhere.</summary>
internal static class AttentionTwin
{
    /// <summary>softmax(scale q k^T + mask) v; a query that sees no key gives zeros.</summary>
    public static Tensor Forward(Tensor q, Tensor k, Tensor v, AttentionSettings settings)
    {
        if (!q.IsOnCpu() && !settings.Dropout.Active && settings.Bias is null && settings.KeyHeads is null) return Library(q, k, v, settings);
        (long B, long T, long H, long D) = (q.size(0), q.size(1), settings.Heads, q.size(2) / settings.Heads);
        Tensor keys = SplitKeys(k, settings), values = SplitKeys(v, settings);
        Tensor scores = Split(q, H).matmul(keys.transpose(2, 3));
        if (scores.dtype == ScalarType.BFloat16) scores = scores.to(ScalarType.Float32);
        scores = scores.Times(settings.Scale);
        if (settings.Bias is { } bias) scores = scores.Plus(Spread(bias, QueryPositions(B, T, settings, q.device), k.size(1)));
        Tensor? allowed = AllowedKeys(B, T, k.size(1), settings, q.device);
        if (allowed is not null) scores = scores.masked_fill(allowed.logical_not(), double.NegativeInfinity.Hold());
        Tensor blind = scores.detach().amax([-1], true).isinf();
        Tensor probabilities = functional.softmax(scores.masked_fill(blind, 0.Hold()), -1).masked_fill(blind, 0.Hold());
        if (settings.Dropout.Active) probabilities = probabilities * settings.Dropout.AttentionFactors(B, H, T, k.size(1), q.device).to(probabilities.dtype);
        return probabilities.to(v.dtype).matmul(values).transpose(1, 2).reshape(B, T, H * D);
    }

    /// <summary>
    /// libtorch's own fused attention. Its scale is 1 / sqrt(D), and what it gives for a query that sees no key differs between versions: such a query is shown all, and gives
    /// zeros.
    /// </summary>
    public static Tensor Library(Tensor q, Tensor k, Tensor v, AttentionSettings settings)
    {
        (long B, long T, long H, long D) = (q.size(0), q.size(1), settings.Heads, q.size(2) / settings.Heads);
        double factor = settings.Scale * Math.Sqrt(D);
        Tensor scaled = Math.Abs(factor - 1) < 1e-9 ? q : q.Times(factor);
        bool plain = settings.Causal && settings.Before is null && settings.SeenByAll is null && T == k.size(1) && settings.Positions is null && settings.KeyMask is null;
        Tensor? allowed = plain ? null : AllowedKeys(B, T, k.size(1), settings, q.device);
        Tensor Join(Tensor heads) => heads.transpose(1, 2).reshape(B, T, H * D);
        if (allowed is null) return Join(functional.scaled_dot_product_attention(Split(scaled, H), Split(k, H), Split(v, H), null, 0, plain));
        Tensor blind = allowed.any(-1, true).logical_not();
        allowed = allowed.logical_or(blind).expand(B, 1, T, k.size(1));
        return Join(functional.scaled_dot_product_attention(Split(scaled, H), Split(k, H), Split(v, H), allowed, 0, false).masked_fill(blind, 0.Hold()));
    }

    private static Tensor Split(Tensor x, long heads) => x.reshape(x.size(0), x.size(1), heads, x.size(2) / heads).transpose(1, 2);

    // (B, H, S, D): where heads share keys, each is repeated for its heads of queries.
    private static Tensor SplitKeys(Tensor x, AttentionSettings settings)
    {
        Tensor heads = Split(x, settings.HeadsOfKeys);
        return settings.HeadsOfKeys == settings.Heads ? heads : heads.repeat_interleave(settings.Heads / settings.HeadsOfKeys, 1);
    }

    // (B, 1, T, 1) or (1, 1, T, 1).
    private static Tensor QueryPositions(long rows, long queries, AttentionSettings settings, Device device) =>
        settings.Positions is { } positions ? positions.view(rows, 1, queries, 1) : Scalars.Range(0, queries, device).view(1, 1, queries, 1);

    // (B, H, T, S) or (1, H, T, S) from a number for each head and distance.
    internal static Tensor Spread(RelativeBias bias, Tensor positions, long keys)
    {
        Tensor columns = positions.Plus(bias.Zero).sub(Scalars.Range(0, keys, positions.device)).squeeze(1);  // (B, T, S)
        Tensor picked = bias.Values.index_select(1, columns.reshape(-1));
        return picked.view(bias.Values.size(0), columns.size(0), columns.size(1), keys).transpose(0, 1);
    }

    // (B, 1, T, S), or broadcast to it: which keys a query may see. Null where it may see all.
    private static Tensor? AllowedKeys(long rows, long queries, long keys, AttentionSettings settings, Device device)
    {
        Tensor? allowed = null;
        if (settings.AtMostAfter is not null || settings.Before is not null)
        {
            Tensor positions = QueryPositions(rows, queries, settings, device), all = Scalars.Range(0, keys, device);
            if (settings.AtMostAfter is { } after) allowed = all.le(positions.Plus(after));
            if (settings.Before is { } before)
            {
                Tensor near = all.ge(positions.Plus(-before));
                allowed = allowed is null ? near : allowed.logical_and(near);
            }
            if (settings.SeenByAll is { } seen) allowed = allowed!.logical_or(seen.view(rows, 1, 1, keys).ne(0.Hold()));
        }
        if (settings.KeyMask is { } mask)
        {
            Tensor given = mask.view(rows, 1, 1, keys).ne(0.Hold());
            allowed = allowed is null ? given : allowed.logical_and(given);
        }
        return allowed;
    }
}
