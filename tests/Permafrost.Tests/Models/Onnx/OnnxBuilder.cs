using System.Runtime.InteropServices;
using System.Text;
using Google.Protobuf;

namespace Permafrost.Tests.Models.Onnx;

/// <summary>How the elements of a tensor are written.</summary>
internal enum OnnxStorage
{
    /// <summary>raw_data.</summary>
    Raw,
    /// <summary>float_data, packed.</summary>
    List,
    /// <summary>float_data, a field an element.</summary>
    Unpacked,
    /// <summary>A file beside the model.</summary>
    External,
}

/// <summary>Writes ONNX models message by message, as exporters do.</summary>
internal sealed class OnnxBuilder(string path, int opset, OnnxStorage storage = OnnxStorage.Raw) : IDisposable
{
    public const string Weights = "model.onnx.data";

    private readonly MemoryStream graph = new();
    private readonly MemoryStream external = new();
    private readonly List<byte[]> functions = [];
    private int values;

    /// <summary>Names values by numbers alone, as old exporters do.</summary>
    public string Fresh(string kind) => $"{kind}_{++values}";

    public void Input(string name, int type, params string[] dims) => Field(graph, 11, Value(name, type, dims));

    public void Output(string name, int type, params string[] dims) => Field(graph, 12, Value(name, type, dims));

    public void Initializer(string name, int type, long[] dims, byte[] bytes) => Field(graph, 5, Tensor(name, type, dims, bytes));

    public void Sparse() => Field(graph, 15, []);

    public string Node(string kind, string[] inputs, string? output = null, string domain = "", params (string Name, object Value)[] attributes)
    {
        output ??= Fresh(kind);
        Field(graph, 1, NodeBytes(kind, inputs, [output], domain, attributes));
        return output;
    }

    public void Function(string name, string[] inputs, string[] outputs, params byte[][] nodes)
    {
        var message = new MemoryStream();
        Field(message, 1, Utf8(name));
        foreach (string input in inputs) Field(message, 4, Utf8(input));
        foreach (string output in outputs) Field(message, 5, Utf8(output));
        foreach (byte[] node in nodes) Field(message, 7, node);
        Field(message, 9, Opset("", opset));
        Field(message, 10, Utf8("local"));
        functions.Add(message.ToArray());
    }

    public static byte[] NodeBytes(string kind, string[] inputs, string[] outputs, string domain = "", params (string Name, object Value)[] attributes)
    {
        var message = new MemoryStream();
        foreach (string input in inputs) Field(message, 1, Utf8(input));
        foreach (string output in outputs) Field(message, 2, Utf8(output));
        Field(message, 4, Utf8(kind));
        foreach ((string name, object value) in attributes) Field(message, 5, Attribute(name, value));
        if (domain.Length > 0) Field(message, 7, Utf8(domain));
        return message.ToArray();
    }

    /// <summary>A tensor message; its bytes go where this model keeps them.</summary>
    public byte[] Tensor(string name, int type, long[] dims, byte[] bytes)
    {
        var message = new MemoryStream();
        foreach (long size in dims) Varint(message, 1, (ulong)size);
        Varint(message, 2, (ulong)type);
        if (name.Length > 0) Field(message, 8, Utf8(name));
        // As exporters do: shapes and single numbers stay in the model.
        OnnxStorage how = bytes.Length < 16 || type == 7 ? OnnxStorage.Raw : storage;
        switch (how)
        {
            case OnnxStorage.Raw: Field(message, 9, bytes); break;
            // Those of half precision are listed by their bits, as numbers of 32.
            case OnnxStorage.List when type is 10 or 16: Field(message, 5, Varints(MemoryMarshal.Cast<byte, ushort>(bytes))); break;
            case OnnxStorage.List: Field(message, type == 11 ? 10 : 4, bytes); break;
            case OnnxStorage.Unpacked:
                var output = new CodedOutputStream(message, leaveOpen: true);
                foreach (float number in MemoryMarshal.Cast<byte, float>(bytes))
                {
                    output.WriteTag(4, WireFormat.WireType.Fixed32);
                    output.WriteFloat(number);
                }
                output.Flush();
                break;
            case OnnxStorage.External:
                external.Write(new byte[(64 - (int)(external.Length % 64)) % 64]);
                foreach ((string key, string value) in new[] { ("location", Weights), ("offset", $"{external.Length}"), ("length", $"{bytes.Length}") })
                {
                    var entry = new MemoryStream();
                    Field(entry, 1, Utf8(key));
                    Field(entry, 2, Utf8(value));
                    Field(message, 13, entry.ToArray());
                }
                Varint(message, 14, 1);
                external.Write(bytes);
                break;
        }
        return message.ToArray();
    }

