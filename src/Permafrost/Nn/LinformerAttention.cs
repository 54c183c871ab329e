using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>
/// Attention whose cost is linear in the length (Wang et al. 2020, "Linformer: Self-Attention with Linear Complexity", section 4): a learned matrix (length, k) sums the keys
/// up over the sequence to k of them, another one the values, and each query sees those k. Names and start values are those of lucidrains/linformer, LinformerSelfAttention:
/// one pair of matrices for all heads, and for fewer than <c>length</c> tokens their first rows. Shape: (B, T, width) to the same; keys and values from as many tokens, or from
/// another sequence.
/// </summary>
public sealed class LinformerAttention : Module
{
    private readonly long length;
    private readonly long heads;
    private readonly long? keyHeads;
    private readonly double scale;
    private readonly Linear query;
    private readonly Linear key;
    private readonly Linear? value;
    private readonly Linear output;
    private readonly Parameter keySums;
    private readonly Parameter? valueSums;

    /// <summary>An attention of <paramref name="heads"/> heads; its matrices start uniform with bound 1/sqrt(k), its maps as torch.nn.Linear does.</summary>
    /// <param name="width">Size of the vectors.</param>
    /// <param name="length">The most tokens that keys and values may come from.</param>
    /// <param name="sums">k, the number of keys that a query sees.</param>
    /// <param name="heads">Heads of queries.</param>
    /// <param name="headSize">Size of a head; null for width / heads.</param>
    /// <param name="oneKeyHead">Whether all heads share one head of keys and values.</param>
    /// <param name="sharedValues">Whether the values are the keys.</param>
    /// <exception cref="ArgumentException">No head size is given, and the width cannot be shared by the heads.</exception>
    public LinformerAttention(long width, long length, long sums, long heads, long? headSize = null, bool oneKeyHead = false, bool sharedValues = false)
    {
        if (headSize is null && width % heads != 0) throw new ArgumentException($"{width} numbers cannot be shared by {heads} heads");
        (this.length, this.heads, keyHeads) = (length, heads, oneKeyHead ? 1 : null);
        long size = headSize ?? width / heads, keyWidth = size * (oneKeyHead ? 1 : heads);
        scale = 1 / Math.Sqrt(size);
        Initializer start = Initializers.Uniform(1 / Math.Sqrt(sums));
        keySums = Declare("proj_k", [length, sums], start);
        if (!sharedValues) valueSums = Declare("proj_v", [length, sums], start);
        query = Declare("to_q", new Linear(width, size * heads, bias: false));
        key = Declare("to_k", new Linear(width, keyWidth, bias: false));
        if (!sharedValues) value = Declare("to_v", new Linear(width, keyWidth, bias: false));
        output = Declare("to_out", new Linear(size * heads, width));
    }

    /// <summary>Attends.</summary>
    /// <param name="x">(B, T, width): the tokens that ask.</param>
    /// <param name="context">(B, S, width): the tokens that are seen; null for <paramref name="x"/>.</param>
    /// <param name="mask">(B, S), 0 for tokens that are not seen: they add nothing to the sums; null when all are.</param>
    /// <param name="positions">(B, S) or (1, S) int64: the matrices' row for each token that is seen; null for 0, 1, 2, ...</param>
    /// <param name="dropout">Probability with which an attention weight is dropped while the module is being trained.</param>
    /// <param name="outputAttentions">Return what each query sees of the k sums, (B, heads, T, k), before dropout, too.</param>
    /// <returns>(B, T, width), and the probabilities where they were asked for.</returns>
    /// <exception cref="PermafrostException">There are more tokens to be seen than rows.</exception>
    public (Tensor Output, Tensor? Probabilities) Forward(
        Tensor x, Tensor? context = null, Tensor? mask = null, Tensor? positions = null, double dropout = 0, bool outputAttentions = false)
    {
        context ??= x;
        if (positions is null && context.size(1) > length)
            throw new PermafrostException($"a sequence of {context.size(1)} tokens does not fit Linformer's {length} positions");
        Tensor q = query.Forward(x), keys = key.Forward(context);
        Tensor k = Sums(keys, keySums, mask, positions);
        // Shared values are another tensor with the same numbers, so that each has a gradient of its own.
        Tensor v = value is null ? Segment.Compose(inputs => inputs[0].alias(), k) : Sums(value.Forward(context), valueSums!, mask, positions);
        Tensor attended = q.CrossAttention(k, v, new AttentionSettings(heads, scale, Causal: false, Dropout: Dropout(dropout)) { KeyHeads = keyHeads });
        Tensor? probabilities = outputAttentions ? Segment.Compose(inputs => Attention.Probabilities(
            Split(inputs[0], heads), Split(inputs[1], keyHeads ?? heads), null, null, scale), q, k) : null;
        return (output.Forward(attended), probabilities);
    }

    // (B, k, width of the keys).
    private Tensor Sums(Tensor tokens, Parameter matrix, Tensor? mask, Tensor? positions) => Segment.Compose(inputs =>
    {
        (Tensor seen, Tensor rows) = (inputs[0].to(ScalarType.Float32), inputs[1]);
        (long B, long S) = (seen.size(0), seen.size(1));
        if (mask is not null) seen = seen.masked_fill(mask.eq(0.Hold()).unsqueeze(2), 0.Hold());
        rows = positions is null ? rows.narrow(0, 0, S).unsqueeze(0) : rows.index_select(0, positions.reshape(-1)).view(-1, S, rows.size(1));
        // One product for each sequence, whatever the batch, so that its sums do not depend on the others.
        return rows.transpose(1, 2).expand(B, -1, -1).bmm(seen).to(ActivationType);
    }, tokens, matrix.Value);

    // (B, heads, T, D).
    private static Tensor Split(Tensor x, long heads) => x.to(ScalarType.Float32).view(x.size(0), x.size(1), heads, x.size(2) / heads).transpose(1, 2);
}
