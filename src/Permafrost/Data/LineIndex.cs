using System.Security.Cryptography;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Permafrost.Formats;

namespace Permafrost.Data;

/// <summary>
/// Where the lines of a text file begin, so that any of them can be read and none has to stay in memory: 8 bytes a line. The file is UTF-8, and must not change while it is used.
/// Any number of threads may read lines at once.
/// </summary>
internal sealed class LineIndex : IDisposable
{
    private const int MostLineBytes = LineReader.MostLineBytes, PieceBytes = 1 << 20;

    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private readonly string path;
    private readonly SafeFileHandle file;
    private readonly Chunked<long> starts = new();

    // Before which of the lines that count some were empty, and how many there were up to it: as many entries as such lines, however many are empty.
    private readonly List<long> afterEmpty = [], emptyUpTo = [];
    private long end;

    private LineIndex(string path, SafeFileHandle file) => (this.path, this.file) = (path, file);

    /// <summary>The number of lines that are not empty.</summary>
    public long Count => starts.Count;

    /// <summary>SHA-256 of the file.</summary>
    public string Sha256 { get; private set; } = "";

    /// <summary>Reads a file once.</summary>
    /// <param name="path">The file, not packed.</param>
    /// <param name="each">Sees every line that is not empty, with its name for errors.</param>
    /// <exception cref="PermafrostException">It cannot be read, is no UTF-8, has no line, or one of more than 64 MiB.</exception>
    public static LineIndex Of(string path, Action<string, string> each)
    {
        LineIndex? index = null;
        try
        {
            index = new LineIndex(path, File.OpenHandle(path));
            index.Read(each);
            return index;
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            index?.Dispose();
            throw ReadFailure.Of(path, error);
        }
        catch
        {
            index?.Dispose();
            throw;
        }
    }

    /// <summary>A line, without spaces around it.</summary>
    /// <exception cref="PermafrostException">The file cannot be read, or has changed.</exception>
    public string Line(long number)
    {
        long start = starts[number], after = number + 1 < Count ? starts[number + 1] : end;
        // Any number of empty lines may follow it, and are not read.
        var line = new List<byte>();
        for (int length = -1; length < 0 && start < after; start += PieceBytes)
        {
            var piece = new byte[Math.Min(PieceBytes, after - start)];
            Fill(piece, start);
            length = Array.IndexOf(piece, (byte)'\n');
            line.AddRange(length < 0 ? piece : piece.AsSpan(0, length));
        }
        return Text(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(line), number).Trim();
    }

    /// <summary>A line's name for errors.</summary>
    public string Where(long number)
    {
        int at = afterEmpty.BinarySearch(number), last = at >= 0 ? at : ~at - 1;
        return TextLines.Name(path, (int)(number + 1 + (last >= 0 ? emptyUpTo[last] : 0)));
    }

    public void Dispose() => file.Dispose();

    private void Read(Action<string, string> each)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var piece = new byte[PieceBytes];
        var line = new List<byte>();
        (long at, long start) = (0, 0);
        while (RandomAccess.Read(file, piece, at) is > 0 and var count)
        {
            hash.AppendData(piece, 0, count);
            Span<byte> left = piece.AsSpan(0, count);
            if (at == 0) left = left[(int)(start = MarkBytes(left))..];
            while (left.IndexOf((byte)'\n') is >= 0 and var length)
            {
                line.AddRange(left[..length]);
                Add(line, start, each);
                start += line.Count + 1;
                line.Clear();
                left = left[(length + 1)..];
            }
            line.AddRange(left);
            if (line.Count > MostLineBytes) throw new PermafrostException($"{Where(Count)}: the line has more than {MostLineBytes >> 20} MiB, which no example has; break it up");
            at += count;
        }
        Add(line, start, each);
        end = at;
        if (Count == 0) throw new PermafrostException($"{path} holds no lines");
        Sha256 = Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private void Fill(byte[] bytes, long start)
    {
        for (int read = 0; read < bytes.Length;)
        {
            int count = RandomAccess.Read(file, bytes.AsSpan(read), start + read);
            if (count == 0) throw new PermafrostException($"{path} has become shorter while it was read; start again");
            read += count;
        }
    }

    private int MarkBytes(ReadOnlySpan<byte> bytes) => bytes is not ([0xff, 0xfe, ..] or [0xfe, 0xff, ..]) ? (bytes is [0xef, 0xbb, 0xbf, ..] ? 3 : 0)
        : throw new PermafrostException($"{path} is UTF-16, and too large to be read as a whole; save it as UTF-8");

    private void Add(List<byte> line, long start, Action<string, string> each)
    {
        string text = Text(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(line), Count).Trim();
        if (text.Length == 0)
        {
            if (afterEmpty.Count == 0 || afterEmpty[^1] != Count)
            {
                afterEmpty.Add(Count);
                emptyUpTo.Add(emptyUpTo.Count > 0 ? emptyUpTo[^1] : 0);
            }
            emptyUpTo[^1]++;
            return;
        }
        starts.Add(start);
        each(Where(Count - 1), text);
    }

    private string Text(ReadOnlySpan<byte> bytes, long number)
    {
        try
        {
            return Strict.GetString(bytes);
        }
        catch (DecoderFallbackException)
        {
            throw new PermafrostException($"{Where(number)}: the line is not valid UTF-8; save the text as UTF-8");
        }
    }
}
