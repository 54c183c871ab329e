namespace Permafrost.Formats.Onnx;

/// <summary>Element types, numbered as in onnx.proto (TensorProto.DataType).</summary>
internal enum OnnxType
{
    Undefined = 0,
    Float = 1,
    UInt8 = 2,
    Int8 = 3,
    UInt16 = 4,
    Int16 = 5,
    Int32 = 6,
    Int64 = 7,
    String = 8,
    Bool = 9,
    Float16 = 10,
    Double = 11,
    UInt32 = 12,
    UInt64 = 13,
    Complex64 = 14,
    Complex128 = 15,
    BFloat16 = 16,
    Float8E4M3FN = 17,
    Float8E4M3FNUZ = 18,
    Float8E5M2 = 19,
    Float8E5M2FNUZ = 20,
    UInt4 = 21,
    Int4 = 22,
    Float4E2M1 = 23,
}

/// <summary>What is known of the element types.</summary>
internal static class OnnxTypes
{
    /// <summary>Bits of an element; 0 for types that have none, such as texts.</summary>
    public static int Bits(this OnnxType type) => type switch
    {
        OnnxType.Float or OnnxType.Int32 or OnnxType.UInt32 => 32,
        OnnxType.Float16 or OnnxType.BFloat16 or OnnxType.Int16 or OnnxType.UInt16 => 16,
        OnnxType.UInt8 or OnnxType.Int8 or OnnxType.Bool => 8,
        OnnxType.Float8E4M3FN or OnnxType.Float8E4M3FNUZ or OnnxType.Float8E5M2 or OnnxType.Float8E5M2FNUZ => 8,
        OnnxType.Double or OnnxType.Int64 or OnnxType.UInt64 or OnnxType.Complex64 => 64,
        OnnxType.Complex128 => 128,
        OnnxType.UInt4 or OnnxType.Int4 or OnnxType.Float4E2M1 => 4,
        _ => 0,
    };

    /// <summary>Whether weights of the type can be read: float32, float16, bfloat16, float64.</summary>
    public static bool IsFloat(this OnnxType type) => type is OnnxType.Float or OnnxType.Float16 or OnnxType.BFloat16 or OnnxType.Double;

    /// <summary>Whether a matrix of the type is a quantised one.</summary>
    public static bool IsQuantised(this OnnxType type) =>
        type is OnnxType.UInt8 or OnnxType.Int8 or OnnxType.UInt4 or OnnxType.Int4 or OnnxType.Float4E2M1 or (>= OnnxType.Float8E4M3FN and <= OnnxType.Float8E5M2FNUZ);

    /// <summary>safetensors' name of a type of weights.</summary>
    public static string SafetensorsName(this OnnxType type) => type switch
    {
        OnnxType.Float => "F32",
        OnnxType.Float16 => "F16",
        OnnxType.BFloat16 => "BF16",
        OnnxType.Double => "F64",
        _ => type.ToString(),
    };
}
