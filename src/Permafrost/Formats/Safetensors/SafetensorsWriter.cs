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
    public static void Write(string path, IEnumerable<KeyValuePair<string, Tensor>> tensors, IReadOnlyDictionary<string, string>? metadata = null) =>
        SafetensorsPart.Write(path, [.. tensors.Select(pair => Part(pair.Key, pair.Value))], metadata);

    private static SafetensorsPart Part(string name, Tensor tensor) =>
        new(name, SafetensorsEntry.NameOf(tensor.dtype), tensor.dtype.ElementBytes(), tensor.shape, stream => tensor.ReadBytes(stream.Write));
}
