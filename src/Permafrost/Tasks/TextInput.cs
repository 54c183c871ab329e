namespace Permafrost.Tasks;

/// <summary>Lines of a text file, or of standard input for <c>-</c>.</summary>
internal static class TextInput
{
    public static IEnumerable<string> Lines(string path)
    {
        if (path == "-")
        {
            while (Console.In.ReadLine() is { } line) yield return line.Trim();
            yield break;
        }
        string[] lines;
        try
        {
            lines = File.ReadAllLines(path);
        }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new PermafrostException($"{path} does not exist");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException($"cannot read {path}: {error.Message.TrimEnd('.')}");
        }
        foreach (string line in lines) yield return line.Trim();
    }
}
