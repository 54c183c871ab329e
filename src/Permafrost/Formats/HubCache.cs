using System.Text.RegularExpressions;

namespace Permafrost.Formats;

/// <summary>
/// Hugging Face's local cache, read only: <c>models--org--name/refs/main</c> names a commit, <c>snapshots/commit</c> holds the files.
/// Found where Hugging Face's own client looks (huggingface_hub constants.py): $HF_HUB_CACHE, else the older $HUGGINGFACE_HUB_CACHE, else hub in $HF_HOME, which is
/// huggingface in $XDG_CACHE_HOME or ~/.cache unless it is set; ~, ~user and $VARIABLES in them are replaced.
/// </summary>
public static partial class HubCache
{
    private const string Users = "/etc/passwd";

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
        value = ExpandUser(value);
        // As Python's expandvars does: $NAME and ${NAME} are replaced, and variables that are not set stay as they are.
        return Reference().Replace(value, match => Environment.GetEnvironmentVariable(match.Groups["name"].Value) ?? match.Value);
    }

    // As Python's expanduser does: ~ is one's own home, ~name that of a user of this machine; a name that it does not know stays.
    private static string ExpandUser(string path)
    {
        if (path[0] != '~') return path;
        int end = path.IndexOf('/', StringComparison.Ordinal) is >= 0 and var slash ? slash : path.Length;
        string? home = end == 1 ? Home : HomeOf(path[1..end]);
        if (home is null) return path;
        string expanded = home.TrimEnd('/') + path[end..];
        return expanded.Length == 0 ? "/" : expanded;
    }

    // name:password:uid:gid:comment:home:shell
    private static string? HomeOf(string user)
    {
        try
        {
            return File.ReadLines(Users).Select(line => line.Split(':')).FirstOrDefault(fields => fields.Length >= 6 && fields[0] == user)?[5];
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            return null;
        }
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
