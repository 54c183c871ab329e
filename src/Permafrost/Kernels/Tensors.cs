using Permafrost.Kernels.Interop;

namespace Permafrost.Kernels;

/// <summary>Makes tensors from host memory of any size, and checks that it fits their shape.</summary>
public static unsafe class Tensors
{
    private static long absorbed;

    /// <summary>A CPU tensor with a copy of <paramref name="data"/>, row-major.</summary>
    /// <exception cref="ArgumentException">The data's length is not the product of the shape.</exception>
    public static Tensor From<T>(ReadOnlySpan<T> data, ReadOnlySpan<long> shape) where T : unmanaged
    {
        fixed (T* pointer = data) return FromMemory((byte*)pointer, (long)data.Length * sizeof(T), shape, TensorExtensions.TypeOf<T>());
    }

    /// <summary>A CPU tensor with a copy of <paramref name="data"/>, row-major.</summary>
    /// <exception cref="ArgumentException">The data's length is not the product of the shape.</exception>
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

    /// <summary>Writes bytes at an address.</summary>
    internal delegate void Fill(byte* target);

    /// <summary>A CPU tensor, to be kept, whose bytes somebody writes.</summary>
    /// <exception cref="ArgumentException">The length does not fit shape and type.</exception>
    internal static Tensor Filled(ReadOnlySpan<long> shape, ScalarType type, long bytes, Fill fill)
    {
        CheckLength(bytes, shape, type);
        Tensor tensor = torch.empty(shape, type);
        if (bytes > 0) fill((byte*)tensor.Address());
        return tensor;
    }

    /// <summary>A CPU tensor over memory that stays the caller's: it must outlive the tensor and all its views, and writing to those writes to it.</summary>
    /// <exception cref="ArgumentException">The length does not fit shape and type.</exception>
    public static Tensor OverMemory(byte* data, long bytes, ReadOnlySpan<long> shape, ScalarType type)
    {
        CheckLength(bytes, shape, type);
        return bytes == 0 ? torch.empty(shape, type) : NativeMethods.TensorOver(data, shape, type);
    }

    /// <summary>A tensor as a parameter that TorchSharp's optimisers train; it takes the tensor's place, in nobody's scope.</summary>
    public static TorchSharp.Modules.Parameter AsParameter(Tensor tensor)
    {
        // TorchSharp empties the old handle without counting it as freed.
        Interlocked.Increment(ref absorbed);
        var parameter = new TorchSharp.Modules.Parameter(tensor, requires_grad: true);
        parameter.DetachFromDisposeScope();
        return parameter;
    }

    /// <summary>The number of tensors that have become parameters, whose old handles TorchSharp still counts.</summary>
    internal static long Absorbed => Interlocked.Read(ref absorbed);

    private static void CheckLength(long bytes, ReadOnlySpan<long> shape, ScalarType type)
    {
        long wanted = type.ElementBytes();
        foreach (long size in shape)
        {
            if (size < 0 || Math.BigMul(wanted, size, out wanted) != 0 || wanted < 0)
                throw new ArgumentException($"{bytes} bytes do not make a tensor {type}{TensorExtensions.FormatShape(shape)}, a shape that no memory can hold");
        }
        if (wanted != bytes) throw new ArgumentException($"{bytes} bytes do not make a tensor {type}{TensorExtensions.FormatShape(shape)}, which has {wanted}");
    }
}
