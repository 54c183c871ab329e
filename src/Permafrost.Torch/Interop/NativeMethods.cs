using System.Runtime.InteropServices;

namespace Permafrost.Torch.Interop;

/// <summary>The functions of native/permafrost_torch.h, one to one.</summary>
internal static unsafe partial class NativeMethods
{
    internal const string Library = "permafrost_torch";
    internal const int AbiVersion = 4;

    static NativeMethods() => NativeLoader.Register();

    [LibraryImport(Library)] internal static partial int pf_abi_version();
    [LibraryImport(Library)] internal static partial nint pf_last_error();
    [LibraryImport(Library)] internal static partial nint pf_torch_version();
    [LibraryImport(Library)] internal static partial int pf_torch_config(byte* buffer, long capacity);
    [LibraryImport(Library)] internal static partial int pf_blas_info(byte* buffer, long capacity);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)] internal static partial int pf_operator_find(string name, string overload, out nint result);
    [LibraryImport(Library)] internal static partial int pf_operator_call(nint op, NativeValue* arguments, int count, NativeValue* results, int capacity, int* produced);
    [LibraryImport(Library)] internal static partial void pf_list_free(nint list);

    [LibraryImport(Library)] internal static partial int pf_tensor_from_host(void* data, long bytes, long* shape, int dimensions, int dtype, out nint result);
    [LibraryImport(Library)] internal static partial int pf_tensor_over_host(void* data, long bytes, long* shape, int dimensions, int dtype, out nint result);
    [LibraryImport(Library)] internal static partial int pf_tensor_to_host(nint tensor, void* data, long bytes);
    [LibraryImport(Library)] internal static partial int pf_tensor_describe(nint tensor, NativeTensorInfo* info, long* shape, int capacity);
    [LibraryImport(Library)] internal static partial void pf_tensor_free(nint tensor);
    [LibraryImport(Library)] internal static partial long pf_tensor_live();

    [LibraryImport(Library)] internal static partial int pf_backward(nint tensor, nint gradient);
    [LibraryImport(Library)] internal static partial int pf_gradient(nint tensor, out nint result);
    [LibraryImport(Library)] internal static partial int pf_gradient_set(nint tensor, nint gradient);
    [LibraryImport(Library)] internal static partial int pf_requires_grad_set(nint tensor, int value);
    [LibraryImport(Library)] internal static partial int pf_grad_mode();
    [LibraryImport(Library)] internal static partial void pf_grad_mode_set(int enabled);

    [LibraryImport(Library)] internal static partial int pf_checkpoint(delegate* unmanaged[Cdecl]<nint, nint, nint, nint*, int> run, delegate* unmanaged[Cdecl]<nint, void> release, nint state, nint stream, nint update, nint* results);
    [LibraryImport(Library)] internal static partial void pf_error_set(byte* message);

    [LibraryImport(Library)] internal static partial int pf_generator_new(ulong seed, out nint result);
    [LibraryImport(Library)] internal static partial void pf_generator_free(nint generator);
    [LibraryImport(Library)] internal static partial int pf_random_seed(ulong seed);
    [LibraryImport(Library)] internal static partial int pf_random_state(nint generator, int deviceType, int deviceIndex, out nint result);
    [LibraryImport(Library)] internal static partial int pf_random_state_set(nint generator, int deviceType, int deviceIndex, nint state);

    [LibraryImport(Library)] internal static partial int pf_threads();
    [LibraryImport(Library)] internal static partial int pf_threads_set(int threads);
    [LibraryImport(Library)] internal static partial int pf_cuda_devices();
    [LibraryImport(Library)] internal static partial int pf_deterministic_set(int enabled);
    [LibraryImport(Library)] internal static partial int pf_synchronize(int deviceType, int deviceIndex);

    /// <summary>Throws the native side's last message as a <see cref="TorchException"/> when <paramref name="status"/> says failure.</summary>
    internal static void Check(int status, string operation)
    {
        if (status != 0) throw TorchException.FromNative(operation);
    }
}
