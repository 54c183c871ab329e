using System.IO.Compression;
using System.Text;
using Permafrost.Formats.PyTorchPickle;
using Permafrost.Kernels;

namespace Permafrost.Tests.Formats.PyTorchPickle;

/// <summary>What torch.save writes is read bit by bit; everything else ends in a sentence, and nothing is ever run.</summary>
public class PyTorchFileTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [InlineData("protocol2.bin")]
    [InlineData("protocol4.bin")]
    public void Pickles_of_Python_itself_are_read(string name)
    {
        using var file = new PyTorchFile(Path.Combine(Repository.Root, "tests", "Permafrost.Tests", "Formats", "PyTorchPickle", name));
        Assert.Equal(["half", "ids", "lm_head.weight", "part", "scalar", "turned", "wte.weight"], file.Entries.Keys.Order(StringComparer.Ordinal));
        foreach (Func<string, Tensor> read in new Func<string, Tensor>[] { file.Read, file.View })
        {
            Assert.Equal([0f, 1, 2, 3, 4, 5], read("wte.weight").ToArray<float>());
            Assert.Equal([2L, 3], read("wte.weight").shape);
            Assert.Equal([0f, 1, 2, 3, 4, 5], read("lm_head.weight").ToArray<float>());
            // The same storage, seen as its transpose.
            Assert.Equal([0f, 3, 1, 4, 2, 5], read("turned").ToArray<float>());
            Assert.Equal([3L, 2], read("turned").shape);
            Assert.Equal([4f, 5], read("part").ToArray<float>());
            Assert.Equal([(Half)1.5, (Half)(-2), (Half)0.25], read("half").ToArray<Half>());
            Assert.Equal([-1, 1L << 40], read("ids").ToArray<long>());
            Assert.Equal(5f, Assert.Single(read("scalar").ToArray<float>()));
            Assert.Empty(read("scalar").shape);
        }
    }

    public static TheoryData<ScalarType> Types() =>
        [ScalarType.Bool, ScalarType.Byte, ScalarType.Int8, ScalarType.Int16, ScalarType.Int32, ScalarType.Int64, ScalarType.Float16, ScalarType.BFloat16, ScalarType.Float32, ScalarType.Float64];

    [Theory]
    [MemberData(nameof(Types))]
    public void Every_type_is_read_by_view_and_by_copy(ScalarType type)
    {
        Tensor numbers = torch.arange(-3, 21).reshape(2, 3, 4).to(type), empty = torch.empty([0, 5], type);
        string path = TorchFile.Write(folder["a.bin"], new Dictionary<string, Tensor> { ["numbers"] = numbers, ["empty"] = empty, ["one"] = numbers.select(0, 1).sum().to(type) });
        using var file = new PyTorchFile(path);
        Assert.Equal(type, file.Entries["numbers"].ElementType);
        Assert.Equal(numbers.ToBytes(), file.Read("numbers").ToBytes());
        using Tensor view = file.View("numbers");
        Assert.True(file.Holds(view));
        Assert.Equal(numbers.ToBytes(), view.ToBytes());
        Assert.False(file.Holds(file.Read("numbers")));
        Assert.Equal([0L, 5], file.Read("empty").shape);
        file.Release("numbers");
        Assert.Equal(numbers.ToBytes(), file.Read("numbers").ToBytes());
    }

    [Fact]
    public void Views_with_strides_and_offsets_are_what_PyTorch_sees()
    {
        Tensor storage = torch.arange(60, dtype: ScalarType.Float32);
        var whole = new TorchStorage("7", "FloatStorage", 4, storage.ToBytes());
        (string Name, long Offset, long[] Shape, long[] Strides)[] views =
        [
            ("whole", 0, [60], [1]), ("matrix", 12, [6, 8], [8, 1]), ("columns", 3, [6, 2], [10, 1]), ("turned", 0, [10, 6], [1, 10]), ("steps", 1, [5], [7]),
            ("many", 2, [1, 1, 2, 3], [99, 50, 20, 4]), ("last", 59, [1, 1], [60, 1]), ("scalar", 42, [], []), ("overlapping", 0, [4, 3], [1, 1]), ("nothing", 60, [0, 4], [4, 1]),
        ];
        File.WriteAllBytes(folder["a.bin"], TorchFile.Of([.. views.Select((view, i) => new TorchView(view.Name, whole, view.Offset, view.Shape, view.Strides) { IsParameter = i % 2 == 0 })]));
        using var file = new PyTorchFile(folder["a.bin"]);
        foreach ((string name, long offset, long[] shape, long[] strides) in views)
        {
            byte[] expected = storage.as_strided(shape, strides, offset).contiguous().ToBytes();
            Assert.Equal(expected, file.View(name).ToBytes());
            Tensor copy = file.Read(name);
            Assert.True(copy.is_contiguous() && copy.shape.SequenceEqual(shape), name);
            Assert.Equal(expected, copy.ToBytes());
        }
        using MatrixRowsReader rows = new(file.OpenRows("matrix")!);
        Assert.Equal([20f, 21, 22, 23, 24, 25, 26, 27], rows.Row(1));
        Assert.Null(file.OpenRows("turned"));
    }

    [Fact]
    public void Long_tables_of_records_and_memos_are_read()
    {
        // More than 256 memo entries, and the ends and sizes of ZIP64, which files beyond 4 GB have.
        TorchView[] views = [.. Enumerable.Range(0, 300).Select(i => TorchFile.View($"layer.{i}.weight", torch.full([3], i), $"{i}"))];
        foreach (bool wide in new[] { false, true })
        {
            File.WriteAllBytes(folder["a.bin"], TorchFile.Of(views, wide));
            using var file = new PyTorchFile(folder["a.bin"]);
            Assert.Equal(300, file.Entries.Count);
            Assert.Equal([299f, 299, 299], file.Read("layer.299.weight").to(ScalarType.Float32).ToArray<float>());
        }
    }

    [Fact]
    public void What_is_no_tensor_is_left_out_and_a_state_dict_within_is_found()
    {
        TorchView view = TorchFile.View("wte.weight", torch.ones([2]), "0");
        foreach (string key in new[] { "state_dict", "model_state_dict", "model" })
        {
            var pickle = new PickleBytes();
            pickle.Begin();
            pickle.Raw((byte)'}', (byte)'(');
            pickle.Text("epoch");
            pickle.Number(70_000);
            pickle.Text("seed");
            pickle.Number(-1L << 40);
            pickle.Text("best");
            pickle.Raw([(byte)'G', .. BitConverter.GetBytes(0.5).Reverse()]);
            pickle.Text("history");
            pickle.Raw((byte)']', (byte)'(', (byte)'K', 1, (byte)'N', (byte)'e');
            pickle.Text(key);
            pickle.Dictionary([view]);
            pickle.Raw((byte)'u');
            File.WriteAllBytes(folder["a.bin"], TorchFile.Of(pickle.End(), [view.Storage]));
            using var file = new PyTorchFile(folder["a.bin"]);
            Assert.Equal("wte.weight", Assert.Single(file.Entries).Key);
        }
    }

    /// <summary>What a pickle asks for, and what the sentence must name.</summary>
    public static TheoryData<string, string> Hostile() => new()
    {
        { "cposix\nsystem\n(X\u0004\0\0\0echotR.", "posix.system" },
        { "c__builtin__\neval\n(X\u0001\0\0\01tR.", "__builtin__.eval" },
        { "cbuiltins\ngetattr\n.", "builtins.getattr" },
        { "X\u0002\0\0\0osX\u0006\0\0\0system\u0093.", "os.system" },
        { "ctorch.nn.modules.linear\nLinear\n)\u0081.", "torch.nn.modules.linear.Linear" },
        { "cargparse\nNamespace\n)\u0081}b.", "argparse.Namespace" },
        { "(iposix\nsystem\n.", "0x69" },
        { "(cposix\nsystem\no.", "posix.system" },
        { "P0\n.", "0x50" },
        { "\u0082\u0001.", "0x82" },
        { "\u0097.", "0x97" },
        { "}}}(", "ends in the middle" },
        { "", "ends in the middle" },
        { ".", "never put down" },
        { "u.", "never put down" },
        { "(0.", "never put down" },
        { "h\u0005.", "value 5" },
        { "X\u00ff\u00ff\u00ff\u007fabc.", "ends in the middle" },
        { "\u008d\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ffabc.", "ends in the middle" },
        { "\u0080\u0009N.", "protocol 9" },
        { "]X\u0001\0\0\0aNs.", "a dictionary" },
        { "}(X\u0001\0\0\0au.", "without a value" },
        { "N.", "no dictionary of tensors" },
        { "]K\u0001a.", "no dictionary of tensors" },
        { "NQ.", "a storage" },
        { "K\u0001K\u0002R.", "no function" },
        { "ccollections\nOrderedDict\nK\u0001\u0085R.", "collections.OrderedDict" },
        { "ctorch._utils\n_rebuild_tensor_v2\n)R.", "_rebuild_tensor_v2" },
    };

    [Theory]
    [MemberData(nameof(Hostile))]
    public void Anything_but_tensors_is_refused_by_name(string pickle, string mention)
    {
        string path = folder.Write("a.bin", TorchFile.Of(Encoding.Latin1.GetBytes(pickle), []));
        Assert.Contains(mention, Refusal.Of(path, () => new PyTorchFile(path)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("beyond the storage", "reaches beyond its storage")]
    [InlineData("offset beyond the storage", "reaches beyond its storage")]
    [InlineData("repeated without end", "reaches beyond its storage")]
    [InlineData("overflowing", "too large")]
    [InlineData("overflowing but empty", "too large")]
    [InlineData("strides missing", "strides")]
    [InlineData("negative stride", "no whole number")]
    [InlineData("negative offset", "reaches beyond its storage")]
    [InlineData("too many dimensions", "17 dimensions")]
    [InlineData("storage beyond its record", "truncated")]
    [InlineData("storage without a record", "missing")]
    [InlineData("quantised storage", "a storage has the type torch.QInt8Storage, which cannot be read")]
    [InlineData("complex storage", "a storage has the type torch.ComplexFloatStorage, which cannot be read")]
    [InlineData("big-endian", "little-endian")]
    [InlineData("tensors in two places", "state_dict")]
    public void Tensors_that_cannot_be_are_refused(string fault, string mention)
    {
        var storage = new TorchStorage("0", "FloatStorage", 4, new byte[24]);
        var view = new TorchView("w", storage, 0, [2, 3], [3, 1]);
        view = fault switch
        {
            "beyond the storage" => view with { Shape = [3, 3] },
            "offset beyond the storage" => view with { Offset = 1 },
            "repeated without end" => view with { Shape = [1_000_000, 1_000_000], Strides = [0, 0] },
            "overflowing" => view with { Shape = [long.MaxValue, 4] },
            "overflowing but empty" => view with { Shape = [0, long.MaxValue, 4], Strides = [1, 1, 1] },
            "strides missing" => view with { Strides = [1] },
            "negative stride" => view with { Strides = [-3, 1] },
            "negative offset" => view with { Offset = -1 },
            "too many dimensions" => view with { Shape = [.. Enumerable.Repeat(1L, 17)], Strides = [.. Enumerable.Repeat(1L, 17)] },
            "storage beyond its record" => view with { Storage = storage with { Count = 7 } },
            "complex storage" => view with { Storage = storage with { Type = "ComplexFloatStorage" } },
            "quantised storage" => view with { Storage = storage with { Type = "QInt8Storage" } },
            _ => view,
        };
        byte[] pickle = TorchFile.StateDict([view]);
        if (fault == "tensors in two places")
        {
            var both = new PickleBytes();
            both.Begin();
            both.Raw((byte)'}');
            foreach (string key in new[] { "state_dict", "model" })
            {
                both.Text(key);
                both.Dictionary([view]);
                both.Raw((byte)'s');
            }
            pickle = both.End();
        }
        string path = folder.Write("a.bin", TorchFile.Of(pickle, fault == "storage without a record" ? [] : [storage], byteOrder: fault == "big-endian" ? "big" : "little"));
        Assert.Contains(mention, Refusal.Of(path, () => new PyTorchFile(path)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("../../etc/passwd")]
    [InlineData("/etc/passwd")]
    [InlineData("archive\\..\\data.pkl")]
    [InlineData("archive/../x")]
    public void Names_that_reach_out_of_the_archive_are_refused(string name)
    {
        string path = folder.Write("a.bin", TorchFile.Zip([("archive/data.pkl", [.. "}."u8]), (name, [1])]));
        Assert.Contains("reaches out", Refusal.Of(path, () => new PyTorchFile(path)), StringComparison.Ordinal);
    }

    [Fact]
    public void A_bomb_of_a_zip_file_is_not_unpacked()
    {
        using (FileStream stream = File.Create(folder["a.bin"]))
        using (var zip = new ZipArchive(stream, ZipArchiveMode.Create))
        {
            using (Stream pickle = zip.CreateEntry("archive/data.pkl", CompressionLevel.NoCompression).Open()) pickle.Write("}."u8);
            using Stream bomb = zip.CreateEntry("archive/data/0").Open();
            for (int i = 0; i < 64; i++) bomb.Write(new byte[1 << 20]);
        }
        long before = GC.GetTotalAllocatedBytes();
        Assert.Contains("compressed", Refusal.Of(folder["a.bin"], () => new PyTorchFile(folder["a.bin"])), StringComparison.Ordinal);
        Assert.True(GC.GetTotalAllocatedBytes() - before < 1 << 22, "memory was taken for it");
    }

    [Fact]
    public void Records_on_top_of_each_other_are_refused()
    {
        byte[] zip = TorchFile.Zip([("archive/data.pkl", [.. "}."u8]), ("archive/data/0", new byte[64]), ("archive/data/1", new byte[64])]);
        // The third record's place in the directory becomes the second one's, of the same length; the name in its own header then differs, so that is given too.
        int directory = zip.AsSpan().IndexOf("PK\u0001\u0002"u8), second = directory + 46 + "archive/data.pkl".Length, third = second + 46 + "archive/data/0".Length;
        zip.AsSpan(second + 42, 4).CopyTo(zip.AsSpan(third + 42));
        Assert.Contains("another name", Refused(zip), StringComparison.Ordinal);
        zip[third + 46 + "archive/data/1".Length - 1] = (byte)'0';
        Assert.Contains("twice", Refused(zip), StringComparison.Ordinal);
        byte[] longer = TorchFile.Zip([("archive/data.pkl", [.. "}."u8]), ("archive/data/0", new byte[64]), ("archive/data/1", new byte[64])]);
        longer[second + 20] = longer[second + 24] = 70;
        Assert.Contains("overlaps", Refused(longer), StringComparison.Ordinal);
    }

    [Fact]
    public void Older_formats_and_what_is_no_weight_file_are_called_by_name()
    {
        byte[] old = [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, .. ".\u0080\u0002M\u00e9\u0003."u8];
        Assert.Contains("PyTorch before 1.6", Refused(old), StringComparison.Ordinal);
        byte[] tar = new byte[1024];
        "ustar"u8.CopyTo(tar.AsSpan(257));
        Assert.Contains("tar file", Refused(tar), StringComparison.Ordinal);
        Assert.Contains("Git LFS pointer", Refused([.. "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"u8]), StringComparison.Ordinal);
        Assert.Contains("web page", Refused([.. "\n<!DOCTYPE html><html><body>Sign in</body></html>"u8]), StringComparison.Ordinal);
        Assert.Contains("begins with neither", Refused([]), StringComparison.Ordinal);
        Assert.Contains("begins with neither", Refused(new byte[100]), StringComparison.Ordinal);
        Assert.Contains("without data.pkl", Refused(TorchFile.Zip([("readme.txt", [1])])), StringComparison.Ordinal);
        Assert.Contains("2 records called data.pkl", Refused(TorchFile.Zip([("a/data.pkl", [.. "}."u8]), ("b/data.pkl", [.. "}."u8])])), StringComparison.Ordinal);
        Assert.Contains("TorchScript", Refused(TorchFile.Zip([("a/data.pkl", [.. "}."u8]), ("a/constants.pkl", [.. ")."u8])])), StringComparison.Ordinal);
        byte[] whole = TorchFile.Of([TorchFile.View("w", torch.ones([100]), "0")]);
        Assert.Contains("truncated", Refused(whole[..^1]), StringComparison.Ordinal);
        Assert.Contains("truncated", Refused(whole[..(whole.Length / 2)]), StringComparison.Ordinal);
    }

    [Fact]
    public void A_pickle_without_end_is_refused_before_it_is_read()
    {
        Assert.Contains("more than the 16,000,000 allowed", Refused(TorchFile.Zip([("archive/data.pkl", new byte[16_000_001])])), StringComparison.Ordinal);
        byte[] lists = new byte[15_000_000];
        Array.Fill(lists, (byte)']');
        Assert.Contains("2,000,000 instructions", Refused(TorchFile.Zip([("archive/data.pkl", lists)])), StringComparison.Ordinal);
    }

    private string Refused(byte[] content)
    {
        string path = folder.Write("a.bin", content);
        return Refusal.Of(path, () => new PyTorchFile(path));
    }

    private sealed class MatrixRowsReader(Permafrost.Formats.MatrixRows rows) : IDisposable
    {
        public float[] Row(long number)
        {
            using Tensor row = rows.Read([number]);
            return row.ToArray<float>();
        }

        public void Dispose() => rows.Dispose();
    }
}
