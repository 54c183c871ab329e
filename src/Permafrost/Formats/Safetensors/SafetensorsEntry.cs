using Permafrost.Kernels;

namespace Permafrost.Formats.Safetensors;

/// <summary>One tensor of a file, as its header describes it.</summary>
/// <param name="Name">The tensor's name.</param>
/// <param name="Type">safetensors' name of the element type, such as <c>F32</c>.</param>
/// <param name="Shape">Sizes along the dimensions.</param>
/// <param name="Begin">First byte, counted from the end of the header.</param>
/// <param name="End">One past the last byte.</param>
public sealed record SafetensorsEntry(string Name, string Type, long[] Shape, long Begin, long End)
{
    // Types that TorchSharp does not have (F8, U16, ...) are refused when a tensor is read, not when it is listed.
    private static readonly Dictionary<string, ScalarType> Types = new()
    {
        ["BOOL"] = ScalarType.Bool,
        ["U8"] = ScalarType.Byte,
        ["I8"] = ScalarType.Int8,
        ["I16"] = ScalarType.Int16,
        ["I32"] = ScalarType.Int32,
        ["I64"] = ScalarType.Int64,
        ["F16"] = ScalarType.Float16,
        ["BF16"] = ScalarType.BFloat16,
        ["F32"] = ScalarType.Float32,
        ["F64"] = ScalarType.Float64,
    };

    /// <summary>Bits per element of the types that the format knows (safetensors 0.5), those that cannot be read here among them.</summary>
    internal static readonly Dictionary<string, int> Bits = new()
    {
        ["BOOL"] = 8,
        ["U8"] = 8,
        ["I8"] = 8,
        ["F8_E5M2"] = 8,
        ["F8_E4M3"] = 8,
        ["F8_E8M0"] = 8,
        ["I16"] = 16,
        ["U16"] = 16,
        ["F16"] = 16,
        ["BF16"] = 16,
        ["I32"] = 32,
        ["U32"] = 32,
        ["F32"] = 32,
        ["F64"] = 64,
        ["I64"] = 64,
        ["U64"] = 64,
    };

    /// <summary>The element type, or null when no tensor here can hold it.</summary>
    public ScalarType? ElementType => Types.TryGetValue(Type, out ScalarType dtype) ? dtype : null;

    /// <summary>safetensors' name of an element type.</summary>
    public static string NameOf(ScalarType dtype) => Types.First(pair => pair.Value == dtype).Key;

    /// <summary>Type and shape, such as <c>F32[2, 3]</c>.</summary>
    public override string ToString() => $"{Type}{TensorExtensions.FormatShape(Shape)}";
}
