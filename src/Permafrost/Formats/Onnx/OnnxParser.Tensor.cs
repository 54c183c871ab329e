using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Google.Protobuf;

namespace Permafrost.Formats.Onnx;

/// <summary>TensorProto: its data are raw bytes in the model or in a file beside it, or lists of numbers.</summary>
internal sealed partial class OnnxParser
{
    private const int External = 1;

    private OnnxTensor Tensor(uint tag)
    {
        string name = "";
        var type = OnnxType.Undefined;
        var dims = new List<long>();
        var numbers = new List<long>();
        var doubles = new List<double>();
        var floats = new List<float>();
        var elsewhere = new Dictionary<string, string>(StringComparer.Ordinal);
        (long Offset, long Length)? raw = null;
        bool isElsewhere = false, listed = false;
        Message(tag, field =>
        {
            WireFormat.WireType wire = WireFormat.GetTagWireType(field);
            switch (WireFormat.GetTagFieldNumber(field))
            {
                case 1: Integers(field, dims, MostDimensions); break;
                case 2: type = (OnnxType)input.ReadInt32(); break;
                // Packed float32 are the raw bytes.
                case 4 when wire == WireFormat.WireType.LengthDelimited && raw is null && floats.Count == 0: raw = Region(field, pass: true); break;
                case 4:
                    if (raw is not null) throw Malformed("a tensor's numbers are given in several parts");
                    Floats(field, floats);
                    break;
                case 5 or 7 or 11:
                    listed = true;
                    Integers(field, numbers, long.MaxValue);
                    break;
                case 8: name = Text(field); break;
                case 9: raw = Region(field, pass: true); break;
                case 10: Doubles(field, doubles); break;
                case 13: Entry(field, elsewhere); break;
                case 14: isElsewhere = input.ReadInt32() == External; break;
                default: input.SkipLastField(); break;
            }
        });
        long bytes = Bytes(name, type, dims);
        var tensor = new OnnxTensor(name, type, [.. dims]) { File = path, Length = bytes };
        if (type.Bits() == 0) return tensor with { Length = 0, Inline = [] };
        if (isElsewhere) return Beside(tensor, elsewhere);
        if (raw is { } region) return Sized(tensor with { Offset = region.Offset }, region.Length);
        byte[] inline = listed ? Pack(numbers, type) : [];
        if (doubles.Count > 0) inline = MemoryMarshal.AsBytes<double>(doubles.ToArray()).ToArray();
        if (floats.Count > 0) inline = MemoryMarshal.AsBytes<float>(floats.ToArray()).ToArray();
        return Sized(tensor with { Inline = inline }, inline.Length);
    }

    private OnnxTensor Sized(OnnxTensor tensor, long bytes) => bytes == tensor.Length ? tensor
        : throw Malformed($"the tensor '{tensor.Name}' ({tensor.Type}[{string.Join(", ", tensor.Dims)}]) needs {tensor.Length:N0} bytes, but has {bytes:N0}");

    private long Bytes(string name, OnnxType type, List<long> dims)
    {
        if (dims.Exists(size => size < 0)) throw Malformed($"the tensor '{name}' has a negative size");
        try
        {
            long bits = dims.Aggregate((long)type.Bits(), (product, size) => checked(product * size));
            return checked(bits + 7) / 8;
        }
        catch (OverflowException)
        {
            throw Malformed($"the tensor '{name}' is of a size that cannot be, [{string.Join(", ", dims)}]");
        }
    }

    // Types without a list of their own are kept in int32_data, float16 and bfloat16 by their bits.
    private static byte[] Pack(List<long> numbers, OnnxType type)
    {
        int size = Math.Max(type.Bits() / 8, 1);
        if (size > 8) return [];
        var bytes = new byte[(long)numbers.Count * size];
        Span<byte> one = stackalloc byte[8];
        for (int i = 0; i < numbers.Count; i++)
        {
            BinaryPrimitives.WriteInt64LittleEndian(one, numbers[i]);
            one[..size].CopyTo(bytes.AsSpan(i * size));
        }
        return bytes;
    }

    private void Doubles(uint tag, List<double> numbers)
    {
        if (WireFormat.GetTagWireType(tag) == WireFormat.WireType.Fixed64)
        {
            numbers.Add(input.ReadDouble());
            return;
        }
        for (long end = End(tag); input.Position < end;) numbers.Add(input.ReadDouble());
    }

    private void Entry(uint tag, Dictionary<string, string> entries)
    {
        (string key, string value) = ("", "");
        Message(tag, field =>
        {
            switch (WireFormat.GetTagFieldNumber(field))
            {
                case 1: key = Text(field); break;
                case 2: value = Text(field); break;
                default: input.SkipLastField(); break;
            }
        });
        entries[key] = value;
    }

    // A file of a model's own folder, and the place in it: a model must not reach out of its folder.
    private OnnxTensor Beside(OnnxTensor tensor, Dictionary<string, string> entries)
    {
        string location = entries.GetValueOrDefault("location", "");
        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        bool inside = location.Length > 0 && !Path.IsPathRooted(location) && !location.Any(c => char.IsControl(c) || c is '\\' or ':')
            && !location.Split('/').Contains("..");
        if (!inside) throw Malformed($"the tensor '{tensor.Name}' is said to be in '{location}', which is no file of the model's folder");
        string file = Path.Combine(folder, location);
        if (!File.Exists(file)) throw new PermafrostException($"{path} keeps weights in {file}, which is not there; it belongs beside the model");
        long offset = Number(tensor, entries, "offset") ?? 0, there = FileLength(file);
        if (Number(tensor, entries, "length") is { } given) Sized(tensor, given);
        if (offset > there || there - offset < tensor.Length)
            throw new PermafrostException(
                $"{file} is truncated: the tensor '{tensor.Name}' of {path} needs {tensor.Length:N0} bytes from byte {offset:N0} on, and it has {there:N0}");
        return tensor with { File = file, Offset = offset };
    }

    private long? Number(OnnxTensor tensor, Dictionary<string, string> entries, string key)
    {
        if (!entries.TryGetValue(key, out string? text)) return null;
        return long.TryParse(text, System.Globalization.CultureInfo.InvariantCulture, out long number) && number >= 0 ? number
            : throw Malformed($"the tensor '{tensor.Name}' has the {key} '{text}'");
    }

    // The opened file's length: in the Hugging Face cache a path is a link, which has a length of its own.
    private static long FileLength(string file)
    {
        using var opened = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        return opened.Length;
    }
}
