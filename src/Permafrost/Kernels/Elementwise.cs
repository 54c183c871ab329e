using Permafrost.Kernels.Interop;

namespace Permafrost.Kernels;

/// <summary>Operations element by element that the kernels' gradients need; no gradient passes through them.</summary>
internal static unsafe class Elementwise
{
    private enum Operation { Add, Multiply, Convert }

    /// <summary>sum += other, in place.</summary>
    public static void AddTo(Tensor sum, Tensor other)
    {
        if (KernelSet.Takes(sum) && other.dtype == sum.dtype && sum.is_contiguous() && other.is_contiguous() && sum.NumberOfElements == other.NumberOfElements)
            Call(Operation.Add, sum, other, sum);
        else
            sum.Increase(other);
    }

    /// <summary>a times b, contiguous tensors of one type and size.</summary>
    public static Tensor Multiply(Tensor a, Tensor b)
    {
        Tensor result = Workspace.Empty(a.shape, a.dtype);
        Call(Operation.Multiply, a, b, result);
        return result;
    }

    /// <summary>The tensor, made contiguous and converted to a type; the tensor itself where it is both already.</summary>
    public static Tensor As(Tensor x, ScalarType type)
    {
        Tensor dense = x.is_contiguous() ? x : x.contiguous();
        if (dense.dtype == type) return dense;
        if (!KernelSet.Takes(dense) || !KernelSet.Writes(type)) return dense.to(type);
        Tensor result = Workspace.Empty(dense.shape, type);
        Call(Operation.Convert, dense, null, result);
        return result;
    }

    private static void Call(Operation operation, Tensor x, Tensor? other, Tensor y)
    {
        var arguments = new ElementwiseArguments
        {
            Count = x.NumberOfElements,
            X = x.Address(),
            Other = other?.Address() ?? 0,
            Y = y.Address(),
            XType = TypeCode(x.dtype),
            YType = TypeCode(y.dtype),
        };
        NativeMethods.Check(operation switch
        {
            Operation.Add => NativeMethods.pf_add(&arguments),
            Operation.Multiply => NativeMethods.pf_multiply(&arguments),
            _ => NativeMethods.pf_convert(&arguments),
        });
        GC.KeepAlive(x);
        GC.KeepAlive(other);
        GC.KeepAlive(y);
    }

    /// <summary>The type as native/permafrost_kernels.h numbers it: PF_FLOAT32 or PF_BFLOAT16.</summary>
    internal static long TypeCode(ScalarType type) => type switch
    {
        ScalarType.Float32 => 0,
        ScalarType.BFloat16 => 1,
        _ => throw new ArgumentException($"the kernels compute with float32 and bfloat16, not {type}"),
    };
}
