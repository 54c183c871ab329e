using System.Text;
using Permafrost.Formats;

namespace Permafrost.Data;

/// <summary>
/// Reads text line by line, as the bytes arrive: UTF-8, or, where a byte order mark says so, UTF-16 or UTF-32. A line that is not valid is refused, not mended: a model is not to
/// answer what nobody wrote.
/// </summary>
/// <param name="stream">The bytes.</param>
/// <param name="path">The file, for errors; <c>-</c> for standard input.</param>
/// <param name="encoding">What it is where no mark says so, a byte a character at least; null for UTF-8.</param>
internal sealed class LineReader(Stream stream, string path, Encoding? encoding = null)
{
    /// <summary>The most bytes of a line: no example has as many, and a file without line ends is not to fill the memory.</summary>
    internal const int MostLineBytes = 64 << 20;

    private readonly byte[] buffer = new byte[1 << 16];
    private readonly List<byte> start = [];  // read ahead, to look for a mark
    private int filled;
    private int at;

    /// <summary>The lines, without their ends: a line feed, a carriage return, or both.</summary>
    /// <exception cref="PermafrostException">The bytes cannot be read, or are no text.</exception>
    public IEnumerable<string> Lines()
    {
        (Encoding found, int width, bool bigEndian) = Detect();
        var line = new List<byte>();
        var unit = new byte[width];
        bool afterReturn = false;
        int number = 1;
        while (true)
        {
            int got = 0;
            while (got < width && Next() is >= 0 and var value) unit[got++] = (byte)value;
            if (got < width)
            {
                line.AddRange(unit[..got]);
                if (line.Count > 0) yield return Decode(found, line, number);
                yield break;
            }
            char c = Unit(unit, bigEndian);
            bool ends = c == '\r' || (c == '\n' && !afterReturn);
            if (ends)
            {
                yield return Decode(found, line, number++);
                line.Clear();
            }
            else if (c != '\n') line.AddRange(unit);
            if (line.Count > MostLineBytes)
                throw new PermafrostException($"{TextLines.Name(path, number)}: the line has more than {MostLineBytes >> 20} MiB, which no example has; break it up");
            afterReturn = c == '\r';
        }
    }

    // What a unit is where it ends a line, else any other character.
    private static char Unit(byte[] unit, bool bigEndian)
    {
        int last = bigEndian ? unit.Length - 1 : 0;
        for (int i = 0; i < unit.Length; i++) if (i != last && unit[i] != 0) return 'x';
        return (char)unit[last];
    }

    private string Decode(Encoding found, List<byte> line, int number)
    {
        try
        {
            return found.GetString([.. line]);
        }
        catch (DecoderFallbackException)
        {
            throw new PermafrostException($"{TextLines.Name(path, number)}: the line is not valid {found.WebName.ToUpperInvariant()}; save the text as UTF-8");
        }
    }

    // No more is waited for than the first bytes could be the beginning of a mark.
    private (Encoding Encoding, int Width, bool BigEndian) Detect()
    {
        (byte[] Mark, Encoding Encoding, int Width, bool BigEndian)[] known =
        [
            ([0xff, 0xfe, 0, 0], new UTF32Encoding(bigEndian: false, byteOrderMark: false, throwOnInvalidCharacters: true), 4, false),
            ([0, 0, 0xfe, 0xff], new UTF32Encoding(bigEndian: true, byteOrderMark: false, throwOnInvalidCharacters: true), 4, true),
            ([0xff, 0xfe], new UnicodeEncoding(bigEndian: false, byteOrderMark: false, throwOnInvalidBytes: true), 2, false),
            ([0xfe, 0xff], new UnicodeEncoding(bigEndian: true, byteOrderMark: false, throwOnInvalidBytes: true), 2, true),
            ([0xef, 0xbb, 0xbf], new UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true), 1, false),
            ([], encoding ?? new UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true), 1, false),
        ];
        var seen = new List<byte>();
        while (known.Any(k => k.Mark.Length > seen.Count && k.Mark.Take(seen.Count).SequenceEqual(seen)) && Next() is >= 0 and var value) seen.Add((byte)value);
        (byte[] mark, Encoding found, int width, bool bigEndian) = known.First(k => seen.Take(k.Mark.Length).SequenceEqual(k.Mark));
        start.AddRange(seen.Skip(mark.Length));
        return (found, width, bigEndian);
    }

    private int Next()
    {
        if (start.Count > 0)
        {
            byte first = start[0];
            start.RemoveAt(0);
            return first;
        }
        if (at < filled) return buffer[at++];
        try
        {
            (at, filled) = (0, stream.Read(buffer));
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(TextLines.Name(path), error);
        }
        catch (InvalidDataException)
        {
            throw new PermafrostException($"{TextLines.Name(path)} is damaged: gzip cannot unpack it");
        }
        return filled == 0 ? -1 : buffer[at++];
    }
}
