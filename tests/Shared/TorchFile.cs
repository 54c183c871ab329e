using System.Buffers.Binary;
using System.Text;
using Permafrost.Kernels;

namespace Permafrost.Tests.Shared;

/// <summary>A storage of a file.</summary>
internal sealed record TorchStorage(string Key, string Type, int ElementBytes, byte[] Content)
{
    public long Count { get; init; } = Content.Length / ElementBytes;
}

/// <summary>A tensor of a file: a view of a storage.</summary>
internal sealed record TorchView(string Name, TorchStorage Storage, long Offset, long[] Shape, long[] Strides)
{
    public bool IsParameter { get; init; }
}

/// <summary>Writes what torch.save writes: protocol 2, memo entries as Python's pickler makes them, and records stored at multiples of 64 bytes.</summary>
internal static class TorchFile
{
    private const int Alignment = 64;

    /// <summary>Writes tensors, each in a storage of its own.</summary>
    public static string Write(string path, IReadOnlyDictionary<string, Tensor> tensors)
    {
        TorchView[] views = [.. tensors.Select((pair, i) => View(pair.Key, pair.Value, $"{i}"))];
        File.WriteAllBytes(path, Of(views));
        return path;
    }

    /// <summary>A contiguous tensor in a storage of its own.</summary>
    public static TorchView View(string name, Tensor tensor, string key)
    {
        return new TorchView(name, new TorchStorage(key, StorageOf(tensor.dtype), tensor.dtype.ElementBytes(), tensor.ToBytes()), 0, tensor.shape, Strides(tensor.shape));
    }

    private static long[] Strides(long[] shape)
    {
        var strides = new long[shape.Length];
        long step = 1;
        for (int i = strides.Length - 1; i >= 0; step *= shape[i--]) strides[i] = step;
        return strides;
    }

    /// <summary>A file of a state dict.</summary>
    public static byte[] Of(IReadOnlyList<TorchView> views, bool wide = false) => Of(StateDict(views), [.. views.Select(view => view.Storage).Distinct()], wide);

    /// <summary>A file of any pickle.</summary>
    public static byte[] Of(byte[] pickle, IReadOnlyList<TorchStorage> storages, bool wide = false, string byteOrder = "little") => Zip(
    [
        ("archive/data.pkl", pickle), ("archive/byteorder", Encoding.ASCII.GetBytes(byteOrder)),
        .. storages.Select(storage => ($"archive/data/{storage.Key}", storage.Content)), ("archive/version", "3\n"u8.ToArray()),
    ], wide);

    /// <summary>An OrderedDict of tensors, with _metadata.</summary>
    public static byte[] StateDict(IEnumerable<TorchView> views)
    {
        var pickle = new PickleBytes();
        pickle.Begin();
        pickle.Dictionary(views);
        return pickle.End();
    }

    /// <summary>Records as they are, one behind another, with a ZIP64 end and sizes where that is asked for.</summary>
    public static byte[] Zip(IEnumerable<(string Name, byte[] Content)> records, bool wide = false)
    {
        var file = new MemoryStream();
        Zip(file, [.. records.Select(record => (record.Name, (long)record.Content.Length, (Action<Stream>)(stream => stream.Write(record.Content))))], wide);
        return file.ToArray();
    }

    /// <summary>The same, piece by piece.</summary>
    public static void Zip(Stream file, IReadOnlyList<(string Name, long Bytes, Action<Stream> Write)> records, bool wide)
    {
        var directory = new MemoryStream();
        foreach ((string name, long length, Action<Stream> write) in records)
        {
            byte[] label = Encoding.UTF8.GetBytes(name);
            long header = file.Position;
            int before = 30 + label.Length + 4, padding = (int)((Alignment - (header + before) % Alignment) % Alignment);
            (uint size, uint at) = wide ? (uint.MaxValue, uint.MaxValue) : ((uint)length, (uint)header);
            file.Write(Fields(0x04034b50u, (ushort)20, (ushort)0, (ushort)0, 0u, 0u, size, size, (ushort)label.Length, (ushort)(4 + padding)));
            file.Write(label);
            file.Write(Fields((ushort)0x4246, (ushort)padding));
            file.Write(new byte[padding]);
            write(file);
            byte[] extra = wide ? Fields((ushort)1, (ushort)24, length, length, header) : [];
            directory.Write(Fields(0x02014b50u, (ushort)20, (ushort)20, (ushort)0, (ushort)0, 0u, 0u, size, size, (ushort)label.Length, (ushort)extra.Length, (ushort)0, (ushort)0, (ushort)0, 0u, at));
            directory.Write(label);
            directory.Write(extra);
        }
        (long start, long bytes, long count) = (file.Position, directory.Length, records.Count);
        file.Write(directory.ToArray());
        if (wide)
        {
            long end = file.Position;
            file.Write(Fields(0x06064b50u, 44L, (ushort)45, (ushort)45, 0u, 0u, count, count, bytes, start));
            file.Write(Fields(0x07064b50u, 0u, end, 1u));
        }
        file.Write(Fields(0x06054b50u, (ushort)0, (ushort)0, wide ? ushort.MaxValue : (ushort)count, wide ? ushort.MaxValue : (ushort)count, wide ? uint.MaxValue : (uint)bytes, wide ? uint.MaxValue : (uint)start, (ushort)0));
    }

