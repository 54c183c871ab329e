using System.Buffers.Binary;
using System.Text;

namespace Permafrost.Formats.PyTorchPickle;

/// <summary>A record of an archive: where its bytes lie in the file, as they are.</summary>
/// <param name="Name">Its name, with the archive's folder.</param>
/// <param name="At">Its first byte.</param>
/// <param name="Bytes">Its length.</param>
internal sealed record StoredRecord(string Name, long At, long Bytes);

/// <summary>
/// The records of a zip file that are stored, not compressed, as <c>torch.save</c> writes them (PKWARE's APPNOTE.TXT 6.3.10, with ZIP64). Nothing is unpacked, so nothing can
/// swell; records that are compressed, encrypted, overlapping, outside the file or named twice are refused.
/// </summary>
internal static class StoredZip
{
    private const uint LocalHeader = 0x04034b50, CentralHeader = 0x02014b50, End = 0x06054b50, Zip64End = 0x06064b50, Zip64Locator = 0x07064b50;
    private const int LocalBytes = 30, CentralBytes = 46, EndBytes = 22, Zip64EndBytes = 56, LocatorBytes = 20, LongestComment = ushort.MaxValue;
    private const long MostDirectoryBytes = 100_000_000;
    private const ushort Zip64Extra = 1;

    /// <summary>Whether a file begins as a zip file does.</summary>
    public static bool IsOne(MappedFile file) => file.Length >= EndBytes && BinaryPrimitives.ReadUInt32LittleEndian(file.Span(0, 4)) == LocalHeader;

    /// <summary>Every record of a file by its name.</summary>
    /// <exception cref="PermafrostException">The file is truncated or malformed, or holds what <c>torch.save</c> never writes.</exception>
    public static IReadOnlyDictionary<string, StoredRecord> Read(MappedFile file)
    {
        (long at, long bytes, long count) = Directory(file);
        if (bytes > MostDirectoryBytes) throw Malformed(file, $"its list of records has {bytes:N0} bytes, more than the {MostDirectoryBytes:N0} allowed");
        if (at < 0 || bytes < 0 || at > file.Length - bytes) throw Malformed(file, "its list of records lies outside it: the file is truncated");
        var records = new Dictionary<string, StoredRecord>();
        var ranges = new List<(long From, long To, string Name)>();
        ReadOnlySpan<byte> directory = file.Span(at, (int)bytes);
        while (directory.Length > 0)
        {
            StoredRecord record = Record(file, ref directory, at, out long header);
            if (!records.TryAdd(record.Name, record)) throw Malformed(file, $"the record '{record.Name}' is listed twice");
            ranges.Add((header, record.At + record.Bytes, record.Name));
        }
        if (records.Count != count) throw Malformed(file, $"it lists {records.Count} records where it says {count}");
        ranges.Sort();
        for (int i = 1; i < ranges.Count; i++)
            if (ranges[i].From < ranges[i - 1].To) throw Malformed(file, $"the record '{ranges[i].Name}' overlaps another one");
        return records;
    }

