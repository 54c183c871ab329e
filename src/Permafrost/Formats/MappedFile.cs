using System.IO.MemoryMappedFiles;
using Permafrost.Kernels;

namespace Permafrost.Formats;

/// <summary>Which content a file had: as long as length and time stay, so does what was computed of it.</summary>
/// <param name="Path">The file.</param>
/// <param name="Length">Bytes.</param>
/// <param name="Written">When it was last written to, in UTC.</param>
internal sealed record FileStamp(string Path, long Length, DateTime Written);

/// <summary>A file of weights in memory that the system reads page by page. It is only read, and what was looked at can be let go of again.</summary>
internal sealed unsafe class MappedFile : IDisposable
{
    // Copied at a time, so that a tensor is hardly in memory twice.
    private const long CopiedBytes = 1 << 20;

    private readonly MemoryMappedFile? map;
    private readonly MemoryMappedViewAccessor? view;
    private readonly byte* start;

    /// <summary>Maps a file, which may be empty.</summary>
    /// <exception cref="PermafrostException">It is missing or unreadable, or something else under a weight file's name: a Git LFS pointer, a web page.</exception>
    public MappedFile(string path)
    {
        Path = path;
        try
        {
            // The opened file's length and time, not the path's: in the Hugging Face cache a path is a link, which has its own.
            var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            Length = stream.Length;
            Stamp = new FileStamp(System.IO.Path.GetFullPath(path), Length, File.GetLastWriteTimeUtc(stream.SafeFileHandle));
            if (Length == 0)
            {
                stream.Dispose();
                return;
            }
            map = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
        view = map.CreateViewAccessor(0, Length, MemoryMappedFileAccess.Read);
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        if (WrongContent.Of(new ReadOnlySpan<byte>(start, (int)Math.Min(Length, 256))) is not { } what) return;
        Dispose();
        throw new PermafrostException($"{path} is {what}");
    }

    /// <summary>The path, as it was given.</summary>
    public string Path { get; }

    /// <summary>Bytes.</summary>
    public long Length { get; }

    /// <summary>Length and time of the file that was opened.</summary>
    public FileStamp Stamp { get; }

    /// <summary>Bytes of the file.</summary>
    /// <exception cref="ArgumentOutOfRangeException">They are not in it.</exception>
    public ReadOnlySpan<byte> Span(long at, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(at);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(at, Length - count);
        return new ReadOnlySpan<byte>(start + at, count);
    }

    /// <summary>A tensor over the file itself, on the CPU, only to be read, and only until <see cref="Dispose"/>; a copy, where its elements lie at odd addresses.</summary>
    public Tensor View(long at, long bytes, long[] shape, ScalarType type) =>
        (nint)(start + at) % type.ElementBytes() == 0 ? Tensors.OverMemory(start + at, bytes, shape, type) : Read(at, bytes, shape, type);

    /// <summary>A copy of a tensor, on the CPU.</summary>
    public Tensor Read(long at, long bytes, long[] shape, ScalarType type) => Tensors.Filled(shape, type, bytes, target => Copy(start + at, target, bytes));

    /// <summary>Lets go of the memory that a part of the file was read into; it is read again where it is looked at again.</summary>
    public void Release(long at, long bytes) => ResidentPages.Release((nint)(start + at), bytes);

    /// <summary>Whether a tensor's memory is the file's.</summary>
    public bool Holds(Tensor tensor) => start is not null && tensor.Address() is var address && address >= (nint)start && address < (nint)(start + Length);

    /// <summary>Unmaps the file.</summary>
    public void Dispose()
    {
        view?.SafeMemoryMappedViewHandle.ReleasePointer();
        view?.Dispose();
        map?.Dispose();
    }

    private static void Copy(byte* data, byte* target, long bytes)
    {
        for (long at = 0; at < bytes; at += CopiedBytes)
        {
            long some = Math.Min(CopiedBytes, bytes - at);
            Buffer.MemoryCopy(data + at, target + at, some, some);
            ResidentPages.Release((nint)(data + at), some);
        }
    }
}
