using System.Text.RegularExpressions;

namespace Permafrost.Formats;

/// <summary>
/// Hugging Face's local cache, read only: <c>models--org--name/refs/main</c> names a commit, <c>snapshots/commit</c> holds the files.
/// Found where Hugging Face's own client looks (huggingface_hub constants.py): $HF_HUB_CACHE, else the older $HUGGINGFACE_HUB_CACHE, else hub in $HF_HOME, which is
/// huggingface in $XDG_CACHE_HOME or ~/.cache unless it is set; ~ and $VARIABLES in them are replaced.
/// </summary>
public static partial class HubCache
{
    /// <summary>The cache's folder.</summary>
    public static string Folder
    {
        get
        {
            if ((Variable("HF_HUB_CACHE") ?? Variable("HUGGINGFACE_HUB_CACHE")) is { } cache) return cache;
            return Path.Combine(Variable("HF_HOME") ?? Path.Combine(Variable("XDG_CACHE_HOME") ?? Path.Combine(Home, ".cache"), "huggingface"), "hub");
        }
    }

    private static string Home => Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);

    private static string? Variable(string name)
    {
        if (Environment.GetEnvironmentVariable(name) is not { Length: > 0 } value) return null;
        if (value == "~" || value.StartsWith("~/", StringComparison.Ordinal)) value = Home + value[1..];
        // As Python's expandvars: $NAME and ${NAME}; what is not set stays as it is.
        return Reference().Replace(value, match => Environment.GetEnvironmentVariable(match.Groups["name"].Value) ?? match.Value);
    }

    [GeneratedRegex(@"\$(?:(?<name>\w+)|\{(?<name>\w+)\})")]
    private static partial Regex Reference();

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
