using static TorchSharp.torch.nn;

namespace Permafrost.Kernels;

/// <summary>Attention composed of libtorch's operators: its own fused one on a GPU where nothing is dropped, and scores, softmax and product elsewhere.</summary>
internal static class AttentionTwin
{
    /// <summary>softmax(scale q k^T + mask) v; a query that sees no key gives zeros.</summary>
    public static Tensor Forward(Tensor q, Tensor k, Tensor v, AttentionSettings settings)
    {
        if (!q.IsOnCpu() && !settings.Dropout.Active) return Library(q, k, v, settings);
        (long B, long T, long H, long D) = (q.size(0), q.size(1), settings.Heads, q.size(2) / settings.Heads);
        Tensor scores = Split(q, H).matmul(Split(k, H).transpose(2, 3));
        if (scores.dtype == ScalarType.BFloat16) scores = scores.to(ScalarType.Float32);
        scores = scores * settings.Scale;
        Tensor? allowed = AllowedKeys(B, T, k.size(1), settings, q.device);
        if (allowed is not null) scores = scores.masked_fill(allowed.logical_not(), double.NegativeInfinity);
        Tensor blind = scores.detach().amax([-1], true).isinf();
        Tensor probabilities = functional.softmax(scores.masked_fill(blind, 0), -1).masked_fill(blind, 0);
        if (settings.Dropout.Active) probabilities = probabilities * settings.Dropout.AttentionFactors(B, H, T, k.size(1), q.device).to(probabilities.dtype);
        return probabilities.to(v.dtype).matmul(Split(v, H)).transpose(1, 2).reshape(B, T, H * D);
    }

    /// <summary>
    /// libtorch's own fused attention. Its scale is 1 / sqrt(D), and what it gives for a query that sees no key differs between versions: such a query is shown all, and gives
    /// zeros.
    /// </summary>
    public static Tensor Library(Tensor q, Tensor k, Tensor v, AttentionSettings settings)
    {
        (long B, long T, long H, long D) = (q.size(0), q.size(1), settings.Heads, q.size(2) / settings.Heads);
        double factor = settings.Scale * Math.Sqrt(D);
        Tensor scaled = Math.Abs(factor - 1) < 1e-9 ? q : q * factor;
        bool plain = settings.Causal && T == k.size(1) && settings.Positions is null && settings.KeyMask is null;
        Tensor? allowed = plain ? null : AllowedKeys(B, T, k.size(1), settings, q.device);
        Tensor Join(Tensor heads) => heads.transpose(1, 2).reshape(B, T, H * D);
        if (allowed is null) return Join(functional.scaled_dot_product_attention(Split(scaled, H), Split(k, H), Split(v, H), null, 0, plain));
        Tensor blind = allowed.any(-1, true).logical_not();
        allowed = allowed.logical_or(blind).expand(B, 1, T, k.size(1));
        return Join(functional.scaled_dot_product_attention(Split(scaled, H), Split(k, H), Split(v, H), allowed, 0, false).masked_fill(blind, 0));
    }

    private static Tensor Split(Tensor x, long heads) => x.reshape(x.size(0), x.size(1), heads, x.size(2) / heads).transpose(1, 2);

    // (B, 1, T, S), or broadcast to it: which keys a query may see. Null where it may see all.
    private static Tensor? AllowedKeys(long rows, long queries, long keys, AttentionSettings settings, Device device)
    {
        Tensor? allowed = null;
        if (settings.Causal)
        {
            Tensor last = settings.Positions is { } positions ? positions.view(rows, 1, queries, 1) : torch.arange(queries, ScalarType.Int64, device).view(1, 1, queries, 1);
            allowed = torch.arange(keys, ScalarType.Int64, device).le(last);
        }
        if (settings.KeyMask is { } mask)
        {
            Tensor given = mask.view(rows, 1, 1, keys).ne(0);
            allowed = allowed is null ? given : allowed.logical_and(given);
        }
        return allowed;
    }
}
