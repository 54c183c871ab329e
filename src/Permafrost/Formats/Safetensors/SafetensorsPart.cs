using System.Buffers;
using System.Buffers.Binary;
using System.Text.Json;

namespace Permafrost.Formats.Safetensors;

/// <summary>A tensor that is to be written, whoever holds its bytes.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">safetensors' name of the element type.</param>
/// <param name="ElementBytes">Bytes of an element.</param>
/// <param name="Shape">Sizes along the dimensions.</param>
/// <param name="WriteTo">Writes the elements, row-major and little-endian.</param>
internal sealed record SafetensorsPart(string Name, string Type, int ElementBytes, long[] Shape, Action<Stream> WriteTo)
{
    private long Bytes => Shape.Aggregate((long)ElementBytes, (product, size) => product * size);

    /// <summary>Writes a file, atomically.</summary>
    /// <exception cref="PermafrostException">It cannot be written.</exception>
    public static void Write(string path, IReadOnlyList<SafetensorsPart> parts, IReadOnlyDictionary<string, string>? metadata = null)
    {
        SafetensorsPart[] ordered = [.. parts.OrderByDescending(part => part.ElementBytes).ThenBy(part => part.Name, StringComparer.Ordinal)];
        byte[] header = Header(ordered, metadata ?? new Dictionary<string, string>());
        AtomicFile.Write(path, stream =>
        {
            Span<byte> length = stackalloc byte[8];
            BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)header.Length);
            stream.Write(length);
            stream.Write(header);
            foreach (SafetensorsPart part in ordered) part.WriteTo(stream);
        });
    }

    private static byte[] Header(SafetensorsPart[] parts, IReadOnlyDictionary<string, string> metadata)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteStartObject("__metadata__");
            json.WriteString("format", "pt");
            foreach ((string key, string value) in metadata) if (key != "format") json.WriteString(key, value);
            json.WriteEndObject();
            long at = 0;
            foreach (SafetensorsPart part in parts)
            {
                json.WriteStartObject(part.Name);
                json.WriteString("dtype", part.Type);
                json.WriteStartArray("shape");
                foreach (long size in part.Shape) json.WriteNumberValue(size);
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(at);
                json.WriteNumberValue(at += part.Bytes);
                json.WriteEndArray();
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        return [.. buffer.WrittenSpan, .. Enumerable.Repeat((byte)' ', (8 - buffer.WrittenCount % 8) % 8)];
    }
}
