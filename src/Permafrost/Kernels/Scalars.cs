namespace Permafrost.Kernels;

/// <summary>
/// Numbers for TorchSharp's operators. TorchSharp hands a number to libtorch in an object whose finaliser frees it, and lets go of that object before libtorch has read it: where
/// another thread has the garbage collected just then, libtorch reads freed memory, and throws or computes with another number. So the library makes such objects here alone
/// (BannedSymbols.txt holds it to that), and each is held for as long as its call can take.
/// </summary>
internal static class Scalars
{
    // A call takes three at most, and one call may stand within another's arguments.
    private const int Held = 64;

    [ThreadStatic] private static Scalar?[]? ring;
    [ThreadStatic] private static int next;

#pragma warning disable RS0030 // The one place that makes them.
    /// <summary>The factor of what is added, which TorchSharp would make anew for every sum.</summary>
    private static readonly Scalar One = 1;

    /// <summary>A number for the next call of this thread.</summary>
    public static Scalar Hold(this int value) => Keep(value);

    /// <inheritdoc cref="Hold(int)"/>
    public static Scalar Hold(this long value) => Keep(value);

    /// <inheritdoc cref="Hold(int)"/>
    public static Scalar Hold(this float value) => Keep(value);

    /// <inheritdoc cref="Hold(int)"/>
    public static Scalar Hold(this double value) => Keep(value);

    /// <summary>x + y.</summary>
    public static Tensor Plus(this Tensor x, Tensor y) => x.add(y, One);

    /// <summary>x + y, element by element, in place of x.</summary>
    public static Tensor Increase(this Tensor x, Tensor y) => x.add_(y, One);

    /// <summary>x + number.</summary>
    public static Tensor Plus(this Tensor x, long number) => x.add(number.Hold(), One);

    /// <summary>x + number.</summary>
    public static Tensor Plus(this Tensor x, double number) => x.add(number.Hold(), One);

    /// <summary>x + number, element by element, in place of x.</summary>
    public static Tensor Increase(this Tensor x, double number) => x.add_(number.Hold(), One);
#pragma warning restore RS0030

    /// <summary>x * number.</summary>
    public static Tensor Times(this Tensor x, double number) => x.mul(number.Hold());

    /// <summary>(count) int64: first, first + 1, ...</summary>
    public static Tensor Range(long first, long count, Device device) => torch.arange(first.Hold(), (first + count).Hold(), One, ScalarType.Int64, device);

    // What was held before is no longer in use, and is freed here, not by its finaliser.
    private static Scalar Keep(Scalar value)
    {
        Scalar?[] held = ring ??= new Scalar?[Held];
        held[next]?.Dispose();
        held[next] = value;
        next = (next + 1) % Held;
        return value;
    }
}
