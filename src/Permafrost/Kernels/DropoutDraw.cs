using System.Buffers.Binary;

namespace Permafrost.Kernels;

/// <summary>
/// One dropout: its probability and the key of its masks. Whether an element is dropped is a function of the key, the row within the run and the element within the row, so that
/// neither the other rows of a batch nor the number of threads changes it, and a backward pass or a second forward pass finds it again without a stored mask.
/// </summary>
/// <param name="Probability">The probability with which an element is dropped; 0 drops nothing.</param>
/// <param name="Key">The key of the masks, computed from the run's seed, the step and the place in the model.</param>
/// <param name="FirstRow">The row within the run's batch that the first row here is: not 0 in the later parts of an accumulated batch.</param>
public readonly record struct DropoutDraw(double Probability, ulong Key, long FirstRow = 0)
{
    /// <summary>A dropout that drops nothing.</summary>
    public static DropoutDraw None => default;

    /// <summary>Whether anything is dropped.</summary>
    public bool Active => Probability > 0;

    internal DropoutDraw Checked() => Probability is >= 0 and < 1 && (float)Probability < 1f
        ? this
        : throw new ArgumentException(FormattableString.Invariant($"a dropout probability must be at least 0 and below 1, not {Probability}"));

    /// <summary>
    /// The factors (0, or 1 / (1 - p)) of a tensor, whose first dimension is the row, as the kernels compute them (native/vector_math.h); composed of operators, on any device.
    /// </summary>
    /// <param name="shape">The shape of the result: (rows, ...).</param>
    /// <param name="device">The device of the result.</param>
    internal Tensor Factors(ReadOnlySpan<long> shape, Device device)
    {
        Checked();
        long elements = 1;
        foreach (long size in shape[1..]) elements *= size;
        using DisposeScope scope = torch.NewDisposeScope();
        using var noGrad = torch.no_grad();
        Tensor key = RowKeys(shape[0], device).view(-1, 1);
        Tensor index = Scalars.Range(0, elements, device).view(1, -1);
        return Decide(key, index).view(shape.ToArray()).MoveToOuterDisposeScope();
    }

    /// <summary>The factors of attention probabilities (B, H, T, S): a key of its own for each row, head and query, so that the number of keys plays no part.</summary>
    internal Tensor AttentionFactors(long rows, long heads, long queries, long keys, Device device)
    {
        Checked();
        using DisposeScope scope = torch.NewDisposeScope();
        using var noGrad = torch.no_grad();
        Tensor row = RowKeys(rows, device).view(-1, 1);
        Tensor head = Mix(row.bitwise_xor(Times(Scalars.Range(1, heads, device).view(1, -1), 0x9e3779b9)));  // (B, H)
        Tensor query = Mix(head.view(rows, heads, 1).bitwise_xor(Times(Scalars.Range(1, queries, device).view(1, 1, -1), 0x85ebca6b)));
        return Decide(query.view(rows, heads, queries, 1), Scalars.Range(0, keys, device).view(1, 1, 1, -1)).MoveToOuterDisposeScope();
    }

    // The upper half of the key and the number of the row make a 32-bit key for each row.
    private Tensor RowKeys(long rows, Device device)
    {
        Tensor row = Scalars.Range(FirstRow, rows, device).bitwise_and(Word(0xffffffff, device));
        return Mix(Times(row, 0x9e3779b9).bitwise_xor(Word((uint)(Key >> 32), device)));
    }

    private Tensor Decide(Tensor rowKey, Tensor index)
    {
        Tensor low = index.Plus((long)(uint)Key).bitwise_and(Word(0xffffffff, index.device));
        Tensor hash = Mix(Mix(low).bitwise_xor(rowKey));
        long threshold = (long)(uint)((float)Probability * 4294967296.0);
        return hash.ge(threshold.Hold()).to(ScalarType.Float32).mul((1f / (1f - (float)Probability)).Hold());
    }

    private static Tensor Word(uint value, Device device) => torch.tensor((long)value, ScalarType.Int64, device);

    private static Tensor Times(Tensor x, uint factor) => x.mul(((long)factor).Hold()).bitwise_and(Word(0xffffffff, x.device));

    // Wellons' lowbias32, on int64 numbers below 2^32.
    private static Tensor Mix(Tensor x)
    {
        x = Times(x.bitwise_xor(x.bitwise_right_shift(Word(16, x.device))), 0x7feb352d);
        x = Times(x.bitwise_xor(x.bitwise_right_shift(Word(15, x.device))), 0x846ca68b);
        return x.bitwise_xor(x.bitwise_right_shift(Word(16, x.device)));
    }
}

/// <summary>Where a model's dropouts take their keys from: one for each run seed, step and layer.</summary>
public sealed class DropoutKeys
{
    /// <summary>The run's seed.</summary>
    public long Seed { get; set; }

    /// <summary>The number of the update that is being computed.</summary>
    public long Step { get; set; }

    /// <summary>Whether a model counts <see cref="Step"/> itself, one for each forward pass in training; a trainer, which counts updates, switches that off.</summary>
    public bool CountsForwards { get; set; } = true;

    /// <summary>The row within the run's batch that the next forward pass begins with.</summary>
    public long FirstRow { get; set; }

    /// <summary>The dropout of one place in the model.</summary>
    /// <param name="probability">The probability with which an element is dropped.</param>
    /// <param name="place">The number of the dropout; each one in a model has its own.</param>
    public DropoutDraw Draw(double probability, int place)
    {
        Span<byte> facts = stackalloc byte[20];
        BinaryPrimitives.WriteInt64LittleEndian(facts, Seed);
        BinaryPrimitives.WriteInt64LittleEndian(facts[8..], Step);
        BinaryPrimitives.WriteInt32LittleEndian(facts[16..], place);
        return new DropoutDraw(probability, Hash(facts), FirstRow);
    }

    // SplitMix64 over the facts, eight bytes at a time: every bit of the seed and step changes every bit of the key with a probability near a half.
    private static ulong Hash(ReadOnlySpan<byte> facts)
    {
        ulong state = 0x9e3779b97f4a7c15;
        for (int at = 0; at < facts.Length; at += 8)
        {
            ulong word = facts.Length - at >= 8 ? BinaryPrimitives.ReadUInt64LittleEndian(facts[at..]) : BinaryPrimitives.ReadUInt32LittleEndian(facts[at..]);
            state += word + 0x9e3779b97f4a7c15;
            state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9;
            state = (state ^ (state >> 27)) * 0x94d049bb133111eb;
            state ^= state >> 31;
        }
        return state;
    }
}
