using System.Buffers.Binary;
using System.Text;
using Permafrost.Formats.Safetensors;

namespace Permafrost.Cli.Tests;

/// <summary>.safetensors files, sound ones and ones that no writer would make.</summary>
internal static class TensorFile
{
    /// <summary>Writes tensors.</summary>
    /// <returns>The path.</returns>
    public static string Write(string path, params IEnumerable<(string Name, Tensor Tensor)> tensors)
    {
        SafetensorsWriter.Write(path, tensors.Select(pair => KeyValuePair.Create(pair.Name, pair.Tensor)));
        return path;
    }

    /// <summary>Every tensor of a file.</summary>
    public static Dictionary<string, Tensor> Read(string path)
    {
        using var file = new SafetensorsFile(path);
        return file.Entries.Keys.ToDictionary(name => name, file.Read);
    }

    /// <summary>Writes a header as it is given, then zero bytes.</summary>
    /// <returns>The path.</returns>
    public static string WriteRaw(string path, string header, int dataBytes, ulong? claimedHeaderBytes = null)
    {
        byte[] text = Encoding.UTF8.GetBytes(header);
        var content = new byte[8 + text.Length + dataBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(content, claimedHeaderBytes ?? (ulong)text.Length);
        text.CopyTo(content, 8);
        File.WriteAllBytes(path, content);
        return path;
    }

    /// <summary>Cuts a file's end off.</summary>
    /// <returns>The path.</returns>
    public static string Truncate(string path, int bytes)
    {
        using FileStream stream = File.OpenWrite(path);
        stream.SetLength(stream.Length - bytes);
        return path;
    }
}
