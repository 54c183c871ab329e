namespace Permafrost.Formats;

/// <summary>
/// Hugging Face's local cache, read only: <c>models--org--name/refs/main</c> names a commit, <c>snapshots/commit</c> holds the files.
/// Found at $HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub.
/// </summary>
public static class HubCache
{
    /// <summary>The cache's folder.</summary>
    public static string Folder
    {
        get
        {
            if (Environment.GetEnvironmentVariable("HF_HUB_CACHE") is { Length: > 0 } cache) return cache;
            if (Environment.GetEnvironmentVariable("HF_HOME") is { Length: > 0 } home) return Path.Combine(home, "hub");
            return Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache", "huggingface", "hub");
        }
    }

    /// <summary>The snapshot folder of a model such as <c>gpt2</c> or <c>org/name</c>; null when the cache does not have it.</summary>
    public static string? Find(string name, string revision = "main")
    {
        if (name.Split('/') is not { Length: 1 or 2 } parts || parts.Any(part => part.Length == 0 || part.Contains("..", StringComparison.Ordinal))) return null;
        string repository = Path.Combine(Folder, "models--" + string.Join("--", parts));
        string reference = Path.Combine(repository, "refs", revision);
        string commit = File.Exists(reference) ? File.ReadAllText(reference).Trim() : revision;
        string snapshot = Path.Combine(repository, "snapshots", commit);
        return File.Exists(Path.Combine(snapshot, "config.json")) ? snapshot : null;
    }
}
