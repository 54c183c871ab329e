namespace Permafrost.Formats;

/// <summary>Says in a sentence why a file could not be read.</summary>
internal static class ReadFailure
{
    /// <summary>Whether the system refused to read.</summary>
    public static bool Is(Exception error) => error is IOException or UnauthorizedAccessException;

    /// <summary>The error to throw, with the path and the reason in one sentence.</summary>
    public static PermafrostException Of(string path, Exception error)
    {
        if (Directory.Exists(path)) return new PermafrostException($"{path} is a folder; name a file");
        if (error is FileNotFoundException or DirectoryNotFoundException) return new PermafrostException($"{path} does not exist{HubCache.FetchHintIn(path)}");
        return new PermafrostException($"cannot read {path}: {error.Message.TrimEnd('.')}");
    }
}
