using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.ExceptionServices;
using System.Text;
using Permafrost.Formats;

namespace Permafrost.Data;

/// <summary>The lines of a text file, or of standard input for <c>-</c>, that are not empty, with their numbers.</summary>
internal static class TextLines
{
    /// <summary>
    /// Inputs in parts: of a file, <paramref name="partSize"/> at a time; of standard input, whatever lines have arrived when the part before is done, so that each is answered
    /// as it comes.
    /// </summary>
    /// <param name="path">A file; <c>-</c> for standard input.</param>
    /// <param name="partSize">The most inputs in a part.</param>
    /// <param name="format">The format that errors say is expected.</param>
    /// <param name="parse">Turns a line, given its number, into an input; null where it is not one, such as a heading.</param>
    /// <param name="make">Turns inputs into a part.</param>
    /// <exception cref="PermafrostException">The file cannot be read, or holds no input.</exception>
    public static IEnumerable<IDataset> Parts<T>(string path, int partSize, string format, Func<int, string, T?> parse, Func<IReadOnlyList<T>, IDataset> make) where T : class
    {
        bool any = false;
        foreach (IReadOnlyList<(int Number, string Line)> lines in path == "-" ? Arriving(partSize) : Lines(ReadFile(path)).Chunk(partSize))
        {
            T[] rows = [.. lines.Select(line => parse(line.Number, line.Line)).OfType<T>()];
            if (rows.Length == 0) continue;
            any = true;
            yield return make(rows);
        }
        if (!any) throw new PermafrostException($"{Name(path)} holds no input; expected are {format}");
    }

    /// <summary>The lines of a file, without spaces around them.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="PermafrostException">It cannot be read.</exception>
    public static IEnumerable<(int Number, string Line)> Of(string path) => Lines(ReadFile(path));

    /// <summary>The lines of a file of a data set, which may be packed by gzip.</summary>
    /// <param name="folder">Its folder.</param>
    /// <param name="name">Its name, without <c>.gz</c>.</param>
    /// <param name="encoding">Of its text; null for UTF-8.</param>
    /// <exception cref="PermafrostException">It is not there, or cannot be read.</exception>
    public static IEnumerable<(string Where, string Line)> OfDataSet(string folder, string name, Encoding? encoding = null)
    {
        string path = Array.Find([Path.Combine(folder, name), Path.Combine(folder, name + ".gz")], File.Exists)
            ?? throw new PermafrostException($"{folder} has no {name} (plain or .gz); name the folder that has it with `data`");
        using Stream stream = Unpacked(path);
        bool any = false;
        foreach ((int number, string line) in Lines(new LineReader(stream, path, encoding).Lines()))
        {
            any = true;
            yield return (Name(path, number), line);
        }
        if (!any) throw new PermafrostException($"{path} holds no lines");
    }

    /// <summary>The name of the file, or of a line in it, for errors.</summary>
    public static string Name(string path, int? line = null)
    {
        if (path == "-") return line is null ? "standard input" : $"standard input, line {line}";
        return line is null ? path : $"{path}:{line}";
    }

    private static IEnumerable<(int Number, string Line)> Lines(IEnumerable<string> all)
    {
        int number = 0;
        foreach (string line in all)
        {
            number++;
            if (line.AsSpan().Trim().Length > 0) yield return (number, line.Trim());
        }
    }

    // A thread reads a bounded number of lines ahead; the caller waits only for the first line of a part.
    private static IEnumerable<IReadOnlyList<(int Number, string Line)>> Arriving(int most)
    {
        using var arriving = new BlockingCollection<(int Number, string Line)>(4 * most);
        Exception? failure = null;
        var reader = new Thread(() =>
        {
            try
            {
                foreach ((int Number, string Line) line in Lines(StandardInput())) arriving.Add(line);
            }
            catch (Exception error)
            {
                failure = error;
            }
            arriving.CompleteAdding();
        })
        { IsBackground = true, Name = "standard input" };
        reader.Start();
        while (arriving.TryTake(out (int Number, string Line) first, Timeout.Infinite))
        {
            var part = new List<(int, string)> { first };
            while (part.Count < most && arriving.TryTake(out (int Number, string Line) next)) part.Add(next);
            yield return part;
        }
        if (failure is not null) ExceptionDispatchInfo.Throw(failure);
    }

    // Bytes, not Console.In, which would replace what is no text and know no byte order mark.
    [SuppressMessage("ApiDesign", "RS0030", Justification = "It is what - asks for, and only read.")]
    private static IEnumerable<string> StandardInput()
    {
        using Stream input = Console.OpenStandardInput();
        foreach (string line in new LineReader(input, "-").Lines()) yield return line;
    }

    private static IEnumerable<string> ReadFile(string path)
    {
        using Stream stream = Unpacked(path);
        foreach (string line in new LineReader(stream, path).Lines()) yield return line;
    }

    private static Stream Unpacked(string path)
    {
        try
        {
            FileStream file = File.OpenRead(path);
            // What cannot go back to its beginning, such as a pipe, is read as it is.
            return file.CanSeek ? Gzip.Unpacked(file) : file;
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
    }
}
