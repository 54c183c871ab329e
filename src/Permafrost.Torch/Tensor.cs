using System.Globalization;
using Permafrost.Torch.Interop;

namespace Permafrost.Torch;

/// <summary>
/// An n-dimensional array of libtorch. Operators are methods, by topic in <c>Tensor.*.cs</c>, named as in PyTorch. A tensor belongs to the
/// <see cref="TensorScope"/> it was made in and is freed with it; outside any scope it is freed when disposed or collected.
/// </summary>
public sealed unsafe partial class Tensor : IDisposable
{
    /// <summary>The most dimensions a tensor here may have.</summary>
    public const int MaxDimensions = 16;

    private nint handle;
    private long[]? shape;
    private DType dtype;
    private Device device;

    internal Tensor(nint handle)
    {
        this.handle = handle;
        TensorScope.Register(this);
    }

    /// <summary>Frees a tensor that no scope and no one else did.</summary>
    ~Tensor() => Free();

    internal TensorScope? Scope { get; set; }

    internal nint Handle => handle != 0 ? handle : throw new ObjectDisposedException(nameof(Tensor), "the tensor was freed, by Dispose or with its TensorScope");

    /// <summary>Sizes along the dimensions; a scalar has none. Not to be written to.</summary>
    public long[] Shape { get { Describe(); return shape!; } }

    /// <summary>The element type.</summary>
    public DType DType { get { Describe(); return dtype; } }

    /// <summary>Where the data lives.</summary>
    public Device Device { get { Describe(); return device; } }

    /// <summary>Number of dimensions.</summary>
    public int Dimensions => Shape.Length;

    /// <summary>Number of elements.</summary>
    public long Elements { get { long n = 1; foreach (long size in Shape) n *= size; return n; } }

    /// <summary>Bytes of the elements.</summary>
    public long Bytes => Elements * DType.Size();

    /// <summary>Whether the tensor was freed.</summary>
    public bool IsDisposed => handle == 0;

    /// <summary>The size along a dimension; negative ones count from the end.</summary>
    public long Size(int dimension) => Shape[dimension < 0 ? Dimensions + dimension : dimension];

    /// <summary>Frees the tensor; its memory goes when nothing else (another tensor, a gradient graph) uses it.</summary>
    public void Dispose()
    {
        Free();
        Scope = null;
        GC.SuppressFinalize(this);
    }

    private static readonly Operator AliasOp = new("aten::alias");

    /// <summary>Another handle to the same tensor, with its history.</summary>
    internal Tensor Alias() => AliasOp.Call(this);

    /// <summary>Gives the handle away: this tensor is freed without it.</summary>
    internal nint Release()
    {
        nint old = Interlocked.Exchange(ref handle, 0);
        Dispose();
        return old;
    }

    /// <summary>Element type and shape, such as <c>Float32[2, 3]</c>.</summary>
    public override string ToString() => handle == 0 ? "(freed)" : $"{DType}{FormatShape(Shape)}";

    /// <summary>A shape as text, such as <c>[2, 3]</c>.</summary>
    public static string FormatShape(ReadOnlySpan<long> shape)
    {
        var text = new System.Text.StringBuilder("[");
        for (int i = 0; i < shape.Length; i++) text.Append(CultureInfo.InvariantCulture, $"{(i > 0 ? ", " : "")}{shape[i]}");
        return text.Append(']').ToString();
    }

    private NativeTensorInfo Info(long* sizes)
    {
        NativeTensorInfo info;
        NativeMethods.Check(NativeMethods.pf_tensor_describe(Handle, &info, sizes, MaxDimensions), "describe");
        GC.KeepAlive(this);
        return info;
    }

    // Shape, type and device of a tensor never change here (nothing resizes in place), so they are asked for once.
    private void Describe()
    {
        if (shape is not null) return;
        long* sizes = stackalloc long[MaxDimensions];
        NativeTensorInfo info = Info(sizes);
        dtype = (DType)info.DType;
        device = new Device((DeviceType)info.DeviceType, info.DeviceIndex);
        shape = new ReadOnlySpan<long>(sizes, info.Dimensions).ToArray();
    }

    private void Free()
    {
        nint old = Interlocked.Exchange(ref handle, 0);
        if (old != 0) NativeMethods.pf_tensor_free(old);
    }
}
