namespace Permafrost.Formats;

/// <summary>Where Permafrost keeps what it fetches or makes once: $PERMAFROST_HOME, else ~/.cache/permafrost.</summary>
internal static class CacheHome
{
    /// <summary>The folder; it need not be there yet.</summary>
    public static string Folder => Environment.GetEnvironmentVariable("PERMAFROST_HOME") is { Length: > 0 } home
        ? home : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache", "permafrost");
}
