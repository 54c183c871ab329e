using System.Buffers.Binary;
using System.Text;
using Permafrost.Formats.Safetensors;

namespace Permafrost.Tests.Formats.Safetensors;

/// <summary>Safetensors files made by hand, byte by byte.</summary>
internal static class SafetensorsBytes
{
    /// <summary>Header length, header, data.</summary>
    public static byte[] Of(string header, params byte[] data)
    {
        byte[] json = Encoding.UTF8.GetBytes(header);
        return [.. Length((ulong)json.Length), .. json, .. data];
    }

    /// <summary>A header length of 8 bytes, little-endian.</summary>
    public static byte[] Length(ulong length)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, length);
        return bytes;
    }

    /// <summary>Opens a file and reads every tensor, as a loader would.</summary>
    public static void ReadAll(string path)
    {
        using var scope = torch.NewDisposeScope();
        using var file = new SafetensorsFile(path);
        foreach (string name in file.Entries.Keys) Assert.Equal(file.Entries[name].Shape, file.Read(name).shape);
    }
}
