namespace Permafrost.Kernels;

/// <summary>How scaled dot-product attention is computed.</summary>
/// <param name="Heads">Number of heads that share C.</param>
/// <param name="Scale">What scores are multiplied with, usually 1/sqrt(C/heads).</param>
/// <param name="Causal">Whether a query sees only the keys up to its own position.</param>
/// <param name="Positions">(B, T) int64: the queries' positions among the keys; null for 0, 1, 2, ...</param>
/// <param name="KeyMask">(B, S), 0 hides a key; null when all may be seen. A query that sees none gives zeros.</param>
/// <param name="Dropout">Of attention weights.</param>
public sealed record AttentionSettings(long Heads, double Scale, bool Causal, Tensor? Positions = null, Tensor? KeyMask = null, DropoutDraw Dropout = default);
