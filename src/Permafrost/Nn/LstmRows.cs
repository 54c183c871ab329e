using System.Numerics;
using System.Runtime.CompilerServices;

namespace Permafrost.Nn;

/// <summary>What an LSTM does to one row of a batch at one step, and its gradients; a vector register at a time, in one order.</summary>
/// <param name="width">H.</param>
/// <param name="candidateLast">Whether the gates are in the order input, forget, output, candidate; otherwise input, forget, candidate, output.</param>
internal readonly unsafe struct LstmRows(int width, bool candidateLast)
{
    private readonly int width = width;
    private readonly int forget = width;
    private readonly int candidate = (candidateLast ? 3 : 2) * width;
    private readonly int output = (candidateLast ? 2 : 3) * width;

    /// <summary>Gates, and the cell: forget cell + input candidate.</summary>
    /// <param name="x">4 H numbers, from the inputs.</param>
    /// <param name="z">4 H numbers, from the state.</param>
    /// <param name="before">H numbers, the cell before.</param>
    /// <param name="gates">4 H numbers, behind their activations; written.</param>
    /// <param name="cell">H numbers; written.</param>
    public void Gates(float* x, float* z, float* before, float* gates, float* cell)
    {
        for (int at = 0; at < width; at += Vector<float>.Count)
        {
            Vector<float> i = Sigmoid(Sum(x, z, 0, at)), f = Sigmoid(Sum(x, z, forget, at)), g = Tanh(Sum(x, z, candidate, at)), o = Sigmoid(Sum(x, z, output, at));
            Store(gates, at, width, i);
            Store(gates + forget, at, width, f);
            Store(gates + candidate, at, width, g);
            Store(gates + output, at, width, o);
            Store(cell, at, width, f * Load(before, at, width) + i * g);
        }
    }

    /// <summary>The state: output tanh(cell), times the factors.</summary>
    /// <param name="gates">4 H numbers.</param>
    /// <param name="cell">H numbers.</param>
    /// <param name="factors">H numbers, or null.</param>
    /// <param name="state">H numbers; written.</param>
    public void State(float* gates, float* cell, float* factors, float* state)
    {
        for (int at = 0; at < width; at += Vector<float>.Count)
        {
            Vector<float> h = Load(gates + output, at, width) * Tanh(Load(cell, at, width));
            Store(state, at, width, factors is null ? h : h * Load(factors, at, width));
        }
    }

    /// <summary>The gradient of <see cref="State"/>: the output gate's, before its activation, and what it adds to the cell's.</summary>
    /// <param name="gates">4 H numbers.</param>
    /// <param name="cell">H numbers.</param>
    /// <param name="factors">H numbers, or null.</param>
    /// <param name="dState">H numbers.</param>
    /// <param name="dCell">H numbers; added to.</param>
    /// <param name="dGates">4 H numbers, of which the output gate's are written.</param>
    public void StateBack(float* gates, float* cell, float* factors, float* dState, float* dCell, float* dGates)
    {
        for (int at = 0; at < width; at += Vector<float>.Count)
        {
            Vector<float> dh = Load(dState, at, width), o = Load(gates + output, at, width), c = Tanh(Load(cell, at, width));
            if (factors is not null) dh *= Load(factors, at, width);
            Store(dGates + output, at, width, dh * c * o * (Vector<float>.One - o));
            Store(dCell, at, width, Load(dCell, at, width) + dh * o * (Vector<float>.One - c * c));
        }
    }

    /// <summary>The gradient of <see cref="Gates"/>: the other gates', before their activations, and the gradient of the cell before.</summary>
    /// <param name="gates">4 H numbers.</param>
    /// <param name="before">H numbers, the cell before.</param>
    /// <param name="dCell">H numbers; replaced by the gradient of the cell before.</param>
    /// <param name="dGates">4 H numbers, of which all but the output gate's are written.</param>
    public void GatesBack(float* gates, float* before, float* dCell, float* dGates)
    {
        for (int at = 0; at < width; at += Vector<float>.Count)
        {
            Vector<float> dc = Load(dCell, at, width), i = Load(gates, at, width), f = Load(gates + forget, at, width), g = Load(gates + candidate, at, width);
            Store(dGates, at, width, dc * g * i * (Vector<float>.One - i));
            Store(dGates + forget, at, width, dc * Load(before, at, width) * f * (Vector<float>.One - f));
            Store(dGates + candidate, at, width, dc * i * (Vector<float>.One - g * g));
            Store(dCell, at, width, dc * f);
        }
    }

    /// <summary>Replaces a row by gain (row - mean) / sqrt(unbiased variance + epsilon) + bias.</summary>
    /// <param name="row">The row.</param>
    /// <param name="count">Its numbers.</param>
    /// <param name="gain">As many.</param>
    /// <param name="bias">As many.</param>
    /// <param name="epsilon">Added to the variance.</param>
    /// <param name="normed">The row before gain and bias; written.</param>
    /// <param name="inverse">What it was multiplied with; written.</param>
    public static void Norm(float* row, int count, float* gain, float* bias, double epsilon, float* normed, float* inverse)
    {
        Vector<float> sum = default, squares = default;
        for (int at = 0; at < count; at += Vector<float>.Count) sum += Load(row, at, count);
        var mean = new Vector<float>(Vector.Sum(sum) / count);
        for (int at = 0; at < count; at += Vector<float>.Count)
        {
            Vector<float> centred = Load(row, at, count) - mean;
            Store(normed, at, count, centred);
            centred = Load(normed, at, count);  // zeros behind the end
            squares += centred * centred;
        }
        *inverse = (float)(1 / Math.Sqrt(Vector.Sum(squares) / (double)(count - 1) + epsilon));
        for (int at = 0; at < count; at += Vector<float>.Count)
        {
            Vector<float> one = Load(normed, at, count) * *inverse;
            Store(normed, at, count, one);
            Store(row, at, count, one * Load(gain, at, count) + Load(bias, at, count));
        }
    }

    /// <summary>The gradient of <see cref="Norm"/>.</summary>
    /// <param name="given">The result's.</param>
    /// <param name="count">Numbers of a row.</param>
    /// <param name="gain">As many.</param>
    /// <param name="normed">What Norm wrote.</param>
    /// <param name="inverse">What Norm wrote.</param>
    /// <param name="dRow">The row's; written, may be <paramref name="given"/>.</param>
    /// <param name="dGain">The gain's; added to.</param>
    /// <param name="dBias">The bias's; added to.</param>
    public static void NormBack(float* given, int count, float* gain, float* normed, float inverse, float* dRow, float* dGain, float* dBias)
    {
        Vector<float> sum = default, product = default;
        for (int at = 0; at < count; at += Vector<float>.Count)
        {
            Vector<float> dy = Load(given, at, count), x = Load(normed, at, count), dx = dy * Load(gain, at, count);
            Store(dGain, at, count, Load(dGain, at, count) + dy * x);
            Store(dBias, at, count, Load(dBias, at, count) + dy);
            sum += dx;
            product += dx * x;
        }
        var mean = new Vector<float>(Vector.Sum(sum) / count);
        var along = new Vector<float>(Vector.Sum(product) / (count - 1));
        for (int at = 0; at < count; at += Vector<float>.Count)
            Store(dRow, at, count, (Load(given, at, count) * Load(gain, at, count) - mean - Load(normed, at, count) * along) * inverse);
    }

    /// <summary>sum += other.</summary>
    public static void Add(float* other, float* sum, int count)
    {
        for (int at = 0; at < count; at += Vector<float>.Count) Store(sum, at, count, Load(sum, at, count) + Load(other, at, count));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Vector<float> Sum(float* x, float* z, int gate, int at) => Load(x + gate, at, width) + Load(z + gate, at, width);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector<float> Sigmoid(Vector<float> x) => Vector<float>.One / (Vector<float>.One + Vector.Exp(-x));

    // Near zero, where 1 - 2 / (exp(2 x) + 1) would lose its digits, the polynomial of Cephes' tanhf.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector<float> Tanh(Vector<float> x)
    {
        Vector<float> far = Vector<float>.One - new Vector<float>(2f) / (Vector.Exp(x + x) + Vector<float>.One), s = x * x;
        Vector<float> near = new Vector<float>(-5.70498872745e-3f) * s + new Vector<float>(2.06390887954e-2f);
        near = near * s + new Vector<float>(-5.37397155531e-2f);
        near = near * s + new Vector<float>(1.33314422036e-1f);
        near = near * s + new Vector<float>(-3.33332819422e-1f);
        return Vector.ConditionalSelect(Vector.LessThan(Vector.Abs(x), new Vector<float>(0.625f)), near * s * x + x, far);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector<float> Load(float* row, int at, int count) =>
        at + Vector<float>.Count <= count ? Unsafe.ReadUnaligned<Vector<float>>(row + at) : LoadEnd(row, at, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* row, int at, int count, Vector<float> value)
    {
        if (at + Vector<float>.Count <= count) Unsafe.WriteUnaligned(row + at, value);
        else StoreEnd(row, at, count, value);
    }

    // What is left of a row, and zeros.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Vector<float> LoadEnd(float* row, int at, int count)
    {
        Span<float> part = stackalloc float[Vector<float>.Count];
        part.Clear();
        new ReadOnlySpan<float>(row + at, count - at).CopyTo(part);
        return new Vector<float>(part);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void StoreEnd(float* row, int at, int count, Vector<float> value)
    {
        Span<float> part = stackalloc float[Vector<float>.Count];
        value.CopyTo(part);
        part[..(count - at)].CopyTo(new Span<float>(row + at, count - at));
    }
}
