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

    // CRC-32 of a byte, as zip has it (the polynomial 0x04c11db7, bits reversed).
    private static readonly uint[] CrcTable = [.. Enumerable.Range(0, 256).Select(value =>
    {
        uint crc = (uint)value;
        for (int bit = 0; bit < 8; bit++) crc = (crc & 1) != 0 ? 0xedb88320 ^ (crc >> 1) : crc >> 1;
        return crc;
    })];

    /// <summary>Unpacks what is wanted of an archive, and reads all of it, since its checksums stand at the end.</summary>
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
            foreach (Entry entry in Entries(path))
            {
                using Stream content = entry.Content;
                cancellation.ThrowIfCancellationRequested();
                ArchivePart? part = parts.FirstOrDefault(part => part.Place(entry.Name) is not null);
                if (part is null) continue;
                string place = part.Place(entry.Name)!;
                (long bytes, uint crc) = Write(content, Inside(path, folder, place), left, cancellation);
                left -= bytes;
                if (left < 0) throw new PermafrostException($"{path} holds more than {mostBytes:N0} bytes, unpacked, which is not what it should hold");
                if (bytes != entry.Bytes || (entry.Crc is { } known && crc != known)) throw new InvalidDataException($"{entry.Name} is not what it was when it was packed");
                written.Add(place);
                found.Add(part);
            }
        }
        catch (Exception error) when (error is InvalidDataException or EndOfStreamException or FormatException or ArgumentException)
        {
            throw new PermafrostException($"{path} is no .zip or .tar.gz, or is damaged: {error.Message.TrimEnd('.')}", error);
        }
        return parts.FirstOrDefault(part => !found.Contains(part)) is { } missing ? throw new PermafrostException($"{path} holds no {missing.From}") : written;
    }

    private static IEnumerable<Entry> Entries(string path)
    {
        using FileStream file = File.OpenRead(path);
        byte[] magic = new byte[4];
        bool isZip = file.ReadAtLeast(magic, 4, throwOnEndOfStream: false) == 4 && magic is [(byte)'P', (byte)'K', 3, 4];
        file.Position = 0;
        if (isZip)
        {
            using var zip = new ZipArchive(file, ZipArchiveMode.Read);
            foreach (ZipArchiveEntry entry in zip.Entries)
                if (!entry.FullName.EndsWith('/')) yield return new Entry(entry.FullName, entry.Length, entry.Crc32, entry.Open());
            yield break;
        }
        using Stream unpacked = Gzip.Unpacked(file);
        using var tar = new TarReader(unpacked);
        bool any = false;
        while (tar.GetNextEntry() is { } entry)
        {
            any = true;
            // Links and devices are nothing that a data set needs.
            if (entry.EntryType is TarEntryType.RegularFile or TarEntryType.V7RegularFile) yield return new Entry(entry.Name, entry.Length, null, entry.DataStream ?? Stream.Null);
        }
        if (!any) throw new InvalidDataException("it holds no files");
        unpacked.CopyTo(Stream.Null);
    }

    private static string Inside(string path, string folder, string place)
    {
        string target = Path.GetFullPath(Path.Combine(folder, place));
        string root = Path.GetFullPath(folder) + Path.DirectorySeparatorChar;
        if (!target.StartsWith(root, StringComparison.Ordinal)) throw new PermafrostException($"{path} holds a file called {place}, which would not stay in its folder");
        Directory.CreateDirectory(Path.GetDirectoryName(target)!);
        return target;
    }

    // How many bytes came, with one more at most than may be written, and their checksum.
    private static (long Bytes, uint Crc) Write(Stream content, string target, long most, CancellationToken cancellation)
    {
        using var file = new FileStream(target, FileMode.Create, FileAccess.Write, FileShare.None, 0);
        var piece = new byte[PieceBytes];
        (long bytes, uint crc) = (0, 0xffffffff);
        while (bytes <= most && content.Read(piece) is > 0 and var count)
        {
            cancellation.ThrowIfCancellationRequested();
            bytes += count;
            foreach (byte value in piece.AsSpan(0, count)) crc = CrcTable[(byte)(crc ^ value)] ^ (crc >> 8);
            if (bytes <= most) file.Write(piece, 0, count);
        }
        return (bytes, ~crc);
    }

    private readonly record struct Entry(string Name, long Bytes, uint? Crc, Stream Content);
}
