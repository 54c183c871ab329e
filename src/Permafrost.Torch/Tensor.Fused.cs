namespace Permafrost.Torch;

// Operators of native/kernels: several of libtorch's in one pass over memory, with gradients. Inputs may be float32 or bfloat16; sums are float32.
public sealed partial class Tensor
{
    private static readonly Operator PackOp = new("permafrost::pack");
    private static readonly Operator UnpackOp = new("permafrost::unpack");
    private static readonly Operator FusedLinearOp = new("permafrost::linear");
    private static readonly Operator FusedLinearPartOp = new("permafrost::linear_part");
    private static readonly Operator FusedNormOp = new("permafrost::norm");
    private static readonly Operator ResidualNormOp = new("permafrost::residual_norm");
    private static readonly Operator SelfAttentionOp = new("permafrost::self_attention");
    private static readonly Operator CrossAttentionOp = new("permafrost::attention");
    private static readonly Operator FusedDropoutOp = new("permafrost::dropout");

    /// <summary>A float32 weight (inputs, outputs), or transposed (outputs, inputs), as bfloat16 in the order in which <see cref="FusedLinear"/> reads it.</summary>
    public Tensor Pack(bool transposed = false) => PackOp.Call(this, transposed);

    /// <summary>The float32 weight (inputs, outputs) that was packed, rounded to bfloat16.</summary>
    public Tensor Unpack(long inputs, long outputs) => UnpackOp.Call(this, inputs, outputs);

    /// <summary>activation(x W + b).</summary>
    /// <param name="weight">Packed, or (inputs, outputs).</param>
    /// <param name="bias">(outputs) float32, or null.</param>
    /// <param name="outputs">Numbers that come out of each row.</param>
    /// <param name="activation">none, gelu_tanh, gelu or relu.</param>
    /// <param name="type">Of the result.</param>
    public Tensor FusedLinear(Tensor weight, Tensor? bias, long outputs, string activation, DType type) => FusedLinearOp.Call(this, weight, bias, outputs, activation, (long)type);

    /// <summary>The outputs from <paramref name="first"/> on, <paramref name="count"/> of them, of x W + b; the others are not computed.</summary>
    /// <param name="weight">Packed, or (inputs, outputs).</param>
    /// <param name="bias">(outputs) float32, or null.</param>
    /// <param name="outputs">Numbers that the whole map gives for each row.</param>
    /// <param name="first">Index of the first.</param>
    /// <param name="count">How many.</param>
    /// <param name="type">Of the result.</param>
    public Tensor FusedLinearPart(Tensor weight, Tensor? bias, long outputs, long first, long count, DType type) => FusedLinearPartOp.Call(this, weight, bias, outputs, first, count, (long)type);

    /// <summary>Layer normalisation over the last dimension; the result has the given type.</summary>
    public Tensor FusedNorm(Tensor weight, Tensor bias, double epsilon, DType type) => FusedNormOp.Call(this, weight, bias, epsilon, (long)type);

    /// <summary>This stream plus dropout(y), and the layer norm of that sum.</summary>
    public (Tensor Sum, Tensor Normed) ResidualNorm(Tensor y, Tensor weight, Tensor bias, double epsilon, double dropout, DType type) =>
        ResidualNormOp.CallPair(this, y, weight, bias, epsilon, dropout, (long)type);

    /// <summary>softmax(scale q k^T + mask) v over heads, for queries, keys and values side by side (B, T, 3 C): (B, T, C). Never writes (T, T).</summary>
    /// <param name="heads">Number of heads that share C.</param>
    /// <param name="scale">Usually 1/sqrt(C/heads).</param>
    /// <param name="causal">Whether a token sees only itself and what is before it.</param>
    /// <param name="keyMask">(B, T), 0 hides a key; null when all may be seen. A query that sees none gives zeros.</param>
    /// <param name="dropout">Probability with which an attention weight is dropped.</param>
    public Tensor SelfAttention(long heads, double scale, bool causal, Tensor? keyMask, double dropout) => SelfAttentionOp.Call(this, heads, scale, causal, Argument.None, keyMask, dropout);

    /// <summary>The same for queries (B, T, C), keys and values (B, S, C) of their own.</summary>
    /// <param name="key">(B, S, C).</param>
    /// <param name="value">(B, S, C).</param>
    /// <param name="heads">Number of heads that share C.</param>
    /// <param name="scale">Usually 1/sqrt(C/heads).</param>
    /// <param name="causal">Whether a query sees only the keys up to its own position.</param>
    /// <param name="positions">(B, T) int64: the queries' positions among the keys; null for 0, 1, 2, ...</param>
    /// <param name="keyMask">(B, S), 0 hides a key; null when all may be seen.</param>
    /// <param name="dropout">Probability with which an attention weight is dropped.</param>
    public Tensor CrossAttention(Tensor key, Tensor value, long heads, double scale, bool causal, Tensor? positions, Tensor? keyMask, double dropout) =>
        CrossAttentionOp.Call(this, key, value, heads, scale, causal, positions, keyMask, dropout);
}
