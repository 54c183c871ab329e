using System.Buffers.Binary;
using System.Numerics;
using System.Text;

namespace Permafrost.Formats;

/// <summary>
/// Writes scalars as TensorBoard reads them. A file is a row of records: length (u64 LE), masked CRC-32C of the length (u32), payload, masked CRC-32C
/// of the payload; a payload is an Event message (tensorflow/core/util/event.proto: 1 wall_time double in Unix seconds, 2 step int64,
/// 3 file_version string, 5 summary; summary.proto: 1 value { 1 tag, 2 simple_value float }). Every record is flushed: people watch live.
/// </summary>
public sealed class TensorBoardEvents : IDisposable
{
    private const string Prefix = "events.out.tfevents.";
    private readonly FileStream stream;

    /// <summary>Starts a new event file in a folder.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="wallTime">Now, in Unix seconds.</param>
    /// <exception cref="PermafrostException">It cannot be written.</exception>
    public TensorBoardEvents(string folder, double wallTime)
    {
        string host = string.Concat(Environment.MachineName.Select(c => char.IsLetterOrDigit(c) || c == '-' ? c : '_'));
        Path = System.IO.Path.Combine(folder, FormattableString.Invariant($"{Prefix}{(long)wallTime}.{host}.{Environment.ProcessId}.0"));
        try
        {
            stream = new FileStream(Path, FileMode.Create, FileAccess.Write, FileShare.Read);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException($"cannot write {Path}: {error.Message.TrimEnd('.')}");
        }
        var first = new MemoryStream();
        Double(first, 1, wallTime);
        Text(first, 3, "brain.Event:2");
        Record(first.ToArray());
    }

    /// <summary>The event file's path.</summary>
    public string Path { get; }

    /// <summary>Deletes a folder's event files: a resumed run writes its history anew.</summary>
    public static void Clear(string folder)
    {
        foreach (string file in Directory.EnumerateFiles(folder, Prefix + "*")) File.Delete(file);
    }

    /// <summary>Writes scalars of one step.</summary>
    /// <exception cref="IOException">The disk is full, for example.</exception>
    public void Write(long step, double wallTime, ReadOnlySpan<(string Tag, double Value)> scalars)
    {
        var summary = new MemoryStream();
        foreach ((string tag, double value) in scalars)
        {
            var entry = new MemoryStream();
            Text(entry, 1, tag);
            Single(entry, 2, (float)value);
            Bytes(summary, 1, entry.ToArray());
        }
        var record = new MemoryStream();
        Double(record, 1, wallTime);
        Key(record, 2, 0);
        Varint(record, (ulong)step);
        Bytes(record, 5, summary.ToArray());
        Record(record.ToArray());
    }

    /// <summary>Closes the file; every record in it was flushed when it was written.</summary>
    public void Dispose() => stream.Dispose();

    /// <summary>TensorFlow's masked CRC-32C.</summary>
    internal static uint MaskedCrc(ReadOnlySpan<byte> data)
    {
        uint crc = 0xffffffff;
        foreach (byte value in data) crc = BitOperations.Crc32C(crc, value);
        crc = ~crc;
        return ((crc >> 15) | (crc << 17)) + 0xa282ead8;
    }

    private void Record(byte[] payload)
    {
        var record = new byte[12 + payload.Length + 4];
        BinaryPrimitives.WriteUInt64LittleEndian(record, (ulong)payload.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(8), MaskedCrc(record.AsSpan(0, 8)));
        payload.CopyTo(record, 12);
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(12 + payload.Length), MaskedCrc(payload));
        stream.Write(record);
        stream.Flush();
    }

    private static void Key(MemoryStream stream, int field, int wireType) => Varint(stream, (ulong)((field << 3) | wireType));

    private static void Varint(MemoryStream stream, ulong value)
    {
        for (; value >= 0x80; value >>= 7) stream.WriteByte((byte)(value | 0x80));
        stream.WriteByte((byte)value);
    }

    private static void Double(MemoryStream stream, int field, double value)
    {
        Key(stream, field, 1);
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteDoubleLittleEndian(bytes, value);
        stream.Write(bytes);
    }

    private static void Single(MemoryStream stream, int field, float value)
    {
        Key(stream, field, 5);
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteSingleLittleEndian(bytes, value);
        stream.Write(bytes);
    }

    private static void Text(MemoryStream stream, int field, string value) => Bytes(stream, field, Encoding.UTF8.GetBytes(value));

    private static void Bytes(MemoryStream stream, int field, byte[] value)
    {
        Key(stream, field, 2);
        Varint(stream, (ulong)value.Length);
        stream.Write(value);
    }
}
