using System.Runtime.InteropServices;

namespace Permafrost.Kernels.Interop;

/// <summary>libpermafrost_mpi beside the program: the functions of native/mpi/permafrost_mpi.h. The variable PERMAFROST_MPI names another file, or with <c>none</c> none.</summary>
internal sealed unsafe class MpiLibrary
{
    private const string FileName = "libpermafrost_mpi.so";
    private const int AbiVersion = 1;

    private readonly delegate* unmanaged<int*, int*, int> start;
    private readonly delegate* unmanaged<byte*, byte*, int, void> gather;
    private readonly delegate* unmanaged<float*, long, int> sum;
    private readonly delegate* unmanaged<void> wait, finish;
    private readonly delegate* unmanaged<int, void> abort;

    private MpiLibrary(nint handle, string file)
    {
        nint Find(string name) => NativeLibrary.TryGetExport(handle, name, out nint address) ? address : throw Unfit(file, $"it has no {name}");
        var version = (delegate* unmanaged<int>)Find("pfm_abi_version");
        if (version() != AbiVersion) throw Unfit(file, $"its interface has version {version()}, not {AbiVersion}");
        start = (delegate* unmanaged<int*, int*, int>)Find("pfm_start");
        gather = (delegate* unmanaged<byte*, byte*, int, void>)Find("pfm_gather");
        sum = (delegate* unmanaged<float*, long, int>)Find("pfm_sum");
        wait = (delegate* unmanaged<void>)Find("pfm_wait");
        abort = (delegate* unmanaged<int, void>)Find("pfm_abort");
        finish = (delegate* unmanaged<void>)Find("pfm_finish");
    }

    /// <summary>The library; null where it was not built.</summary>
    /// <exception cref="EngineException">It is there and cannot be used.</exception>
    public static MpiLibrary? Load()
    {
        string file = Environment.GetEnvironmentVariable("PERMAFROST_MPI") is { Length: > 0 } given ? given : Path.Combine(AppContext.BaseDirectory, FileName);
        if (!File.Exists(file)) return null;
        try
        {
            return new MpiLibrary(NativeLibrary.Load(Path.GetFullPath(file)), file);
        }
        catch (Exception error) when (error is DllNotFoundException or BadImageFormatException)
        {
            throw Unfit(file, error.Message.ReplaceLineEndings(" ").Trim().TrimEnd('.'));
        }
    }

    public (int Rank, int Size) Start()
    {
        int rank, size;
        if (start(&rank, &size) != 0) throw new EngineException("this MPI cannot be called from several threads (MPI_THREAD_SERIALIZED): take one that was built with threads");
        return (rank, size);
    }

    public void Gather(ReadOnlySpan<byte> mine, Span<byte> all)
    {
        fixed (byte* from = mine, to = all) gather(from, to, mine.Length);
    }

    public void Sum(float* values, long count)
    {
        if (sum(values, count) != 0) throw new PermafrostException("the processes that train together could not sum their gradients: there was no memory for what they exchange");
    }

    public void Wait() => wait();

    public void Abort(int code) => abort(code);

    public void Finish() => finish();

    private static EngineException Unfit(string file, string why) =>
        new($"the bridge to MPI {file} cannot be used ({why}): delete the file and start ./permafrost, which builds it again");
}
