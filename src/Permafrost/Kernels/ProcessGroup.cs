using System.Globalization;
using System.Runtime.InteropServices;
using Permafrost.Kernels.Interop;

namespace Permafrost.Kernels;

/// <summary>That a launcher started this process together with others.</summary>
/// <param name="Count">How many there are; 1 for one that was started by a launcher, but alone.</param>
/// <param name="Rank">Which of them this is, from 0.</param>
/// <param name="Variable">The environment variable that says how many.</param>
public sealed record LaunchedProcesses(int Count, int Rank, string Variable)
{
    // Open MPI, MPICH and Intel MPI, MVAPICH, Slurm's srun. What sbatch sets for a whole job says nothing: its script is one process.
    private static readonly (string Size, string Rank)[] Known =
    [
        ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("PMI_SIZE", "PMI_RANK"), ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"), ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    ];

    /// <summary>What the environment says; null where no launcher is known.</summary>
    /// <param name="read">Gives an environment variable; null where it is not set.</param>
    public static LaunchedProcesses? Find(Func<string, string?> read)
    {
        int? Number(string name) => int.TryParse(read(name), NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? number : null;
        foreach ((string size, string rank) in Known)
            if (Number(size) is { } count and > 0) return new LaunchedProcesses(count, Number(rank) ?? 0, size);
        return null;
    }
}

/// <summary>The processes of one training, over MPI. All of them call the same methods in the same order, from one thread at a time. An error within MPI ends them all.</summary>
public sealed class ProcessGroup : IDisposable
{
    // Numbers that are exchanged at once, so that small tensors do not each cost a round of messages.
    private const long Bucket = 1L << 25;

    private readonly MpiLibrary? mpi;
    private bool left;

    private ProcessGroup(MpiLibrary? mpi, int rank, int size) => (this.mpi, Rank, Size) = (mpi, rank, size);

    /// <summary>A process by itself, for which every exchange is done at once.</summary>
    public static ProcessGroup Alone { get; } = new(null, 0, 1);

    /// <summary>Which of them this process is, from 0.</summary>
    public int Rank { get; }

    /// <summary>How many there are.</summary>
    public int Size { get; }

    /// <summary>Whether this is the one that reads and writes what there is one of.</summary>
    public bool IsFirst => Rank == 0;

    /// <summary>Joins the processes that were started together; <see cref="Alone"/> where there are no others. Once in a process.</summary>
    /// <param name="launched">What the environment says.</param>
    /// <exception cref="UsageException">There are several, and they cannot be joined.</exception>
    /// <exception cref="EngineException">The bridge to MPI is damaged, or does not fit.</exception>
    public static ProcessGroup Join(LaunchedProcesses? launched)
    {
        if (launched is not { Count: > 1 }) return Alone;
        if (MpiLibrary.Load() is not { } mpi)
            throw new UsageException(
                $"this is one of {launched.Count} processes ({launched.Variable} says so), and the bridge to MPI that would join them is not built; " +
                "install an MPI with its compiler `mpicc` and start ./permafrost once without the launcher, or start one process");
        (int rank, int size) = mpi.Start();
        if (size == launched.Count) return new ProcessGroup(mpi, rank, size);
        throw new UsageException(
            $"this is one of {launched.Count} processes ({launched.Variable} says so), and the MPI that the bridge was built with joins {size}; " +
            "start them with that MPI's own mpirun, or with the srun of a Slurm that knows PMIx");
    }

    /// <summary>A value of each process, in their order.</summary>
    public T[] Gather<T>(T value) where T : unmanaged
    {
        if (mpi is null) return [value];
        var all = new T[Size];
        mpi.Gather(MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value)), MemoryMarshal.AsBytes(all.AsSpan()));
        return all;
    }

    /// <summary>Whether each process has the same bytes as the first, and which is the first that has not; null where all have.</summary>
    /// <param name="bytes">As many on each.</param>
    public int? FirstUnlike(ReadOnlySpan<byte> bytes)
    {
        if (mpi is null) return null;
        var all = new byte[Size * bytes.Length];
        mpi.Gather(bytes, all);
        for (int rank = 1; rank < Size; rank++)
            if (!all.AsSpan(rank * bytes.Length, bytes.Length).SequenceEqual(all.AsSpan(0, bytes.Length))) return rank;
        return null;
    }

    /// <summary>
    /// The gradient of each tensor becomes its sum over the processes, added in their order: the same bits on every process, and whenever there are as many. A tensor without one
    /// counts as zeros where another process has one.
    /// </summary>
    /// <param name="tensors">Of float32, in the host's memory, the same on each process.</param>
    public void SumGradients(IReadOnlyList<Tensor> tensors)
    {
        if (mpi is null) return;
        using DisposeScope scope = torch.NewDisposeScope();
        using var noGrad = torch.no_grad();
        var mine = new byte[tensors.Count];
        for (int i = 0; i < mine.Length; i++) mine[i] = tensors[i].grad is null ? (byte)0 : (byte)1;
        var all = new byte[Size * mine.Length];
        mpi.Gather(mine, all);
        var bucket = new List<Tensor>();
        for (int i = 0; i < mine.Length; i++)
        {
            if (!Enumerable.Range(0, Size).Any(rank => all[rank * mine.Length + i] != 0)) continue;
            if (mine[i] == 0) tensors[i].grad = torch.zeros_like(tensors[i]);
            Tensor gradient = tensors[i].grad!;
            if (gradient.dtype != ScalarType.Float32 || !gradient.IsOnCpu()) throw new ArgumentException("gradients are summed in float32 and in the host's memory");
            if (bucket.Sum(one => one.NumberOfElements) + gradient.NumberOfElements > Bucket) Sum(bucket);
            bucket.Add(gradient);
        }
        Sum(bucket);
    }

    private unsafe void Sum(List<Tensor> bucket)
    {
        if (bucket.Count == 0) return;
        using Tensor flat = torch.cat([.. bucket.Select(one => one.reshape(-1))]);
        mpi!.Sum((float*)flat.Address(), flat.NumberOfElements);
        long at = 0;
        foreach (Tensor gradient in bucket)
        {
            gradient.copy_(flat.narrow(0, at, gradient.NumberOfElements).reshape(gradient.shape));
            at += gradient.NumberOfElements;
        }
        bucket.Clear();
    }

    /// <summary>Returns when all processes have come here, and sleeps meanwhile.</summary>
    public void Wait() => mpi?.Wait();

    /// <summary>Ends all processes with an exit code, those too that wait for this one.</summary>
    public void Abort(int code) => mpi?.Abort(code);

    /// <summary>Leaves, when all processes do.</summary>
    public void Dispose()
    {
        if (!left) mpi?.Finish();
        left = true;
    }
}
