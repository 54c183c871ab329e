using Permafrost.Kernels.Interop;

namespace Permafrost.Kernels;

/// <summary>Tensors from host memory, of any size, checked.</summary>
public static unsafe class Tensors
{
    /// <summary>A CPU tensor with a copy of <paramref name="data"/>, row-major.</summary>
    /// <exception cref="ArgumentException">The data's length is not the shape's product.</exception>
    public static Tensor From<T>(ReadOnlySpan<T> data, ReadOnlySpan<long> shape) where T : unmanaged
    {
        fixed (T* pointer = data) return FromMemory((byte*)pointer, (long)data.Length * sizeof(T), shape, TensorExtensions.TypeOf<T>());
    }

    /// <summary>A CPU tensor with a copy of <paramref name="data"/>, row-major.</summary>
    /// <exception cref="ArgumentException">The data's length is not the shape's product.</exception>
    public static Tensor From<T>(T[] data, params ReadOnlySpan<long> shape) where T : unmanaged => From((ReadOnlySpan<T>)data, shape.Length == 0 ? [data.Length] : shape);

    /// <summary>A scalar (no dimensions).</summary>
    public static Tensor Scalar<T>(T value) where T : unmanaged => From(new ReadOnlySpan<T>(in value), ReadOnlySpan<long>.Empty);

    /// <summary>A CPU tensor from raw little-endian bytes of the given type.</summary>
    /// <exception cref="ArgumentException">The length does not fit shape and type.</exception>
    public static Tensor FromBytes(ReadOnlySpan<byte> data, ReadOnlySpan<long> shape, ScalarType type)
    {
        fixed (byte* pointer = data) return FromMemory(pointer, data.Length, shape, type);
    }

    /// <summary>A CPU tensor with a copy of the bytes at an address, for data beyond 2 GB (memory-mapped files).</summary>
    /// <exception cref="ArgumentException">The length does not fit shape and type.</exception>
    public static Tensor FromMemory(byte* data, long bytes, ReadOnlySpan<long> shape, ScalarType type)
    {
        CheckLength(bytes, shape, type);
        Tensor tensor = Workspace.Empty(shape.ToArray(), type);
        if (bytes > 0) Buffer.MemoryCopy(data, (void*)tensor.Address(), bytes, bytes);
        return tensor;
    }

    /// <summary>A CPU tensor over memory that stays the caller's: it must outlive the tensor and all its views, and is written to when they are.</summary>
    /// <exception cref="ArgumentException">The length does not fit shape and type.</exception>
    public static Tensor OverMemory(byte* data, long bytes, ReadOnlySpan<long> shape, ScalarType type)
    {
        CheckLength(bytes, shape, type);
        return bytes == 0 ? torch.empty(shape, type) : NativeMethods.TensorOver(data, shape, type);
    }

    private static void CheckLength(long bytes, ReadOnlySpan<long> shape, ScalarType type)
    {
        long wanted = type.ElementBytes();
        foreach (long size in shape) wanted = checked(wanted * size);
        if (wanted != bytes) throw new ArgumentException($"{bytes} bytes do not make a tensor {type}{TensorExtensions.FormatShape(shape)}, which has {wanted}");
    }
}
