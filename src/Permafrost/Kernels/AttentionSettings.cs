namespace Permafrost.Kernels;

/// <summary>Settings of scaled dot-product attention, beside its queries, keys and values.</summary>
/// <param name="Heads">Number of heads that share C.</param>
/// <param name="Scale">The factor of the scores, usually 1/sqrt(C/heads).</param>
/// <param name="Causal">Whether a query sees only the keys up to its own position.</param>
/// <param name="Positions">(B, T) int64: the queries' positions among the keys; null for 0, 1, 2, ...</param>
/// <param name="KeyMask">(B, S), 0 hides a key; null when all may be seen. A query that sees none gives zeros.</param>
/// <param name="Dropout">The dropout of the attention weights (B, H, T, S).</param>
public sealed record AttentionSettings(long Heads, double Scale, bool Causal, Tensor? Positions = null, Tensor? KeyMask = null, DropoutDraw Dropout = default)
{
    /// <summary>Heads of keys and values, each for Heads / KeyHeads neighbouring heads of queries (Ainslie et al. 2023); null for as many as of queries.</summary>
    public long? KeyHeads { get; init; }

    /// <summary>How many keys before its own position a query sees; null for all of them.</summary>
    public long? Before { get; init; }

    /// <summary>How many keys after its own position a query sees; null for all of them. <see cref="Causal"/> allows none.</summary>
    public long? After { get; init; }

    /// <summary>(B, S), not 0 for keys that every query sees, wherever it stands; null for none.</summary>
    public Tensor? SeenByAll { get; init; }

    /// <summary>What is added to the scores by the distance between query and key; null for nothing.</summary>
    public RelativeBias? Bias { get; init; }

    /// <summary>The heads of keys and values.</summary>
    internal long HeadsOfKeys => KeyHeads ?? Heads;

    /// <summary>How many keys after its own position a query sees, a causal one none; null for all of them.</summary>
    internal long? AtMostAfter => Causal ? 0 : After;
}

/// <summary>A number for each head and distance, added to scaled scores (Raffel et al. 2020); with a gradient where it has one.</summary>
/// <param name="Values">(H, N) float32.</param>
/// <param name="Zero">The column for a query and a key at one position; the next is for the key one position before its query.</param>
public sealed record RelativeBias(Tensor Values, long Zero);
