using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Permafrost.Kernels.Interop;

/// <summary>The functions of native/permafrost_kernels.h, and two of TorchSharp's own library that its public types do not offer.</summary>
internal static unsafe partial class NativeMethods
{
    /// <summary>PF_ABI_VERSION.</summary>
    internal const int AbiVersion = 9;

    private const string Library = KernelLibrary.Name;
    private const string Torch = "LibTorchSharp";

    [LibraryImport(Library)] internal static partial int pf_abi_version();
    [LibraryImport(Library)] internal static partial nint pf_last_error();
    [LibraryImport(Library)] internal static partial nint pf_sets();
    [LibraryImport(Library)] internal static partial nint pf_set();
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)] internal static partial int pf_select(string name);
    [LibraryImport(Library)] internal static partial int pf_multiplies_bfloat16();
    [LibraryImport(Library)] internal static partial void pf_threads_set(int threads);

    [LibraryImport(Library)] internal static partial int pf_norm_forward(NormForwardArguments* arguments);
    [LibraryImport(Library)] internal static partial int pf_norm_backward(NormBackwardArguments* arguments);
    [LibraryImport(Library)] internal static partial int pf_attention_forward(AttentionArguments* arguments);
    [LibraryImport(Library)] internal static partial int pf_attention_backward(AttentionArguments* arguments);
    [LibraryImport(Library)] internal static partial int pf_convolution_forward(ConvolutionArguments* arguments);
    [LibraryImport(Library)] internal static partial int pf_convolution_backward(ConvolutionArguments* arguments);
    [LibraryImport(Library)] internal static partial int pf_product(ProductArguments* arguments);
    [LibraryImport(Library)] internal static partial long pf_packed_elements(long inputs, long outputs);
    [LibraryImport(Library)] internal static partial int pf_pack(PackArguments* arguments);
    [LibraryImport(Library)] internal static partial int pf_unpack(PackArguments* arguments);
    [LibraryImport(Library)] internal static partial int pf_matmul(MatmulArguments* arguments);
    [LibraryImport(Library)] internal static partial int pf_multiply(ElementwiseArguments* arguments);
    [LibraryImport(Library)] internal static partial int pf_add(ElementwiseArguments* arguments);
    [LibraryImport(Library)] internal static partial int pf_convert(ElementwiseArguments* arguments);
    [LibraryImport(Library)] internal static partial int pf_dropout_apply(DropoutArguments* arguments);
    [LibraryImport(Library)] internal static partial int pf_column_sums(ColumnSumsArguments* arguments);
    [LibraryImport(Library)] internal static partial int pf_transpose(TransposeArguments* arguments);
    [LibraryImport(Library)] internal static partial int pf_sum_squares(ListArguments* arguments);
    [LibraryImport(Library)] internal static partial int pf_scale(ListArguments* arguments);
    [LibraryImport(Library)] internal static partial int pf_adam(AdamArguments* arguments);

    [LibraryImport(Torch)] private static partial nint THSTensor_data(nint tensor);

    [LibraryImport(Torch)]
    private static partial nint THSTensor_new(
        nint data, delegate* unmanaged[Cdecl]<nint, void> deleter, long* shape, int dimensions, sbyte type, sbyte target, int deviceType, int deviceIndex, byte requiresGrad);

    /// <summary>Throws the kernels' last error message where <paramref name="status"/> is not 0.</summary>
    internal static void Check(int status)
    {
        if (status != 0) throw new EngineException(Marshal.PtrToStringUTF8(pf_last_error()) ?? "a kernel failed");
    }

    /// <summary>Address of a CPU tensor's first element.</summary>
    internal static nint TensorData(nint tensor)
    {
        nint data = THSTensor_data(tensor);
        if (data == 0) torch.CheckForErrors();
        return data;
    }

    /// <summary>A tensor over memory that is not its own.</summary>
    internal static Tensor TensorOver(byte* data, ReadOnlySpan<long> shape, ScalarType type) => TensorOver(data, shape, type, &Keep);

    /// <summary>A tensor over memory that is not its own; <paramref name="deleter"/> is called when nothing uses the memory any more.</summary>
    internal static Tensor TensorOver(byte* data, ReadOnlySpan<long> shape, ScalarType type, delegate* unmanaged[Cdecl]<nint, void> deleter)
    {
        Engine.EnsureLoaded();
        fixed (long* sizes = shape)
        {
            nint handle = THSTensor_new((nint)data, deleter, sizes, shape.Length, (sbyte)type, (sbyte)type, (int)DeviceType.CPU, -1, 0);
            if (handle == 0) torch.CheckForErrors();
            return Tensor.UnsafeCreateTensor(handle);
        }
    }

    [LibraryImport("libc", SetLastError = true)] private static partial nint mmap(nint address, nuint length, int protection, int flags, int file, nint offset);
    [LibraryImport("libc")] private static partial int munmap(nint address, nuint length);

    /// <summary>Whole pages from the system, filled with zeros; Linux only, as the kernels are.</summary>
    internal static nint MapMemory(long bytes)
    {
        const int ReadWrite = 3, PrivateAnonymous = 0x22;
        nint address = mmap(0, (nuint)bytes, ReadWrite, PrivateAnonymous, -1, 0);
        return address != -1 ? address : throw new InsufficientMemoryException($"the system has no {bytes} bytes of memory left");
    }

    /// <summary>Gives pages back.</summary>
    internal static void UnmapMemory(nint address, long bytes) => _ = munmap(address, (nuint)bytes);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Keep(nint memory) { }
}
