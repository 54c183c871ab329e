using System.Security.Cryptography;
using Permafrost.Formats;
using Permafrost.Formats.Web;

namespace Permafrost.Data.Published;

/// <summary>A data set that can be fetched and checked.</summary>
/// <param name="Name">Its name, which is also the name of its folder.</param>
/// <param name="Summary">What it is, in one line.</param>
/// <param name="Licence">As stated where it is published; <c>none stated</c> where nothing is.</param>
/// <param name="Files">Its files.</param>
public sealed record PublishedDataSet(string Name, string Summary, string Licence, IReadOnlyList<PublishedFile> Files)
{
    /// <summary>The tasks that read it without being told where it is.</summary>
    public IReadOnlyList<string> Tasks { get; init; } = [];

    /// <summary>The length of its files, as published; null where it is not known of all.</summary>
    public long? Bytes => Files.All(file => file.Bytes is not null) ? Files.Sum(file => file.Bytes) : null;

    /// <summary>What each file is known by: the published checksum, or that of the first download, recorded in a folder.</summary>
    /// <param name="folder">The folder; null where none is here.</param>
    public IReadOnlyList<(PublishedFile File, string? Sha256, bool IsPublished)> Checksums(string? folder)
    {
        FetchRecord? record = folder is null ? null : FetchRecord.Read(folder);
        return [.. Files.Select(file => (file, file.Sha256 ?? record?.Source(file.Name), file.Sha256 is not null))];
    }

    /// <summary>
    /// Checks a folder, file by file, or folder by folder where an archive was unpacked: <c>ok</c> (as published), <c>unchanged</c> (as at the first download, since no checksum is
    /// published), <c>unchecked</c> (there, but neither is known), <c>missing</c>, <c>damaged</c> or <c>different</c>. Unpacked and re-packed files are accepted.
    /// </summary>
    /// <exception cref="PermafrostException">A file cannot be read.</exception>
    public IReadOnlyList<(string File, string Verdict)> Verify(string folder)
    {
        var record = FetchRecord.Read(folder);
        return [.. Files.SelectMany(file => Verify(folder, file, record))];
    }

    /// <summary>Whether a verdict says that something is wrong.</summary>
    public static bool IsWrong(string verdict) => verdict is "missing" or "damaged" or "different";

    /// <summary>Downloads what is missing or wrong, checks it, unpacks it, and only then puts it in place. Several processes wait for each other.</summary>
    /// <param name="folder">Where to; made where it is not there.</param>
    /// <param name="mirror">Another address to fetch from; null for the published ones.</param>
    /// <param name="progress">Hears of each piece, with the address as the file's name.</param>
    /// <param name="cancellation">Stops it; whole files stay, and of one that can be checked what is here, which the next call goes on with.</param>
    /// <exception cref="PermafrostException">A file cannot be had, or is not the published one.</exception>
    public Task FetchAsync(string folder, string? mirror = null, IProgress<DownloadProgress>? progress = null, CancellationToken cancellation = default) =>
        FetchAsync(folder, mirror, new WebPatience(), progress, cancellation);

    internal Task FetchAsync(string folder, string? mirror, WebPatience patience, IProgress<DownloadProgress>? progress, CancellationToken cancellation)
    {
        if (mirror is not null && !(Uri.TryCreate(mirror, UriKind.Absolute, out Uri? source) && source.Scheme is "http" or "https"))
            throw new UsageException($"`from` '{mirror}' is not an address; write http:// or https://");
        return new DataSetFetch(this, folder, mirror, patience, progress).RunAsync(cancellation);
    }

    internal static IEnumerable<(string File, string Verdict)> Verify(string folder, PublishedFile file, FetchRecord record)
    {
        if (file.Parts is { } parts) return Group(parts).Select(place => (NameOf(folder, place), Unpacked(folder, place, record)));
        string? path = Find(folder, file.Name);
        if (path is null) return [(file.Name, "missing")];
        string name = Path.GetFileName(path);
        return [(name, file.Sha256 is { } known ? Verdict(path, known) : Recorded(path, record.Below(name) is [var (_, hash)] ? hash : null))];
    }

    // Of parts in one folder that one says enough.
    private static IEnumerable<string> Group(IReadOnlyList<ArchivePart> parts) =>
        parts.Select(part => part.To.Contains('/') ? part.To[..(part.To.IndexOf('/') + 1)] : part.To).Distinct();

    private static string NameOf(string folder, string place)
    {
        string path = Path.Combine(folder, place.TrimEnd('/'));
        return place.TrimEnd('/') + (!Path.Exists(path) && File.Exists(path + ".gz") ? ".gz" : "");
    }

    private static string Unpacked(string folder, string place, FetchRecord record)
    {
        string path = Path.Combine(folder, place.TrimEnd('/'));
        IReadOnlyList<(string Name, string Sha256)> known = record.Below(place);
        if (known.Count == 0) return Path.Exists(path) || File.Exists(path + ".gz") ? "unchecked" : "missing";
        string[] verdicts = [.. known.Select(file => Find(folder, file.Name) is { } own ? Recorded(own, file.Sha256) : "missing")];
        return Array.Find(verdicts, IsWrong) ?? "unchanged";
    }

    // The file that a task would read: that of the published name goes before others. What it really is, its content says.
    private static string? Find(string folder, string name)
    {
        string path = Path.Combine(folder, name);
        string other = name.EndsWith(".gz", StringComparison.Ordinal) ? path[..^3] : path + ".gz";
        return Array.Find([path, other], File.Exists);
    }

    private static string Verdict(string path, string sha256) => Guarded(path, stream => ContentHash(stream) is not { } hash ? "damaged" : hash == sha256 ? "ok" : "different");

    private static string Recorded(string path, string? sha256) =>
        sha256 is null ? "unchecked" : Guarded(path, stream => Convert.ToHexStringLower(SHA256.HashData(stream)) == sha256 ? "unchanged" : "different");

    /// <summary>Whether a file's content is the published one.</summary>
    internal static bool IsPublished(string path, string sha256) => Verdict(path, sha256) == "ok";

    private static string Guarded(string path, Func<FileStream, string> look)
    {
        try
        {
            using FileStream stream = File.OpenRead(path);
            return look(stream);
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
    }

    // The SHA-256 of the content, unpacked where it is packed; null when it cannot be unpacked.
    private static string? ContentHash(Stream content)
    {
        try
        {
            using Stream unpacked = Gzip.Unpacked(content);
            return Convert.ToHexStringLower(SHA256.HashData(unpacked));
        }
        catch (InvalidDataException)
        {
            return null;
        }
    }
}
