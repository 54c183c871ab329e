using System.Globalization;
using System.Text;
using Permafrost.Kernels.Interop;

namespace Permafrost.Kernels;

/// <summary>Methods that TorchSharp's tensors lack: shapes as text, and access to their bytes without a limit of 2 GB.</summary>
public static unsafe class TensorExtensions
{
    /// <summary>Receives a tensor's bytes in pieces.</summary>
    public delegate void BytesReader(ReadOnlySpan<byte> bytes);

    /// <summary>Element type and shape, such as <c>Float32[2, 3]</c>.</summary>
    public static string Describe(this Tensor tensor) => tensor.IsInvalid ? "(freed)" : $"{tensor.dtype}{FormatShape(tensor.shape)}";

    /// <summary>A shape as text, such as <c>[2, 3]</c>.</summary>
    public static string FormatShape(ReadOnlySpan<long> shape)
    {
        var text = new StringBuilder("[");
        for (int i = 0; i < shape.Length; i++) text.Append(CultureInfo.InvariantCulture, $"{(i > 0 ? ", " : "")}{shape[i]}");
        return text.Append(']').ToString();
    }

    /// <summary>Whether the tensor has exactly these sizes.</summary>
    public static bool HasShape(this Tensor tensor, params ReadOnlySpan<long> shape) => shape.SequenceEqual(tensor.shape);

    /// <summary>Whether the type holds real numbers rather than integers or flags.</summary>
    public static bool IsFloatingPoint(this ScalarType type) => type is ScalarType.Float16 or ScalarType.Float32 or ScalarType.Float64 or ScalarType.BFloat16;

    /// <summary>The size of all elements, in bytes.</summary>
    public static long ByteCount(this Tensor tensor) => tensor.NumberOfElements * tensor.ElementSize;

    /// <summary>The address of the first element of a CPU tensor.</summary>
    internal static nint Address(this Tensor tensor) => NativeMethods.TensorData(tensor.Handle);

    /// <summary>The element type that holds <typeparamref name="T"/>.</summary>
    /// <exception cref="NotSupportedException">No element type holds it.</exception>
    public static ScalarType TypeOf<T>() where T : unmanaged => default(T) switch
    {
        byte => ScalarType.Byte,
        sbyte => ScalarType.Int8,
        short => ScalarType.Int16,
        int => ScalarType.Int32,
        long => ScalarType.Int64,
        Half => ScalarType.Float16,
        float => ScalarType.Float32,
        double => ScalarType.Float64,
        bool => ScalarType.Bool,
        _ => throw new NotSupportedException($"no tensor element type holds {typeof(T).Name}"),
    };

    /// <summary>The size of one element, in bytes.</summary>
    public static int ElementBytes(this ScalarType type) => type switch
    {
        ScalarType.Byte or ScalarType.Int8 or ScalarType.Bool => 1,
        ScalarType.Int16 or ScalarType.Float16 or ScalarType.BFloat16 => 2,
        ScalarType.Int32 or ScalarType.Float32 => 4,
        ScalarType.Int64 or ScalarType.Float64 => 8,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "not an element type that is read or written here"),
    };

    /// <summary>A copy of the elements, row-major, on the host.</summary>
    /// <exception cref="InvalidOperationException"><typeparamref name="T"/> is not the tensor's element type.</exception>
    public static T[] ToArray<T>(this Tensor tensor) where T : unmanaged
    {
        if (TypeOf<T>() != tensor.dtype) throw new InvalidOperationException($"{tensor.Describe()} holds no {typeof(T).Name}");
        var result = new T[checked((int)tensor.NumberOfElements)];
        using Tensor? copy = HostCopy(tensor);
        new ReadOnlySpan<T>((void*)(copy ?? tensor).Address(), result.Length).CopyTo(result);
        GC.KeepAlive(tensor);
        return result;
    }

    /// <summary>A copy of the elements' bytes, little-endian, row-major.</summary>
    public static byte[] ToBytes(this Tensor tensor)
    {
        var result = new byte[checked((int)tensor.ByteCount())];
        int at = 0;
        tensor.ReadBytes(bytes =>
        {
            bytes.CopyTo(result.AsSpan(at));
            at += bytes.Length;
        });
        return result;
    }

    /// <summary>Calls <paramref name="read"/> with the bytes of a contiguous CPU tensor in place; others are copied first. At most 1 GB a piece, in order.</summary>
    public static void ReadBytes(this Tensor tensor, BytesReader read)
    {
        using Tensor? copy = HostCopy(tensor);
        Tensor source = copy ?? tensor;
        long total = source.ByteCount();
        nint data = total == 0 ? 0 : source.Address();
        const int Piece = 1 << 30;
        for (long at = 0; at < total; at += Piece) read(new ReadOnlySpan<byte>((byte*)data + at, (int)Math.Min(Piece, total - at)));
        GC.KeepAlive(tensor);
    }

    /// <summary>The one element of a tensor of any type, as a double.</summary>
    /// <exception cref="InvalidOperationException">The tensor has no element, or several.</exception>
    public static double Number(this Tensor tensor)
    {
        using Tensor wide = OnlyElement(tensor, ScalarType.Float64);
        return *(double*)wide.Address();
    }

    /// <summary>The one element of an integer or Boolean tensor.</summary>
    /// <exception cref="InvalidOperationException">The tensor has no element, or several.</exception>
    public static long Integer(this Tensor tensor)
    {
        using Tensor wide = OnlyElement(tensor, ScalarType.Int64);
        return *(long*)wide.Address();
    }

    /// <summary>Whether no element is NaN or infinite.</summary>
    public static bool AllFinite(this Tensor tensor)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        bool finite = tensor.detach().isfinite().all().Integer() != 0;
        GC.KeepAlive(tensor);
        return finite;
    }

    /// <summary>Whether two tensors have the same shape and equal elements.</summary>
    public static bool ValuesEqual(this Tensor tensor, Tensor other)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        bool equal = other.HasShape(tensor.shape) && tensor.detach().eq(other.detach()).all().Integer() != 0;
        GC.KeepAlive(tensor);
        GC.KeepAlive(other);
        return equal;
    }

    // On the host. A tensor that nobody else holds must outlive the calls that read it, or the collector could free it meanwhile.
    private static Tensor OnlyElement(Tensor tensor, ScalarType type)
    {
        if (tensor.NumberOfElements != 1) throw new InvalidOperationException($"{tensor.Describe()} is no single number");
        using Tensor detached = tensor.detach();
        Tensor wide = detached.to(type, torch.CPU);
        GC.KeepAlive(tensor);
        return wide;
    }

    private static Tensor? HostCopy(Tensor tensor)
    {
        if (tensor.IsOnCpu() && tensor.is_contiguous()) return null;
        using Tensor detached = tensor.detach();
        using Tensor host = detached.cpu();
        return host.contiguous();
    }
}
