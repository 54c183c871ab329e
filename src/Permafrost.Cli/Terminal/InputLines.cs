using System.Text;

namespace Permafrost.Cli.Terminal;

/// <summary>
/// The lines of a file or of standard input, as they are written: a line ends with a line feed, or a carriage return and a line feed, and no character of it is left out. A byte
/// order mark before the first one is none of its characters.
/// </summary>
internal static class InputLines
{
    // A text of .NET cannot be much longer.
    private const int LongestLine = 1 << 29;

    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Answers line after line on standard output; what is answered so far is seen before more input is waited for.</summary>
    /// <param name="path">A file; <c>-</c> for standard input.</param>
    /// <param name="answer">Takes where a line is, the line, and where to write.</param>
    /// <param name="cancellation">Ends it between lines.</param>
    /// <exception cref="PermafrostException">The input cannot be read, or a line is not valid UTF-8.</exception>
    public static void Answer(string path, Action<string, string, TextWriter> answer, CancellationToken cancellation)
    {
        var answers = new StringWriter { NewLine = "\n" };
        void Print()
        {
            Console.Out.Write(answers.ToString());
            answers.GetStringBuilder().Clear();
        }
        try
        {
            foreach ((string where, string line) in Of(path, Print))
            {
                cancellation.ThrowIfCancellationRequested();
                answer(where, line, answers);
            }
        }
        finally
        {
            Print();
        }
    }

    // The lines with where each one is; waiting is called before more is read, which may take as long as somebody types.
    private static IEnumerable<(string Where, string Line)> Of(string path, Action waiting)
    {
        using Stream stream = path == "-" ? Console.OpenStandardInput() : Open(path);
        byte[] buffer = new byte[1 << 16];
        var line = new MemoryStream();
        int number = 1;
        while (true)
        {
            waiting();
            int count = Read(stream, buffer, path);
            if (count == 0) break;
            for (int at = 0; at < count;)
            {
                int end = buffer.AsSpan(at, count - at).IndexOf((byte)'\n');
                line.Write(buffer, at, end < 0 ? count - at : end);
                if (line.Length > LongestLine) throw new PermafrostException($"{Name(path, number)} has more than {LongestLine >> 20} MiB; break the text up");
                if (end < 0) break;
                yield return (Name(path, number), Decode(line, path, number++, ended: true));
                line.SetLength(0);
                at += end + 1;
            }
        }
        if (line.Length > 0) yield return (Name(path, number), Decode(line, path, number, ended: false));
    }

    private static string Name(string path, int line) => path == "-" ? $"standard input, line {line}" : $"{path}:{line}";

    private static string Decode(MemoryStream line, string path, int number, bool ended)
    {
        ReadOnlySpan<byte> bytes = line.GetBuffer().AsSpan(0, (int)line.Length);
        if (number == 1 && bytes.StartsWith(Encoding.UTF8.Preamble)) bytes = bytes[Encoding.UTF8.Preamble.Length..];
        if (ended && bytes.EndsWith("\r"u8)) bytes = bytes[..^1];
        try
        {
            return Strict.GetString(bytes);
        }
        catch (DecoderFallbackException)
        {
            throw new PermafrostException($"{Name(path, number)}: the line is not valid UTF-8; save the text as UTF-8");
        }
    }

    private static FileStream Open(string path)
    {
        try
        {
            return Directory.Exists(path) ? throw new PermafrostException($"{path} is a folder; name a file") : File.OpenRead(path);
        }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new PermafrostException($"{path} does not exist");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException($"cannot read {path}: {error.Message.TrimEnd('.')}");
        }
    }

    private static int Read(Stream stream, byte[] buffer, string path)
    {
        try
        {
            return stream.Read(buffer);
        }
        catch (IOException error)
        {
            throw new PermafrostException($"cannot read {(path == "-" ? "standard input" : path)}: {error.Message.TrimEnd('.')}");
        }
    }
}
