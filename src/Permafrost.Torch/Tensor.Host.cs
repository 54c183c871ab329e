using Permafrost.Torch.Interop;

namespace Permafrost.Torch;

// From and to host memory.
public sealed unsafe partial class Tensor
{
    /// <summary>A CPU tensor with a copy of <paramref name="data"/>, row-major.</summary>
    /// <exception cref="TorchException">The data's length is not the shape's product.</exception>
    public static Tensor From<T>(ReadOnlySpan<T> data, ReadOnlySpan<long> shape) where T : unmanaged
    {
        fixed (T* pointer = data) return FromBytes(new ReadOnlySpan<byte>(pointer, checked(data.Length * sizeof(T))), shape, DTypeExtensions.Of<T>());
    }

    /// <summary>A CPU tensor with a copy of <paramref name="data"/>, row-major.</summary>
    /// <exception cref="TorchException">The data's length is not the shape's product.</exception>
    public static Tensor From<T>(T[] data, params ReadOnlySpan<long> shape) where T : unmanaged => From((ReadOnlySpan<T>)data, shape.Length == 0 ? [data.Length] : shape);

    /// <summary>A scalar (no dimensions).</summary>
    public static Tensor Scalar<T>(T value) where T : unmanaged => From([value], ReadOnlySpan<long>.Empty);

    /// <summary>A CPU tensor from raw little-endian bytes of the given type.</summary>
    /// <exception cref="TorchException">The length does not fit shape and type.</exception>
    public static Tensor FromBytes(ReadOnlySpan<byte> data, ReadOnlySpan<long> shape, DType dtype)
    {
        fixed (byte* pointer = data) return FromMemory(pointer, data.Length, shape, dtype);
    }

    /// <summary>A CPU tensor from raw bytes at an address, for data beyond 2 GB (memory-mapped files).</summary>
    /// <exception cref="TorchException">The length does not fit shape and type.</exception>
    public static Tensor FromMemory(byte* data, long bytes, ReadOnlySpan<long> shape, DType dtype)
    {
        Engine.EnsureLoaded();
        fixed (long* sizes = shape)
        {
            NativeMethods.Check(NativeMethods.pf_tensor_from_host(data, bytes, sizes, shape.Length, (int)dtype, out nint handle), "from host memory");
            return new Tensor(handle);
        }
    }

    /// <summary>A CPU tensor over memory that stays the caller's: it must outlive the tensor and all its views, and is written to when they are.</summary>
    /// <exception cref="TorchException">The length does not fit shape and type.</exception>
    public static Tensor OverMemory(byte* data, long bytes, ReadOnlySpan<long> shape, DType dtype)
    {
        Engine.EnsureLoaded();
        fixed (long* sizes = shape)
        {
            NativeMethods.Check(NativeMethods.pf_tensor_over_host(data, bytes, sizes, shape.Length, (int)dtype, out nint handle), "over host memory");
            return new Tensor(handle);
        }
    }

    /// <summary>Address of the first element of a CPU tensor; null elsewhere, or where there is none.</summary>
    public byte* Address { get { long* sizes = stackalloc long[MaxDimensions]; return (byte*)Info(sizes).Data; } }

    /// <summary>A copy of the elements, row-major, on the host.</summary>
    /// <exception cref="InvalidOperationException"><typeparamref name="T"/> is not the tensor's element type.</exception>
    public T[] ToArray<T>() where T : unmanaged
    {
        if (DTypeExtensions.Of<T>() != DType) throw new InvalidOperationException($"{this} holds no {typeof(T).Name}");
        var result = new T[checked((int)Elements)];
        fixed (T* pointer = result) CopyTo((byte*)pointer, Bytes);
        return result;
    }

    /// <summary>A copy of the elements' bytes, little-endian, row-major.</summary>
    public byte[] ToBytes()
    {
        var result = new byte[checked((int)Bytes)];
        fixed (byte* pointer = result) CopyTo(pointer, Bytes);
        return result;
    }

    /// <summary>The one element of a tensor, converted to a double.</summary>
    public double ToDouble()
    {
        double result;
        using Tensor wide = To(DType.Float64);
        wide.CopyTo((byte*)&result, sizeof(double));
        return result;
    }

    /// <summary>The one element of an integer tensor.</summary>
    public long ToInt64()
    {
        long result;
        using Tensor wide = To(DType.Int64);
        wide.CopyTo((byte*)&result, sizeof(long));
        return result;
    }

    /// <summary>Calls <paramref name="read"/> with the bytes of a contiguous CPU tensor in place; others are copied first. At most 2 GB a piece, in order.</summary>
    public void ReadBytes(ReadOnlySpanAction read)
    {
        using Tensor? copy = Device.Type == DeviceType.Cpu && IsContiguous ? null : Detach().To(Device.Cpu).Contiguous();
        Tensor source = copy ?? this;
        long* sizes = stackalloc long[MaxDimensions];
        NativeTensorInfo info = source.Info(sizes);
        long total = info.Elements * info.ElementSize;
        const int Piece = 1 << 30;
        for (long at = 0; at < total; at += Piece) read(new ReadOnlySpan<byte>((byte*)info.Data + at, (int)Math.Min(Piece, total - at)));
        GC.KeepAlive(source);
    }

    /// <summary>Receives a tensor's bytes in pieces.</summary>
    public delegate void ReadOnlySpanAction(ReadOnlySpan<byte> bytes);

    /// <summary>Whether the elements lie row-major without gaps.</summary>
    public bool IsContiguous { get { long* sizes = stackalloc long[MaxDimensions]; return Info(sizes).Contiguous != 0; } }

    private void CopyTo(byte* target, long bytes)
    {
        NativeMethods.Check(NativeMethods.pf_tensor_to_host(Handle, target, bytes), "to host memory");
        GC.KeepAlive(this);
    }
}
