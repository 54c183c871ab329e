using Permafrost.Formats;

namespace Permafrost.Tasks;

/// <summary>The lines of a text file, or of standard input for <c>-</c>, that are not empty, with their numbers.</summary>
internal static class TextInput
{
    public static IEnumerable<(int Number, string Line)> Lines(string path)
    {
        int number = 0;
        foreach (string line in path == "-" ? StandardInput() : ReadFile(path))
        {
            number++;
            if (line.AsSpan().Trim().Length > 0) yield return (number, line.Trim());
        }
    }

    /// <summary>What errors call the file, or a line of it.</summary>
    public static string Name(string path, int? line = null) => path == "-" ? "standard input" + (line is null ? "" : $", line {line}") : line is null ? path : $"{path}:{line}";

    private static IEnumerable<string> StandardInput()
    {
        // Files are read without their byte order mark; a pipe hands it over.
        bool first = true;
        while (Console.In.ReadLine() is { } line)
        {
            yield return first ? line.TrimStart('\uFEFF') : line;
            first = false;
        }
    }

    private static string[] ReadFile(string path)
    {
        try
        {
            return File.ReadAllLines(path);
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
    }
}
