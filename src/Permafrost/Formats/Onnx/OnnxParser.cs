using Google.Protobuf;
using Microsoft.Win32.SafeHandles;

namespace Permafrost.Formats.Onnx;

/// <summary>
/// Reads the messages of onnx.proto, field by field; the numbers in the switches are the fields' there. Bytes of tensors are passed over, and their place is kept.
/// </summary>
internal sealed partial class OnnxParser : IDisposable
{
    private const int MostDimensions = 16;

    private readonly string path;
    private readonly FileStream stream;
    private readonly SafeFileHandle handle;
    private readonly CodedInputStream input;
    private readonly long length;

    private readonly List<OnnxNode> nodes = [];
    private readonly List<string> inputs = [];
    private readonly List<string> outputs = [];
    private readonly List<OnnxFunction> functions = [];
    private readonly Dictionary<string, OnnxTensor> initializers = new(StringComparer.Ordinal);
    private (string Name, string Version) producer = ("", "");
    private bool hasGraph;

    private OnnxParser(string path)
    {
        this.path = path;
        stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
        handle = stream.SafeFileHandle;
        length = stream.Length;
        input = new CodedInputStream(stream, leaveOpen: true);
    }

    /// <summary>Reads a model.</summary>
    /// <exception cref="PermafrostException">The file is missing, truncated or no ONNX model.</exception>
    public static OnnxFile Parse(string path)
    {
        try
        {
            using var parser = new OnnxParser(path);
            return parser.Model();
        }
        catch (InvalidProtocolBufferException)
        {
            throw new PermafrostException($"{path} is no ONNX model, or is damaged: it is not the protobuf message that such a file holds");
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        input.Dispose();
        stream.Dispose();
    }

    private OnnxFile Model()
    {
        if (length == 0) throw new PermafrostException($"{path} is empty");
        Span<byte> start = stackalloc byte[32];
        if (GitLfsPointer.Is(start[..RandomAccess.Read(handle, start, 0)])) throw new PermafrostException($"{path} is {GitLfsPointer.What}");
        if (length > int.MaxValue) throw new PermafrostException($"{path} is larger than 2 GiB, which an ONNX file cannot be; larger models keep their weights in files beside it");
        Fields(length, tag =>
        {
            switch (WireFormat.GetTagFieldNumber(tag))
            {
                case 2: producer.Name = Text(tag); break;
                case 3: producer.Version = Text(tag); break;
                case 7: Message(tag, Graph); break;
                case 25: functions.Add(Function(tag)); break;
                default: input.SkipLastField(); break;
            }
        });
        if (!hasGraph) throw new PermafrostException($"{path} is no ONNX model: it holds no graph");
        IReadOnlyList<OnnxNode> inlined = functions.Count == 0 ? nodes : new OnnxInliner(path, functions).Inline(nodes);
        return new OnnxFile(path, $"{producer.Name} {producer.Version}".Trim(), inputs, outputs, inlined, initializers);
    }

    private void Graph(uint tag)
    {
        hasGraph = true;
        switch (WireFormat.GetTagFieldNumber(tag))
        {
            case 1: nodes.Add(Node(tag)); break;
            case 5: AddInitializer(Tensor(tag)); break;
            case 11: inputs.Add(ValueName(tag)); break;
            case 12: outputs.Add(ValueName(tag)); break;
            case 15: throw new PermafrostException($"{path} holds sparse tensors, which are not known here; export the model without them");
            default: input.SkipLastField(); break;
        }
    }

    private void AddInitializer(OnnxTensor tensor)
    {
        if (!initializers.TryAdd(tensor.Name, tensor)) throw Malformed($"the tensor '{tensor.Name}' is there twice");
    }

    private OnnxNode Node(uint tag)
    {
        (string kind, string domain) = ("", "");
        (var takes, var makes) = (new List<string>(), new List<string>());
        var attributes = new Dictionary<string, OnnxAttribute>(StringComparer.Ordinal);
        Message(tag, field =>
        {
            switch (WireFormat.GetTagFieldNumber(field))
            {
                case 1: takes.Add(Text(field)); break;
                case 2: makes.Add(Text(field)); break;
                case 4: kind = Text(field); break;
                case 5:
                    OnnxAttribute attribute = Attribute(field);
                    attributes[attribute.Name] = attribute;
                    break;
                case 7: domain = Text(field); break;
                default: input.SkipLastField(); break;
            }
        });
        return new OnnxNode(kind, domain == "ai.onnx" ? "" : domain, [.. takes], [.. makes], attributes);
    }

    // Graphs within operators (If, Loop) are passed over: an encoder has none that its weights depend on.
    private OnnxAttribute Attribute(uint tag)
    {
        var attribute = new OnnxAttribute();
        var integers = new List<long>();
        var floats = new List<float>();
        Message(tag, field =>
        {
            switch (WireFormat.GetTagFieldNumber(field))
            {
                case 1: attribute = attribute with { Name = Text(field) }; break;
                case 2 when WireFormat.GetTagWireType(field) == WireFormat.WireType.Fixed32: attribute = attribute with { Float = input.ReadFloat() }; break;
                case 3 when WireFormat.GetTagWireType(field) == WireFormat.WireType.Varint: attribute = attribute with { Int = input.ReadInt64() }; break;
                case 4: attribute = attribute with { Text = Text(field) }; break;
                case 5: attribute = attribute with { Tensor = Tensor(field) }; break;
                case 7: Floats(field, floats); break;
                case 8: Integers(field, integers, long.MaxValue); break;
                case 21: attribute = attribute with { Reference = Text(field) }; break;
                default: input.SkipLastField(); break;
            }
        });
        return attribute with { Ints = integers.Count > 0 ? [.. integers] : null, Floats = floats.Count > 0 ? [.. floats] : null };
    }

    private OnnxFunction Function(uint tag)
    {
        (string name, string domain) = ("", "");
        (var takes, var makes, var body) = (new List<string>(), new List<string>(), new List<OnnxNode>());
        var defaults = new Dictionary<string, OnnxAttribute>(StringComparer.Ordinal);
        Message(tag, field =>
        {
            switch (WireFormat.GetTagFieldNumber(field))
            {
                case 1: name = Text(field); break;
                case 4: takes.Add(Text(field)); break;
                case 5: makes.Add(Text(field)); break;
                case 7: body.Add(Node(field)); break;
                case 10: domain = Text(field); break;
                case 11:
                    OnnxAttribute attribute = Attribute(field);
                    defaults[attribute.Name] = attribute;
                    break;
                default: input.SkipLastField(); break;
            }
        });
        return new OnnxFunction(name, domain == "ai.onnx" ? "" : domain, [.. takes], [.. makes], [.. body], defaults);
    }

    private string ValueName(uint tag)
    {
        string name = "";
        Message(tag, field =>
        {
            if (WireFormat.GetTagFieldNumber(field) == 1) name = Text(field);
            else input.SkipLastField();
        });
        return name;
    }

    // Calls field for each field up to the end of a message.
    private void Fields(long end, Action<uint> field)
    {
        while (input.Position < end)
        {
            uint tag = input.ReadTag();
            if (tag == 0) throw InvalidEnd();
            field(tag);
        }
        if (input.Position != end) throw InvalidEnd();
    }

    private void Message(uint tag, Action<uint> field) => Fields(End(tag), field);

    // The end of what follows a tag of a length and as many bytes.
    private long End(uint tag)
    {
        if (WireFormat.GetTagWireType(tag) != WireFormat.WireType.LengthDelimited) throw InvalidEnd();
        int bytes = input.ReadLength();
        long end = input.Position + bytes;
        if (bytes < 0) throw InvalidEnd();
        if (end > length) throw TooShort(bytes);
        return end;
    }

    private string Text(uint tag)
    {
        Region(tag, pass: false);
        return input.ReadString();
    }

    private void Floats(uint tag, List<float> numbers)
    {
        if (WireFormat.GetTagWireType(tag) == WireFormat.WireType.Fixed32)
        {
            numbers.Add(input.ReadFloat());
            return;
        }
        for (long end = End(tag); input.Position < end;) numbers.Add(input.ReadFloat());
    }

    // Numbers one by one or packed, as writers please.
    private void Integers(uint tag, List<long> numbers, long most)
    {
        if (WireFormat.GetTagWireType(tag) == WireFormat.WireType.Varint) numbers.Add(input.ReadInt64());
        else for (long end = End(tag); input.Position < end;) numbers.Add(input.ReadInt64());
        if (numbers.Count > most) throw Malformed($"a tensor has more than {most} dimensions");
    }

    // Where the bytes lie that follow a tag and their number; CodedInputStream would copy them, so the number is read beside it.
    private (long Offset, long Length) Region(uint tag, bool pass)
    {
        if (WireFormat.GetTagWireType(tag) != WireFormat.WireType.LengthDelimited) throw InvalidEnd();
        long at = input.Position;
        Span<byte> number = stackalloc byte[10];
        number = number[..RandomAccess.Read(handle, number, at)];
        int used = number.IndexOfAnyInRange((byte)0, (byte)0x7F) + 1;
        if (used is 0 or > 5) throw InvalidEnd();
        long bytes = 0;
        for (int i = 0; i < used; i++) bytes |= (long)(number[i] & 0x7F) << (7 * i);
        if (at + used + bytes > length) throw TooShort(bytes);
        if (pass) input.SkipLastField();
        return (at + used, bytes);
    }

    private PermafrostException TooShort(long bytes) => hasGraph || WasHeader()
        ? new PermafrostException($"{path} is truncated: {bytes:N0} bytes should follow, but it ends after {length - input.Position:N0}")
        : new PermafrostException($"{path} is no ONNX model: it is not the protobuf message that such a file holds");

    // Every writer begins with the format's version, a small number.
    private bool WasHeader()
    {
        Span<byte> start = stackalloc byte[2];
        return RandomAccess.Read(handle, start, 0) == 2 && start[0] == 0x08 && start[1] is > 0 and < 0x40;
    }

    private PermafrostException InvalidEnd() => Malformed("a part of it ends within another");

    private PermafrostException Malformed(string what) => new($"{path} is not a valid ONNX model: {what}");
}
