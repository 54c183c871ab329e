using System.Text;
using System.Text.RegularExpressions;

namespace Permafrost.Formats;

/// <summary>
/// Hugging Face's local cache: <c>models--org--name/refs/main</c> names a commit, <c>snapshots/commit</c> holds the files.
/// Found where Hugging Face's own client looks (huggingface_hub constants.py): $HF_HUB_CACHE, else the older $HUGGINGFACE_HUB_CACHE, else hub in $HF_HOME, which is
/// huggingface in $XDG_CACHE_HOME or ~/.cache unless it is set; ~, ~user and $VARIABLES in them are replaced.
/// </summary>
public static partial class HubCache
{
    private const string Users = "/etc/passwd";
    private const string ModelPrefix = "models--";
    private const int LongestReference = 64;

    /// <summary>The cache's folder.</summary>
    public static string Folder
    {
        get
        {
            if ((Variable("HF_HUB_CACHE") ?? Variable("HUGGINGFACE_HUB_CACHE")) is { } cache) return cache;
            return Path.Combine(HubHome, "hub");
        }
    }

    /// <summary>The folder that the cache is in unless it was put elsewhere, and the token.</summary>
    internal static string HubHome => Variable("HF_HOME") ?? Path.Combine(Variable("XDG_CACHE_HOME") ?? Path.Combine(Home, ".cache"), "huggingface");

    private static string Home => Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);

    /// <summary>A variable that names a place, with home folders and other variables put in; null where it is not set.</summary>
    internal static string? Variable(string name)
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

    /// <summary>Whether a text can be a model's name, <c>gpt2</c> or <c>org/name</c>, as Hugging Face's client takes it (huggingface_hub utils/_validators.py).</summary>
    public static bool IsName(string text) => text.Split('/') is { Length: 1 or 2 } parts && Array.TrueForAll(parts, IsNamePart);

    /// <summary>Whether a text can be a revision: a branch, a tag or a commit, which may have slashes, as in <c>refs/pr/1</c>.</summary>
    public static bool IsRevision(string text) =>
        text.Length is > 0 and <= 200 && Array.TrueForAll(text.Split('/'), part => RevisionPart().IsMatch(part) && part is not ("." or ".."));

    /// <summary>The folder of a model in the cache, which need not be there.</summary>
    internal static string FolderOf(string name) => Path.Combine(Folder, FolderName(name));

    /// <summary>Its name.</summary>
    internal static string FolderName(string name) => ModelPrefix + name.Replace("/", "--", StringComparison.Ordinal);

    /// <summary>That a model can be fetched, as the end of a sentence; empty where the text cannot be a model's name.</summary>
    internal static string FetchHint(string name) => IsName(name) ? $"; `permafrost data fetch {name}` fetches it from Hugging Face, where it is there" : "";

    /// <summary>That fetching mends a snapshot, as the end of a sentence; empty where a path is in none of the cache's.</summary>
    internal static string FetchHintIn(string path)
    {
        string[] parts = path.Length == 0 ? [] : Path.GetRelativePath(Folder, path).Split(Path.DirectorySeparatorChar);
        if (parts is not [var repository, "snapshots", _, ..] || !repository.StartsWith(ModelPrefix, StringComparison.Ordinal)) return "";
        string name = repository[ModelPrefix.Length..].Replace("--", "/", StringComparison.Ordinal);
        return IsName(name) ? $"; `permafrost data fetch {name}` fetches it" : "";
    }

    private static bool IsNamePart(string part) =>
        NamePart().IsMatch(part) && !part.Contains("..", StringComparison.Ordinal) && !part.Contains("--", StringComparison.Ordinal);

    [GeneratedRegex(@"^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?\z")]
    private static partial Regex NamePart();

    [GeneratedRegex(@"^[A-Za-z0-9_.+@-]+\z")]
    private static partial Regex RevisionPart();

    /// <summary>
    /// The snapshot folder of a model such as <c>gpt2</c> or <c>org/name</c>; null when the cache does not have it. What is still being downloaded has no snapshot with a
    /// <c>config.json</c> yet, or one whose links lead nowhere.
    /// </summary>
    /// <param name="name">The model.</param>
    /// <param name="revision">A branch, a tag or a commit.</param>
    public static string? Find(string name, string revision = "main")
    {
        if (!IsName(name) || !IsRevision(revision)) return null;
        string repository = FolderOf(name), reference = Path.Combine(repository, "refs", revision);
        // A reference may be a link to a file of any length, or to a device without end.
        string? commit = !File.Exists(reference) ? revision : BoundedFile.Read(reference, LongestReference) is { } bytes ? Encoding.UTF8.GetString(bytes).Trim() : null;
        if (commit is null || !ShardIndex.IsPlain(commit)) return null;
        string snapshot = Path.Combine(repository, "snapshots", commit);
        return IsThere(Path.Combine(snapshot, "config.json")) ? snapshot : null;
    }

    // To .NET a link is there even where what it leads to is not.
    private static bool IsThere(string path)
    {
        try
        {
            return File.Exists(path) && File.ResolveLinkTarget(path, returnFinalTarget: true) is null or { Exists: true };
        }
        catch (IOException)
        {
            return false;
        }
    }
}
