namespace Permafrost.Formats;

/// <summary>Says in a sentence why a file could not be read.</summary>
internal static class ReadFailure
{
    /// <summary>Whether the system refused to read.</summary>
    public static bool Is(Exception error) => error is IOException or UnauthorizedAccessException;

    /// <summary>The sentence.</summary>
    public static PermafrostException Of(string path, Exception error) => new(
        Directory.Exists(path) ? $"{path} is a folder; name a file"
        : error is FileNotFoundException or DirectoryNotFoundException ? $"{path} does not exist"
        : $"cannot read {path}: {error.Message.TrimEnd('.')}");
}
