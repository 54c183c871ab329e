using Permafrost.Kernels.Interop;

namespace Permafrost.Kernels;

/// <summary>Adam's update of many tensors in one pass over memory.</summary>
internal static unsafe class AdamKernel
{
    /// <summary>Whether this kernel can update a parameter: it takes contiguous float32 tensors on the CPU.</summary>
    public static bool Takes(Tensor parameter) => KernelSet.Enabled && parameter.dtype == ScalarType.Float32 && parameter.IsOnCpu() && parameter.is_contiguous();

    /// <summary>The sum of all numbers' squares, in a fixed order.</summary>
    public static double SumSquares(Tensor[] tensors)
    {
        var arguments = new ListArguments();
        Over(tensors, ref arguments, scale: false);
        return arguments.Result;
    }

    /// <summary>Multiplies every number, in place.</summary>
    public static void Scale(Tensor[] tensors, double factor)
    {
        var arguments = new ListArguments { Factor = factor };
        Over(tensors, ref arguments, scale: true);
    }

    private static void Over(Tensor[] tensors, ref ListArguments arguments, bool scale)
    {
        long[] elements = [.. tensors.Select(tensor => tensor.NumberOfElements)];
        nint[] addresses = [.. tensors.Select(TensorExtensions.Address)];
        fixed (long* sizes = elements)
        fixed (nint* pointers = addresses)
        fixed (ListArguments* call = &arguments)
        {
            (call->Count, call->Elements, call->Tensors) = (tensors.Length, (nint)sizes, (nint)pointers);
            NativeMethods.Check(scale ? NativeMethods.pf_scale(call) : NativeMethods.pf_sum_squares(call));
        }
        GC.KeepAlive(tensors);
    }

    /// <summary>Updates parameters and moments in place.</summary>
    /// <param name="parameters">Contiguous float32 tensors on the CPU, as are the others.</param>
    /// <param name="gradients">One for each parameter; other types are converted to float32.</param>
    /// <param name="first">Running means of the gradients.</param>
    /// <param name="second">Running means of the gradients' squares.</param>
    /// <param name="settings">Eight numbers, in the order in which native/permafrost_kernels.h lists them.</param>
    public static void Run(Tensor[] parameters, Tensor[] gradients, Tensor[] first, Tensor[] second, ReadOnlySpan<double> settings)
    {
        int count = parameters.Length;
        Tensor[] dense = [.. gradients.Select(gradient => Elementwise.As(gradient, ScalarType.Float32))];
        long[] elements = [.. parameters.Select(parameter => parameter.NumberOfElements)];
        nint[] addresses =
        [
            .. parameters.Select(TensorExtensions.Address),
            .. dense.Select(TensorExtensions.Address),
            .. first.Select(TensorExtensions.Address),
            .. second.Select(TensorExtensions.Address),
        ];
        fixed (long* sizes = elements)
        fixed (nint* pointers = addresses)
        {
            var arguments = new AdamArguments
            {
                Count = count,
                Elements = (nint)sizes,
                Parameters = (nint)pointers,
                Gradients = (nint)(pointers + count),
                First = (nint)(pointers + 2 * count),
                Second = (nint)(pointers + 3 * count),
            };
            for (int i = 0; i < 8; i++) arguments.Settings[i] = settings[i];
            NativeMethods.Check(NativeMethods.pf_adam(&arguments));
        }
        GC.KeepAlive(dense);
    }
}
