using System.Globalization;
using System.Runtime.InteropServices;
using Google.Protobuf;

namespace Permafrost.Formats.Onnx;

/// <summary>An attribute of an operator: a name and one of the four kinds of value.</summary>
internal sealed record NodeAttribute(string Name, long? Int = null, float? Float = null, string? Text = null, long[]? Ints = null);

/// <summary>
/// Puts an <c>.onnx</c> file together (https://github.com/onnx/onnx, onnx.proto; IR version 8, operator set 17): operators in the order in which they are added, and constant
/// tensors.
/// </summary>
internal sealed class OnnxWriter
{
    /// <summary>The operator set.</summary>
    public const int OperatorSet = 17;

    private const int FloatType = 1, Int64Type = 7;

    // A message of Protocol Buffers ends at 2 GiB; what is larger has its tensors in a file beside it.
    private const long LargestFile = 2_000_000_000;

    // Sizes and indices stay in the file, where a reader that infers shapes looks for them.
    private const long SmallestElsewhere = 1024;

    private readonly List<byte[]> nodes = [];
    private readonly List<byte[]> inputs = [];
    private readonly List<byte[]> outputs = [];
    private readonly List<(byte[] Head, Func<byte[]> Bytes, long Length)> tensors = [];
    private readonly HashSet<string> known = [];
    private readonly List<(string Key, string Value)> metadata = [];

    /// <summary>Adds an operator.</summary>
    /// <param name="type">Its name in ONNX's operator set.</param>
    /// <param name="given">Names of what it takes.</param>
    /// <param name="attributes">Its attributes.</param>
    /// <returns>The name of what it gives.</returns>
    public string Node(string type, string[] given, params NodeAttribute[] attributes) => Node(type, $"v{nodes.Count}", given, attributes);

    /// <summary>Adds an operator whose output has a name of its own.</summary>
    public string Node(string type, string name, string[] given, params NodeAttribute[] attributes) => Add(type, [name], given, attributes);

    /// <summary>Adds an operator with two outputs.</summary>
    /// <returns>The name of the second.</returns>
    public string Second(string type, string[] given, params NodeAttribute[] attributes) => Add(type, [$"v{nodes.Count}_first", $"v{nodes.Count}"], given, attributes);

    private string Add(string type, string[] made, string[] given, NodeAttribute[] attributes)
    {
        nodes.Add(Message(node =>
        {
            foreach (string input in given) Text(node, 1, input);
            foreach (string output in made) Text(node, 2, output);
            Text(node, 3, $"{type}_{nodes.Count}");
            Text(node, 4, type);
            foreach (NodeAttribute attribute in attributes) Part(node, 5, Attribute(attribute));
        }));
        return made[^1];
    }

    /// <summary>Adds a constant of float32, once for each name.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="shape">Its sizes.</param>
    /// <param name="values">Gives its values, when the file is written.</param>
    public string Constant(string name, long[] shape, Func<float[]> values)
    {
        long length = 4 * shape.Aggregate(1L, (product, size) => product * size);
        if (known.Add(name)) Add(name, FloatType, shape, () => MemoryMarshal.AsBytes(values().AsSpan()).ToArray(), length);
        return name;
    }

    /// <summary>Adds one number of float32.</summary>
    public string Number(double value)
    {
        string name = FormattableString.Invariant($"number_{(float)value:R}");
        if (known.Add(name)) Add(name, FloatType, [], () => BitConverter.GetBytes((float)value), 4);
        return name;
    }

    /// <summary>Adds a vector of int64.</summary>
    public string Integers(params long[] values)
    {
        string name = $"integers_{string.Join('_', values)}";
        if (known.Add(name)) Add(name, Int64Type, [values.Length], () => MemoryMarshal.AsBytes(values.AsSpan()).ToArray(), values.Length * 8L);
        return name;
    }

    /// <summary>Adds one number of int64.</summary>
    public string Integer(long value)
    {
        string name = $"integer_{value}";
        if (known.Add(name)) Add(name, Int64Type, [], () => BitConverter.GetBytes(value), 8);
        return name;
    }

    /// <summary>Declares what the model is fed.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="whole">Whether it is of int64 rather than float32.</param>
    /// <param name="shape">Sizes, or names of those that are known only when it runs.</param>
    public string Input(string name, bool whole, params string[] shape)
    {
        inputs.Add(Value(name, whole ? Int64Type : FloatType, shape));
        return name;
    }

    /// <summary>Declares what the model gives, of float32.</summary>
    public void Output(string name, params string[] shape) => outputs.Add(Value(name, FloatType, shape));

    /// <summary>Adds a property that readers of the file can look up.</summary>
    public void Property(string key, string value) => metadata.Add((key, value));

    /// <summary>Writes the file, whole or not at all; a model of more than 2 GB has its tensors in <c>PATH.data</c> beside it.</summary>
    /// <param name="path">Where to.</param>
    /// <param name="largest">Bytes of tensors from which on they are put beside it.</param>
    /// <returns>The files that were written.</returns>
    /// <exception cref="PermafrostException">It cannot be written.</exception>
    public IReadOnlyList<string> Save(string path, long largest = LargestFile)
    {
        if (tensors.Sum(tensor => tensor.Length) <= largest)
        {
            AtomicFile.Write(path, stream => Write(stream, null));
            return [path];
        }
        string data = path + ".data";
        AtomicFile.Write(data, stream =>
        {
            foreach ((_, Func<byte[]> bytes, long length) in tensors)
                if (length >= SmallestElsewhere) stream.Write(bytes());
        });
        AtomicFile.Write(path, stream => Write(stream, Path.GetFileName(data)));
        return [path, data];
    }

