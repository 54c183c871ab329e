using System.Runtime.InteropServices;
using Permafrost.Torch.Interop;

namespace Permafrost.Torch;

/// <summary>Facts about, and switches of, the libtorch behind this process.</summary>
public static unsafe class Engine
{
    private static volatile bool ready;

    private static readonly Lazy<int> LazyCudaDevices = new(() => { EnsureLoaded(); return NativeMethods.pf_cuda_devices(); });

    /// <summary>libtorch's version, such as <c>1.13.0</c>.</summary>
    public static string Version { get { EnsureLoaded(); return Marshal.PtrToStringUTF8(NativeMethods.pf_torch_version())!; } }

    /// <summary>The file of the native door.</summary>
    public static string NativeLibraryPath { get { EnsureLoaded(); return NativeLoader.LoadedFrom; } }

    /// <summary>libtorch's own description of how it was built and how it runs in parallel.</summary>
    public static string Configuration => Text(&NativeMethods_Config);

    /// <summary>OpenBLAS's version, kernels and threads; empty for another BLAS.</summary>
    public static string Blas => Text(&NativeMethods_Blas);

    /// <summary>Number of CUDA devices this libtorch can use.</summary>
    public static int CudaDevices => LazyCudaDevices.Value;

    /// <summary>Threads within one operator, of libtorch and of its BLAS.</summary>
    public static int Threads
    {
        get { EnsureLoaded(); return NativeMethods.pf_threads(); }
        set { EnsureLoaded(); NativeMethods.Check(NativeMethods.pf_threads_set(value), "set threads"); }
    }

    /// <summary>Tensor handles of the whole process that were not yet freed.</summary>
    public static long LiveTensors { get { EnsureLoaded(); return NativeMethods.pf_tensor_live(); } }

    /// <summary>Makes operators without a deterministic implementation fail instead of varying from run to run.</summary>
    public static bool Deterministic { set { EnsureLoaded(); NativeMethods.Check(NativeMethods.pf_deterministic_set(value ? 1 : 0), "set determinism"); } }

    /// <summary>Waits until everything queued on a device is done; nothing to wait for on the CPU.</summary>
    public static void Synchronize(Device device)
    {
        EnsureLoaded();
        NativeMethods.Check(NativeMethods.pf_synchronize((int)device.Type, device.Index), "synchronize");
    }

    /// <summary>Loads the native library, or says in one sentence why it cannot be.</summary>
    /// <exception cref="TorchException">The library is missing, cannot be loaded, or was built for another version of this program.</exception>
    public static void EnsureLoaded()
    {
        if (ready) return;
        int version;
        try
        {
            version = NativeMethods.pf_abi_version();
        }
        catch (TypeInitializationException error) when (error.InnerException is TorchException inner)
        {
            throw inner;
        }
        if (version != NativeMethods.AbiVersion)
            throw new TorchException("load", $"{NativeLoader.LoadedFrom} has interface version {version}, this program needs {NativeMethods.AbiVersion}: start through ./permafrost, which rebuilds it");
        // Debian's libtorch starts with one thread; PyTorch's habit is one for each core, and OMP_NUM_THREADS goes before both.
        if (string.IsNullOrEmpty(Environment.GetEnvironmentVariable("OMP_NUM_THREADS"))) NativeMethods.Check(NativeMethods.pf_threads_set(Environment.ProcessorCount), "set threads");
        ready = true;
        if (Environment.GetEnvironmentVariable("PERMAFROST_KERNELS") is not { Length: > 0 } kernels) return;
        try
        {
            Kernels.Select(kernels);
        }
        catch (ArgumentException error)
        {
            ready = false;
            throw new TorchException("load", $"the variable PERMAFROST_KERNELS: {error.Message}");
        }
    }

    private static int NativeMethods_Config(nint buffer, long capacity) => NativeMethods.pf_torch_config((byte*)buffer, capacity);

    private static int NativeMethods_Blas(nint buffer, long capacity) => NativeMethods.pf_blas_info((byte*)buffer, capacity);

    private static string Text(delegate*<nint, long, int> read)
    {
        EnsureLoaded();
        const int Capacity = 16384;
        byte* buffer = stackalloc byte[Capacity];
        NativeMethods.Check(read((nint)buffer, Capacity), "describe");
        return Marshal.PtrToStringUTF8((nint)buffer)!.Trim();
    }
}
