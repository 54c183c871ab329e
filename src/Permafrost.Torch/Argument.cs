using Permafrost.Torch.Interop;

namespace Permafrost.Torch;

/// <summary>One argument of an operator call; made implicitly from tensors, numbers, flags, lists, texts, types and devices.</summary>
public readonly struct Argument
{
    internal readonly NativeKind Kind;
    internal readonly long Bits;
    internal readonly object? Reference;

    private Argument(NativeKind kind, long bits, object? reference = null)
    {
        Kind = kind;
        Bits = bits;
        Reference = reference;
    }

    /// <summary>An absent optional argument.</summary>
    public static Argument None => new(NativeKind.None, 0);

    /// <summary>The value that the operator's schema declares.</summary>
    public static Argument Default => new(NativeKind.Default, 0);

    /// <summary>A tensor; null is an absent optional one.</summary>
    public static implicit operator Argument(Tensor? tensor) => tensor is null ? None : new(NativeKind.Tensor, 0, tensor);

    /// <summary>An integer.</summary>
    public static implicit operator Argument(long value) => new(NativeKind.Int, value);

    /// <summary>A real number.</summary>
    public static implicit operator Argument(double value) => new(NativeKind.Double, BitConverter.DoubleToInt64Bits(value));

    /// <summary>A flag.</summary>
    public static implicit operator Argument(bool value) => new(NativeKind.Bool, value ? 1 : 0);

    /// <summary>A text.</summary>
    public static implicit operator Argument(string value) => new(NativeKind.String, 0, value);

    /// <summary>A list of integers, such as a shape.</summary>
    public static implicit operator Argument(long[] values) => new(NativeKind.IntList, 0, values);

    /// <summary>A list of real numbers.</summary>
    public static implicit operator Argument(double[] values) => new(NativeKind.DoubleList, 0, values);

    /// <summary>A list of tensors.</summary>
    public static implicit operator Argument(Tensor[] tensors) => new(NativeKind.TensorList, 0, tensors);

    /// <summary>An element type.</summary>
    public static implicit operator Argument(DType dtype) => new(NativeKind.Int, (long)dtype);

    /// <summary>A device.</summary>
    public static implicit operator Argument(Device device) => new(NativeKind.Device, ((long)device.Type << 8) | (uint)(device.Index + 1));

    /// <summary>A random generator; null is the device's default one.</summary>
    public static implicit operator Argument(RandomState? random) => random is null ? None : new(NativeKind.Generator, 0, random);
}