    /// <summary>Float32 tensors of any size, whose bytes somebody writes.</summary>
    public static void Write(Stream file, IReadOnlyList<(string Name, long[] Shape)> tensors, Action<Stream, long> fill)
    {
        static long Count(long[] shape) => shape.Aggregate(1L, (product, size) => product * size);
        TorchView[] views = [.. tensors.Select((tensor, i) => new TorchView(tensor.Name, new TorchStorage($"{i}", "FloatStorage", 4, []) { Count = Count(tensor.Shape) }, 0, tensor.Shape, Strides(tensor.Shape)))];
        byte[] pickle = StateDict(views);
        Zip(file, [("archive/data.pkl", pickle.Length, stream => stream.Write(pickle)), .. views.Select(view => ($"archive/data/{view.Storage.Key}", 4 * view.Storage.Count, (Action<Stream>)(stream => fill(stream, 4 * view.Storage.Count))))], wide: true);
    }

    private static byte[] Fields(params object[] values)
    {
        var bytes = new List<byte>();
        foreach (object value in values)
        {
            bytes.AddRange(value switch
            {
                ushort two => BitConverter.GetBytes(two),
                uint four => BitConverter.GetBytes(four),
                _ => BitConverter.GetBytes((long)value),
            });
        }
        return [.. bytes];
    }

    private static string StorageOf(ScalarType type) => type switch
    {
        ScalarType.Bool => "BoolStorage",
        ScalarType.Byte => "ByteStorage",
        ScalarType.Int8 => "CharStorage",
        ScalarType.Int16 => "ShortStorage",
        ScalarType.Int32 => "IntStorage",
        ScalarType.Int64 => "LongStorage",
        ScalarType.Float16 => "HalfStorage",
        ScalarType.BFloat16 => "BFloat16Storage",
        ScalarType.Float32 => "FloatStorage",
        _ => "DoubleStorage",
    };
}

/// <summary>A pickle, instruction by instruction.</summary>
internal sealed class PickleBytes
{
    private readonly List<byte> bytes = [];
    private readonly Dictionary<string, int> memo = [];
    private int next;

    public void Begin() => Raw(0x80, 2);

    public byte[] End()
    {
        Raw((byte)'.');
        return [.. bytes];
    }

    /// <summary>Bytes as they are.</summary>
    public void Raw(params byte[] instruction) => bytes.AddRange(instruction);

    /// <summary>GLOBAL, or the memo's entry.</summary>
    public void Global(string module, string name) => Once($"{module}\n{name}", () => Raw([(byte)'c', .. Encoding.UTF8.GetBytes($"{module}\n{name}\n")]));

    /// <summary>BINUNICODE, or the memo's entry.</summary>
    public void Text(string text) => Once("text " + text, () =>
    {
        byte[] content = Encoding.UTF8.GetBytes(text);
        Raw([(byte)'X', .. BitConverter.GetBytes(content.Length), .. content]);
    });

    /// <summary>The shortest instruction for a number.</summary>
    public void Number(long value)
    {
        if (value is >= 0 and < 256) Raw((byte)'K', (byte)value);
        else if (value is >= 0 and < 65536) Raw([(byte)'M', .. BitConverter.GetBytes((ushort)value)]);
        else if (value is >= int.MinValue and <= int.MaxValue) Raw([(byte)'J', .. BitConverter.GetBytes((int)value)]);
        else Raw([0x8a, 8, .. BitConverter.GetBytes(value)]);
    }

    /// <summary>A tuple of numbers.</summary>
    public void Numbers(long[] values)
    {
        if (values.Length == 0) Raw((byte)')');
        else if (values.Length <= 3)
        {
            foreach (long value in values) Number(value);
            Raw((byte)(0x84 + values.Length));
        }
        else
        {
            Raw((byte)'(');
            foreach (long value in values) Number(value);
            Raw((byte)'t');
        }
        Put();
    }

    /// <summary>OrderedDict of tensors, with _metadata.</summary>
    public void Dictionary(IEnumerable<TorchView> views)
    {
        Empty();
        Raw((byte)'(');
        foreach (TorchView view in views)
        {
            Text(view.Name);
            Tensor(view);
        }
        Raw((byte)'u', (byte)'}');
        Put();
        Text("_metadata");
        Empty();
        Raw((byte)'(');
        Text("");
        Raw((byte)'}');
        Put();
        Text("version");
        Number(1);
        Raw((byte)'s', (byte)'u', (byte)'s', (byte)'b');
    }

    /// <summary>_rebuild_tensor_v2, within _rebuild_parameter for a parameter.</summary>
    public void Tensor(TorchView view)
    {
        if (view.IsParameter) Global("torch._utils", "_rebuild_parameter");
        Global("torch._utils", "_rebuild_tensor_v2");
        Raw((byte)'(', (byte)'(');
        Text("storage");
        Global("torch", view.Storage.Type);
        Text(view.Storage.Key);
        Text("cpu");
        Number(view.Storage.Count);
        Raw((byte)'t');
        Put();
        Raw((byte)'Q');
        Number(view.Offset);
        Numbers(view.Shape);
        Numbers(view.Strides);
        Raw(0x89);
        Empty();
        Raw((byte)'t');
        Put();
        Raw((byte)'R');
        Put();
        if (!view.IsParameter) return;
        Raw(0x88);
        Empty();
        Raw(0x87);
        Put();
        Raw((byte)'R');
        Put();
    }

    /// <summary>An empty OrderedDict.</summary>
    public void Empty()
    {
        Global("collections", "OrderedDict");
        Raw((byte)')', (byte)'R');
        Put();
    }

    private void Once(string key, Action write)
    {
        if (memo.TryGetValue(key, out int known))
        {
            if (known < 256) Raw((byte)'h', (byte)known);
            else Raw([(byte)'j', .. BitConverter.GetBytes(known)]);
            return;
        }
        write();
        memo[key] = next;
        Put();
    }

    private void Put()
    {
        if (next < 256) Raw((byte)'q', (byte)next);
        else
        {
            var number = new byte[4];
            BinaryPrimitives.WriteInt32LittleEndian(number, next);
            Raw([(byte)'r', .. number]);
        }
        next++;
    }
}
