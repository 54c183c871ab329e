using Permafrost.Kernels.Interop;

namespace Permafrost.Kernels;

/// <summary>Adam's update of many tensors in one pass over memory.</summary>
internal static unsafe class AdamKernel
{
    /// <summary>Whether it can update a parameter.</summary>
    public static bool Takes(Tensor parameter) => KernelSet.Enabled && parameter.dtype == ScalarType.Float32 && parameter.IsOnCpu() && parameter.is_contiguous();

    /// <summary>Updates parameters and moments in place.</summary>
    /// <param name="parameters">Contiguous float32 tensors on the CPU, as are the others.</param>
    /// <param name="gradients">Of the parameters.</param>
    /// <param name="first">Running means.</param>
    /// <param name="second">Running means of squares.</param>
    /// <param name="settings">As native/permafrost_kernels.h lists them.</param>
    public static void Run(Tensor[] parameters, Tensor[] gradients, Tensor[] first, Tensor[] second, ReadOnlySpan<double> settings)
    {
        int count = parameters.Length;
        Tensor[] dense = [.. gradients.Select(gradient => Elementwise.As(gradient, ScalarType.Float32))];
        long[] elements = [.. parameters.Select(parameter => parameter.NumberOfElements)];
        nint[] addresses = [.. parameters.Select(TensorExtensions.Address), .. dense.Select(TensorExtensions.Address), .. first.Select(TensorExtensions.Address), .. second.Select(TensorExtensions.Address)];
        fixed (long* sizes = elements)
        fixed (nint* pointers = addresses)
        {
            var arguments = new AdamArguments { Count = count, Elements = (nint)sizes, Parameters = (nint)pointers, Gradients = (nint)(pointers + count), First = (nint)(pointers + 2 * count), Second = (nint)(pointers + 3 * count) };
            for (int i = 0; i < 8; i++) arguments.Settings[i] = settings[i];
            NativeMethods.Check(NativeMethods.pf_adam(&arguments));
        }
        GC.KeepAlive(dense);
    }
}
