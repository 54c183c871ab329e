using System.Buffers;
using System.Buffers.Binary;
using System.Text.Json;
using Permafrost.Kernels;

namespace Permafrost.Formats.Safetensors;

/// <summary>Writes .safetensors files as the reference implementation does: largest element type first, then by name; header padded to 8 bytes.</summary>
public static class SafetensorsWriter
{
    /// <summary>Writes named tensors, atomically.</summary>
    /// <param name="path">The file.</param>
    /// <param name="tensors">Names and tensors, of any device.</param>
    /// <param name="metadata">Texts for <c>__metadata__</c>; <c>format: pt</c> is always there, because Hugging Face asks for it.</param>
    /// <exception cref="PermafrostException">The file cannot be written.</exception>
    public static void Write(string path, IEnumerable<KeyValuePair<string, Tensor>> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        KeyValuePair<string, Tensor>[] ordered = [.. tensors.OrderByDescending(pair => pair.Value.dtype.ElementBytes()).ThenBy(pair => pair.Key, StringComparer.Ordinal)];
        byte[] header = Header(ordered, metadata ?? new Dictionary<string, string>());
        AtomicFile.Write(path, stream =>
        {
            Span<byte> length = stackalloc byte[8];
            BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)header.Length);
            stream.Write(length);
            stream.Write(header);
            foreach ((_, Tensor tensor) in ordered) tensor.ReadBytes(stream.Write);
        });
    }

    private static byte[] Header(KeyValuePair<string, Tensor>[] tensors, IReadOnlyDictionary<string, string> metadata)
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
            foreach ((string name, Tensor tensor) in tensors)
            {
                json.WriteStartObject(name);
                json.WriteString("dtype", SafetensorsEntry.NameOf(tensor.dtype));
                json.WriteStartArray("shape");
                foreach (long size in tensor.shape) json.WriteNumberValue(size);
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(at);
                json.WriteNumberValue(at += tensor.ByteCount());
                json.WriteEndArray();
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        return [.. buffer.WrittenSpan, .. Enumerable.Repeat((byte)' ', (8 - buffer.WrittenCount % 8) % 8)];
    }
}