    /// <summary>Writes the model, and its weights where they are beside it.</summary>
    public void Save()
    {
        var model = new MemoryStream();
        Varint(model, 1, 8);
        Field(model, 2, Utf8("a test"));
        Field(graph, 2, Utf8("main_graph"));
        Field(model, 7, graph.ToArray());
        Field(model, 8, Opset("", opset));
        if (functions.Count > 0) Field(model, 8, Opset("local", 1));
        foreach (byte[] function in functions) Field(model, 25, function);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, model.ToArray());
        if (external.Length > 0) File.WriteAllBytes(Path.Combine(Path.GetDirectoryName(path)!, Weights), external.ToArray());
    }

    public void Dispose()
    {
        graph.Dispose();
        external.Dispose();
    }

    public static byte[] Bytes<T>(params T[] numbers) where T : unmanaged => MemoryMarshal.AsBytes<T>(numbers).ToArray();

    private static byte[] Attribute(string name, object value)
    {
        var message = new MemoryStream();
        Field(message, 1, Utf8(name));
        switch (value)
        {
            case float number:
                var output = new CodedOutputStream(message, leaveOpen: true);
                output.WriteTag(2, WireFormat.WireType.Fixed32);
                output.WriteFloat(number);
                output.Flush();
                Varint(message, 20, 1);
                break;
            case int whole:
                Varint(message, 3, (ulong)(long)whole);
                Varint(message, 20, 2);
                break;
            case string text:
                Field(message, 4, Utf8(text));
                Varint(message, 20, 3);
                break;
            case byte[] tensor:
                Field(message, 5, tensor);
                Varint(message, 20, 4);
                break;
            case long[] list:
                foreach (long one in list) Varint(message, 8, (ulong)one);
                Varint(message, 20, 7);
                break;
            default: throw new ArgumentException($"no attribute of {value.GetType()}");
        }
        return message.ToArray();
    }

    private static byte[] Value(string name, int type, string[] dims)
    {
        var shape = new MemoryStream();
        foreach (string size in dims)
        {
            var dimension = new MemoryStream();
            if (long.TryParse(size, out long number)) Varint(dimension, 1, (ulong)number);
            else Field(dimension, 2, Utf8(size));
            Field(shape, 1, dimension.ToArray());
        }
        var tensor = new MemoryStream();
        Varint(tensor, 1, (ulong)type);
        Field(tensor, 2, shape.ToArray());
        var kind = new MemoryStream();
        Field(kind, 1, tensor.ToArray());
        var message = new MemoryStream();
        Field(message, 1, Utf8(name));
        Field(message, 2, kind.ToArray());
        return message.ToArray();
    }

    private static byte[] Opset(string domain, int version)
    {
        var message = new MemoryStream();
        if (domain.Length > 0) Field(message, 1, Utf8(domain));
        Varint(message, 2, (ulong)version);
        return message.ToArray();
    }

    private static byte[] Varints(ReadOnlySpan<ushort> numbers)
    {
        var stream = new MemoryStream();
        var output = new CodedOutputStream(stream, leaveOpen: true);
        foreach (ushort number in numbers) output.WriteUInt32(number);
        output.Flush();
        return stream.ToArray();
    }

    private static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text);

    private static void Field(MemoryStream stream, int field, byte[] bytes)
    {
        var output = new CodedOutputStream(stream, leaveOpen: true);
        output.WriteTag(field, WireFormat.WireType.LengthDelimited);
        output.WriteLength(bytes.Length);
        output.Flush();
        stream.Write(bytes);
    }

    private static void Varint(MemoryStream stream, int field, ulong number)
    {
        var output = new CodedOutputStream(stream, leaveOpen: true);
        output.WriteTag(field, WireFormat.WireType.Varint);
        output.WriteUInt64(number);
        output.Flush();
    }
}
