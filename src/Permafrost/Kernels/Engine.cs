using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Permafrost.Kernels.Interop;

namespace Permafrost.Kernels;

/// <summary>Facts about, and switches of, the libtorch behind this process.</summary>
public static partial class Engine
{
    private static readonly Lazy<int> LazyCudaDevices = new(CountCudaDevices);
    private static readonly Lock Gate = new();
    private static volatile bool ready;

    /// <summary>
    /// Asks libtorch's OpenMP threads to sleep while they wait for work: otherwise they spin on the very cores that the kernels' threads need. This works only before TorchSharp is
    /// first used; <see cref="EnsureLoaded"/> does it too. A value of OMP_WAIT_POLICY that the user has set stays.
    /// </summary>
    public static void KeepLibtorchFromSpinning()
    {
        // .NET's SetEnvironmentVariable does not reach C libraries.
        if (OperatingSystem.IsLinux()) _ = setenv("OMP_WAIT_POLICY", "passive", overwrite: 0);
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int setenv(string name, string value, int overwrite);

    /// <summary>libtorch's version, such as <c>2.10.0</c>.</summary>
    public static string Version
    {
        get
        {
            EnsureLoaded();
            return string.Join('.', torch.__version__.Split('.').Take(3));
        }
    }

    /// <summary>TorchSharp's version.</summary>
    public static string TorchSharpVersion { get; } = typeof(torch).Assembly.GetName().Version?.ToString(3) ?? "unknown";

    /// <summary>Number of CUDA devices this libtorch can use.</summary>
    public static int CudaDevices => LazyCudaDevices.Value;

    /// <summary>Whether libtorch's CUDA library is there to be loaded.</summary>
    public static bool HasCudaLibrary => NativeLibrary.TryLoad("torch_cuda", typeof(torch).Assembly, null, out _);

    /// <summary>Threads within one operator, of libtorch and of the kernels.</summary>
    public static int Threads
    {
        get
        {
            EnsureLoaded();
            return torch.get_num_threads();
        }
        set
        {
            if (value <= 0) throw new ArgumentException($"the number of threads must be positive, not {value}");
            EnsureLoaded();
            torch.set_num_threads(value);
            if (KernelLibrary.Path is not null) NativeMethods.pf_threads_set(value);
        }
    }

    /// <summary>Tensors of the whole process that were made through TorchSharp and not yet freed.</summary>
    public static long LiveTensors => Tensor.TotalCount - SegmentFunction.Undefined - Tensors.Absorbed;

    /// <summary>Waits until everything queued on a device is done; nothing to wait for on the CPU.</summary>
    public static void Synchronize(Device device)
    {
        if (!device.IsCpu()) torch.cuda.synchronize(device);
    }

    /// <summary>Loads libtorch and the kernels, or says in one sentence why they cannot be.</summary>
    /// <exception cref="EngineException">A library is missing, cannot be loaded, or was built for another version of this program.</exception>
    public static void EnsureLoaded()
    {
        if (ready) return;
        lock (Gate)
        {
            if (ready) return;
            KeepLibtorchFromSpinning();
            LoadTorch();
            // By default, as in PyTorch, one thread for each core; OMP_NUM_THREADS overrides it.
            int threads = torch.get_num_threads();
            if (KernelLibrary.Path is not null) NativeMethods.pf_threads_set(threads);
            ready = true;
            ResidentPages.ReleaseCode("libtorch_cpu.so");
            if (Environment.GetEnvironmentVariable("PERMAFROST_KERNELS") is not { Length: > 0 } kernels) return;
            try
            {
                KernelSet.Select(kernels);
            }
            catch (ArgumentException error)
            {
                ready = false;
                throw new EngineException($"the variable PERMAFROST_KERNELS: {error.Message}", error);
            }
        }
    }

    // TorchSharp prints a page of text when its library does not load; loading it here first gets the loader's own message.
    private static void LoadTorch()
    {
        try
        {
            _ = NativeLibrary.Load("LibTorchSharp", typeof(torch).Assembly, null);
        }
        catch (Exception error) when (error is DllNotFoundException or BadImageFormatException)
        {
            throw new EngineException($"TorchSharp's library or the libtorch behind it cannot be loaded: {LoaderReason(error)}. {WayOut(error.Message)}", error);
        }
        try
        {
            RuntimeHelpers.RunClassConstructor(typeof(torch).TypeHandle);
            if (!torch.TryInitializeDeviceType(DeviceType.CPU)) throw new EngineException("libtorch's CPU build does not start here");
        }
        catch (Exception error) when (error is TypeInitializationException or NotSupportedException or DllNotFoundException)
        {
            throw new EngineException($"libtorch cannot be loaded: {LoaderReason(error)}. {WayOut(error.Message)}", error);
        }
    }

    // The loader tries several spellings of a name; only its message about the file that exists is helpful.
    private static string LoaderReason(Exception error)
    {
        string[] lines = error.Message.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        string line = Array.Find(lines, text => !text.Contains("No such file", StringComparison.Ordinal) && text.Contains(".so", StringComparison.Ordinal)) ?? lines[0];
        return line.TrimEnd('.');
    }

    private static string WayOut(string reason)
    {
        if (reason.Contains("GLIBCXX_3.4.32", StringComparison.Ordinal))
            return "This system's libstdc++ is older than TorchSharp asks for; start through ./permafrost, whose build adapts it, " +
                "or reference Permafrost's package, which does the same";
        if (reason.Contains("GLIBCXX_", StringComparison.Ordinal) || reason.Contains("GLIBC_", StringComparison.Ordinal))
            return "This system's C++ or C library is too old: Debian 12, Ubuntu 22.04 or newer is needed";
        return "A program needs a package libtorch-cpu-linux-x64 (or its sibling for another platform or CUDA) of version 2.10.0 beside TorchSharp; " +
            "start through ./permafrost, which restores it";
    }

    private static int CountCudaDevices()
    {
        EnsureLoaded();
        return HasCudaLibrary && torch.cuda.is_available() ? torch.cuda.device_count() : 0;
    }
}
