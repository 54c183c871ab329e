using System.Buffers.Binary;

namespace Permafrost.Formats.Onnx;

/// <summary>A tensor of a model: what it is, and where its bytes are. They are read when they are asked for.</summary>
/// <param name="Name">Its name; empty for an attribute's.</param>
/// <param name="Type">The element type.</param>
/// <param name="Dims">Sizes along the dimensions.</param>
internal sealed record OnnxTensor(string Name, OnnxType Type, long[] Dims)
{
    /// <summary>The file that holds the bytes: the model itself, or one beside it.</summary>
    public required string File { get; init; }

    /// <summary>The first byte in <see cref="File"/>.</summary>
    public long Offset { get; init; }

    /// <summary>The number of bytes, which fits type and sizes.</summary>
    public long Length { get; init; }

    /// <summary>The bytes themselves, row-major and little-endian, where the model holds them in another form; null where they are in the file.</summary>
    public byte[]? Inline { get; init; }

    /// <summary>The number of elements.</summary>
    public long Count => Dims.Aggregate(1L, (product, size) => product * size);

    /// <summary>The elements, row-major and little-endian.</summary>
    /// <exception cref="PermafrostException">The file cannot be read, or has changed.</exception>
    public byte[] ReadBytes()
    {
        if (Inline is not null) return Inline;
        if (Length > Array.MaxLength) throw new PermafrostException($"{File}: the tensor '{Name}' is larger than 2 GiB");
        var bytes = new byte[Length];
        try
        {
            using var stream = new FileStream(File, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
            stream.Position = Offset;
            stream.ReadExactly(bytes);
            return bytes;
        }
        catch (EndOfStreamException)
        {
            throw new PermafrostException($"{File} ends before the tensor '{Name}' does: the file is truncated");
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(File, error);
        }
    }

    /// <summary>The only element, as a number; null where there are several, or it is no number.</summary>
    public double? Scalar()
    {
        if (Count != 1) return null;
        byte[] bytes = ReadBytes();
        return Type switch
        {
            OnnxType.Float => BinaryPrimitives.ReadSingleLittleEndian(bytes),
            OnnxType.Double => BinaryPrimitives.ReadDoubleLittleEndian(bytes),
            OnnxType.Float16 => (double)BinaryPrimitives.ReadHalfLittleEndian(bytes),
            OnnxType.BFloat16 => BitConverter.UInt32BitsToSingle((uint)BinaryPrimitives.ReadUInt16LittleEndian(bytes) << 16),
            OnnxType.Int64 => BinaryPrimitives.ReadInt64LittleEndian(bytes),
            OnnxType.Int32 => BinaryPrimitives.ReadInt32LittleEndian(bytes),
            _ => null,
        };
    }

    /// <summary>The elements of a short list of whole numbers, such as a shape; null where it is none.</summary>
    public long[]? Integers()
    {
        if (Type is not (OnnxType.Int64 or OnnxType.Int32) || Count is < 0 or > 16) return null;
        byte[] bytes = ReadBytes();
        int size = Type == OnnxType.Int64 ? 8 : 4;
        var numbers = new long[Count];
        for (int i = 0; i < numbers.Length; i++)
            numbers[i] = size == 8 ? BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(8 * i)) : BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(4 * i));
        return numbers;
    }
}
