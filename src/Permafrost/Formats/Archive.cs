using System.Formats.Tar;
using System.IO.Compression;

namespace Permafrost.Formats;

/// <summary>What of an archive is wanted, and where it goes.</summary>
/// <param name="From">A file in it, or with <c>/</c> at its end a folder, whatever folders are above it.</param>
/// <param name="To">The file, or with <c>/</c> at its end the folder, that it becomes.</param>
public sealed record ArchivePart(string From, string To)
{
    /// <summary>Where an entry goes; null where it is none of this part.</summary>
    internal string? Place(string entry)
    {
        string path = "/" + entry.Replace('\\', '/'), wanted = "/" + From;
        if (!From.EndsWith('/')) return path.EndsWith(wanted, StringComparison.Ordinal) ? To : null;
        int at = path.IndexOf(wanted, StringComparison.Ordinal);
        return at >= 0 && at + wanted.Length < path.Length ? To + path[(at + wanted.Length)..] : null;
    }
}

/// <summary>Unpacks .zip and .tar.gz (and plain .tar), entry by entry, never whole in memory; which of them a file is, its first bytes tell.</summary>
internal static class Archive
{
    private const int PieceBytes = 1 << 17;

    /// <summary>Unpacks what is wanted of an archive, and reads no further than that.</summary>
    /// <param name="path">The archive.</param>
    /// <param name="folder">Below it files are written; nothing outside, whatever entries are called.</param>
    /// <param name="parts">What is wanted.</param>
    /// <param name="mostBytes">More than this, unpacked, is refused.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <returns>The files written, below the folder, with <c>/</c> between.</returns>
    /// <exception cref="PermafrostException">It is no such archive, is damaged, lacks a part, or holds too much.</exception>
    public static IReadOnlyList<string> Unpack(string path, string folder, IReadOnlyList<ArchivePart> parts, long mostBytes, CancellationToken cancellation)
    {
        var written = new List<string>();
        var found = new HashSet<ArchivePart>();
        long left = mostBytes;
        try
        {
            foreach ((string name, Stream content) in Entries(path))
            {
                using (content)
                {
                    cancellation.ThrowIfCancellationRequested();
                    ArchivePart? part = parts.FirstOrDefault(part => part.Place(name) is not null);
                    if (part is null) continue;
                    string place = part.Place(name)!;
                    left = Write(content, Inside(path, folder, place), left, cancellation);
                    if (left < 0) throw new PermafrostException($"{path} holds more than {mostBytes:N0} bytes, unpacked, which is not what it should hold");
                    written.Add(place);
                    found.Add(part);
                }
                if (found.Count == parts.Count && parts.All(part => !part.From.EndsWith('/'))) break;
            }
        }
        catch (Exception error) when (error is InvalidDataException or EndOfStreamException or FormatException or ArgumentException)
        {
            throw new PermafrostException($"{path} is no .zip or .tar.gz, or is damaged: {error.Message.TrimEnd('.')}", error);
        }
        return parts.FirstOrDefault(part => !found.Contains(part)) is { } missing ? throw new PermafrostException($"{path} holds no {missing.From}") : written;
    }

    private static IEnumerable<(string Name, Stream Content)> Entries(string path)
    {
        using FileStream file = File.OpenRead(path);
        byte[] magic = new byte[4];
        bool isZip = file.ReadAtLeast(magic, 4, throwOnEndOfStream: false) == 4 && magic is [(byte)'P', (byte)'K', 3, 4];
        file.Position = 0;
        if (isZip)
        {
            using var zip = new ZipArchive(file, ZipArchiveMode.Read);
            foreach (ZipArchiveEntry entry in zip.Entries)
                if (!entry.FullName.EndsWith('/')) yield return (entry.FullName, entry.Open());
            yield break;
        }
        using Stream unpacked = Gzip.Unpacked(file);
        using var tar = new TarReader(unpacked);
        bool any = false;
        while (tar.GetNextEntry() is { } entry)
        {
            any = true;
            // Links and devices are nothing that a data set needs.
            if (entry.EntryType is TarEntryType.RegularFile or TarEntryType.V7RegularFile) yield return (entry.Name, entry.DataStream ?? Stream.Null);
        }
        if (!any) throw new InvalidDataException("it holds no files");
    }

    private static string Inside(string path, string folder, string place)
    {
        string target = Path.GetFullPath(Path.Combine(folder, place));
        string root = Path.GetFullPath(folder) + Path.DirectorySeparatorChar;
        if (!target.StartsWith(root, StringComparison.Ordinal)) throw new PermafrostException($"{path} holds a file called {place}, which would not stay in its folder");
        Directory.CreateDirectory(Path.GetDirectoryName(target)!);
        return target;
    }

    // What is left of the bytes that may be written; below 0 where that was not enough.
    private static long Write(Stream content, string target, long left, CancellationToken cancellation)
    {
        using var file = new FileStream(target, FileMode.Create, FileAccess.Write, FileShare.None, 0);
        var piece = new byte[PieceBytes];
        while (left >= 0 && content.Read(piece) is > 0 and var count)
        {
            cancellation.ThrowIfCancellationRequested();
            left -= count;
            if (left >= 0) file.Write(piece, 0, count);
        }
        return left;
    }
}