    private static StoredRecord Record(MappedFile file, ref ReadOnlySpan<byte> directory, long end, out long header)
    {
        if (directory.Length < CentralBytes || U32(directory, 0) != CentralHeader) throw Malformed(file, "its list of records is damaged");
        int nameBytes = U16(directory, 28), extraBytes = U16(directory, 30), entryBytes = CentralBytes + nameBytes + extraBytes + U16(directory, 32);
        if (directory.Length < entryBytes) throw Malformed(file, "its list of records is damaged");
        string name = Name(file, directory.Slice(CentralBytes, nameBytes));
        if ((U16(directory, 8) & 1) != 0) throw Malformed(file, $"the record '{name}' is encrypted, which torch.save never does");
        (long packed, long bytes) = (U32(directory, 20), U32(directory, 24));
        header = U32(directory, 42);
        Widen(directory.Slice(CentralBytes + nameBytes, extraBytes), ref bytes, ref packed, ref header);
        if (U16(directory, 10) != 0 || packed != bytes)
            throw Malformed(file, $"the record '{name}' is compressed, which torch.save never does; save the weights again with it, or as safetensors");
        directory = directory[entryBytes..];
        if (header < 0 || header > end - LocalBytes) throw Malformed(file, $"the record '{name}' lies outside it");
        ReadOnlySpan<byte> local = file.Span(header, LocalBytes);
        if (U32(local, 0) != LocalHeader || U16(local, 26) != nameBytes) throw Malformed(file, $"the record '{name}' has no header where the list says");
        long at = header + LocalBytes + nameBytes + U16(local, 28);
        if (bytes < 0 || at > end || bytes > end - at) throw Malformed(file, $"the record '{name}' reaches beyond its end: the file is truncated");
        if (Name(file, file.Span(header + LocalBytes, nameBytes)) != name) throw Malformed(file, $"the record '{name}' has another name in its own header");
        return new StoredRecord(name, at, bytes);
    }

    // ZIP64: sizes and places that 32 bits cannot hold stand behind the name, in this order, each only where its own field is full.
    private static void Widen(ReadOnlySpan<byte> extra, ref long bytes, ref long packed, ref long header)
    {
        while (extra.Length >= 4)
        {
            int size = U16(extra, 2);
            if (size > extra.Length - 4) return;
            if (U16(extra, 0) == Zip64Extra)
            {
                ReadOnlySpan<byte> fields = extra.Slice(4, size);
                Take(ref fields, ref bytes);
                Take(ref fields, ref packed);
                Take(ref fields, ref header);
                return;
            }
            extra = extra[(4 + size)..];
        }
    }

    private static void Take(ref ReadOnlySpan<byte> fields, ref long value)
    {
        if (value != uint.MaxValue || fields.Length < 8) return;
        value = I64(fields, 0);
        fields = fields[8..];
    }

    private static (long At, long Bytes, long Count) Directory(MappedFile file)
    {
        int tail = (int)Math.Min(file.Length, EndBytes + LongestComment);
        ReadOnlySpan<byte> last = file.Span(file.Length - tail, tail);
        for (int i = tail - EndBytes; i >= 0; i--)
        {
            ReadOnlySpan<byte> end = last[i..];
            if (U32(end, 0) != End || U16(end, 20) != end.Length - EndBytes) continue;
            (long at, long bytes, long count) = (U32(end, 16), U32(end, 12), U16(end, 10));
            long place = file.Length - tail + i;
            if (place < LocatorBytes || U32(file.Span(place - LocatorBytes, LocatorBytes), 0) != Zip64Locator) return (at, bytes, count);
            long wide = I64(file.Span(place - LocatorBytes, LocatorBytes), 8);
            if (wide < 0 || wide > place - Zip64EndBytes || U32(file.Span(wide, 4), 0) != Zip64End) throw Malformed(file, "its 64-bit end is not where it says");
            ReadOnlySpan<byte> fields = file.Span(wide, Zip64EndBytes);
            return (I64(fields, 48), I64(fields, 40), I64(fields, 32));
        }
        throw Malformed(file, "its list of records is missing: the file is truncated");
    }

    private static string Name(MappedFile file, ReadOnlySpan<byte> bytes)
    {
        string name = Encoding.UTF8.GetString(bytes);
        if (name.Length == 0 || name[0] == '/' || name.Contains('\\', StringComparison.Ordinal) || name.Any(char.IsControl) || name.Split('/').Contains(".."))
            throw Malformed(file, $"it has a record of the name '{name}', which reaches out of the archive");
        return name;
    }

    private static ushort U16(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt16LittleEndian(bytes[at..]);

    private static uint U32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);

    private static long I64(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadInt64LittleEndian(bytes[at..]);

    private static PermafrostException Malformed(MappedFile file, string what) => new($"{file.Path} is not a valid PyTorch file: {what}");
}