    private void Write(Stream stream, string? dataFile)
    {
        long offset = 0;
        var heads = new List<(byte[] Head, Func<byte[]>? Bytes, long Length)>();
        foreach ((byte[] head, Func<byte[]> bytes, long length) in tensors)
        {
            bool here = dataFile is null || length < SmallestElsewhere;
            byte[] rest = here ? Message(tensor => LengthOf(tensor, 9, length)) : Elsewhere(dataFile!, offset, length);
            heads.Add(([.. head, .. rest], here ? bytes : null, here ? length : 0));
            offset += here ? 0 : length;
        }
        byte[] before = Message(graph =>
        {
            foreach (byte[] node in nodes) Part(graph, 1, node);
            Text(graph, 2, "permafrost");
        });
        byte[] after = Message(graph =>
        {
            foreach (byte[] input in inputs) Part(graph, 11, input);
            foreach (byte[] output in outputs) Part(graph, 12, output);
        });
        long size = before.Length + after.Length + heads.Sum(tensor => Sized(5, tensor.Head.Length + tensor.Length).Length + tensor.Head.Length + tensor.Length);
        stream.Write(Message(model =>
        {
            Whole(model, 1, 8);
            Text(model, 2, "permafrost");
            Part(model, 8, Message(set => { Text(set, 1, ""); Whole(set, 2, OperatorSet); }));
            foreach ((string key, string value) in metadata) Part(model, 14, Message(pair => { Text(pair, 1, key); Text(pair, 2, value); }));
            LengthOf(model, 7, size);
        }));
        stream.Write(before);
        foreach ((byte[] head, Func<byte[]>? bytes, long length) in heads)
        {
            stream.Write(Sized(5, head.Length + length));
            stream.Write(head);
            if (bytes is not null) stream.Write(bytes());
        }
        stream.Write(after);
    }

    private void Add(string name, int type, long[] shape, Func<byte[]> bytes, long length) => tensors.Add((Message(tensor =>
    {
        foreach (long size in shape) Whole(tensor, 1, size);
        Whole(tensor, 2, type);
        Text(tensor, 8, name);
    }), bytes, length));

    private static byte[] Elsewhere(string file, long offset, long length) => Message(tensor =>
    {
        foreach ((string key, string value) in new[] { ("location", file), ("offset", $"{offset}"), ("length", $"{length}") })
            Part(tensor, 13, Message(entry => { Text(entry, 1, key); Text(entry, 2, value); }));
        Whole(tensor, 14, 1);
    });

    private static byte[] Attribute(NodeAttribute attribute) => Message(message =>
    {
        Text(message, 1, attribute.Name);
        if (attribute.Float is { } number)
        {
            message.WriteTag(2, WireFormat.WireType.Fixed32);
            message.WriteFloat(number);
        }
        if (attribute.Int is { } whole) Whole(message, 3, whole);
        if (attribute.Text is { } text) Text(message, 4, text);
        foreach (long one in attribute.Ints ?? []) Whole(message, 8, one);
        Whole(message, 20, attribute switch { { Float: not null } => 1, { Int: not null } => 2, { Text: not null } => 3, _ => 7 });
    });

    private static byte[] Value(string name, int type, string[] shape) => Message(value =>
    {
        Text(value, 1, name);
        Part(value, 2, Message(kind => Part(kind, 1, Message(tensor =>
        {
            Whole(tensor, 1, type);
            Part(tensor, 2, Message(sizes =>
            {
                foreach (string size in shape)
                    Part(sizes, 1, Message(one =>
                    {
                        if (long.TryParse(size, NumberStyles.None, CultureInfo.InvariantCulture, out long number)) Whole(one, 1, number);
                        else Text(one, 2, size);
                    }));
            }));
        }))));
    });

    private static byte[] Message(Action<CodedOutputStream> write)
    {
        using var memory = new MemoryStream();
        using (var stream = new CodedOutputStream(memory, leaveOpen: true)) write(stream);
        return memory.ToArray();
    }

    private static byte[] Sized(int field, long length) => Message(stream => LengthOf(stream, field, length));

    private static void LengthOf(CodedOutputStream stream, int field, long length)
    {
        stream.WriteTag(field, WireFormat.WireType.LengthDelimited);
        stream.WriteUInt64((ulong)length);
    }

    private static void Whole(CodedOutputStream stream, int field, long value)
    {
        stream.WriteTag(field, WireFormat.WireType.Varint);
        stream.WriteInt64(value);
    }

    private static void Text(CodedOutputStream stream, int field, string value)
    {
        stream.WriteTag(field, WireFormat.WireType.LengthDelimited);
        stream.WriteString(value);
    }

    private static void Part(CodedOutputStream stream, int field, byte[] message)
    {
        stream.WriteTag(field, WireFormat.WireType.LengthDelimited);
        stream.WriteBytes(ByteString.CopyFrom(message));
    }
}
