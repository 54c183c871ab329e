using Microsoft.Win32.SafeHandles;
using Permafrost.Kernels;

namespace Permafrost.Formats;

/// <summary>
/// Rows of a float32 matrix in a file, read where they are looked up: a table of tokens is half of a small model, and a text needs a few rows of it, which the system's page cache
/// holds anyway. Any number of threads may read at once. The file must not be changed in place meanwhile; one that is renamed into its place does no harm.
/// </summary>
internal sealed class MatrixRows : IDisposable
{
    private readonly string path;
    private readonly SafeFileHandle file;
    private readonly long offset;
    private readonly long width;

    /// <param name="path">The file.</param>
    /// <param name="offset">Where the matrix begins in it, in bytes.</param>
    /// <param name="count">Its rows.</param>
    /// <param name="width">Numbers in a row.</param>
    public MatrixRows(string path, long offset, long count, long width)
    {
        (this.path, this.offset, this.width, Count) = (path, offset, width, count);
        file = File.OpenHandle(path);
    }

    public long Count { get; }

    /// <summary>Rows, one behind another, as a tensor (N, width).</summary>
    /// <param name="numbers">Their numbers, from 0.</param>
    /// <exception cref="PermafrostException">The file has become shorter, or cannot be read.</exception>
    public unsafe Tensor Read(ReadOnlySpan<long> numbers)
    {
        Tensor rows = Workspace.Empty([numbers.Length, width]);
        byte* target = (byte*)rows.Address();
        int bytes = checked((int)(width * sizeof(float)));
        for (int i = 0; i < numbers.Length; i++)
        {
            if (numbers[i] < 0 || numbers[i] >= Count) throw new ArgumentOutOfRangeException(nameof(numbers), $"row {numbers[i]} of {Count}");
            Read(offset + numbers[i] * bytes, new Span<byte>(target + (long)i * bytes, bytes));
        }
        return rows;
    }

    public void Dispose() => file.Dispose();

    private void Read(long at, Span<byte> target)
    {
        try
        {
            while (target.Length > 0)
            {
                int read = RandomAccess.Read(file, target, at);
                if (read == 0) throw new PermafrostException($"{path} has become shorter since it was opened; load the model again");
                at += read;
                target = target[read..];
            }
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
    }
}
