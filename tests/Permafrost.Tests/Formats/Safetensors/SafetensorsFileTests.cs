using System.Text;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;

namespace Permafrost.Tests.Formats.Safetensors;

/// <summary>What is written is read, bit by bit, and looks as the reference implementation's files do.</summary>
public class SafetensorsFileTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private static readonly ScalarType[] Types =
        [ScalarType.Byte, ScalarType.Int8, ScalarType.Int16, ScalarType.Int32, ScalarType.Int64, ScalarType.Float16, ScalarType.Float32, ScalarType.Float64, ScalarType.Bool, ScalarType.BFloat16];

    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void A_pointer_of_Git_LFS_is_called_that()
    {
        string path = folder.Write("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n");
        Assert.Contains("Git LFS pointer", Assert.Throws<PermafrostException>(() => new SafetensorsFile(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_made_by_hand_is_read()
    {
        string path = folder.Write("a.safetensors", SafetensorsBytes.Of(
            """{"b":{"dtype":"I16","shape":[2],"data_offsets":[4,8]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"__metadata__":{"format":"pt","x":"y"}}   """,
            0, 0, 0xC0, 0x3F, 1, 0, 0xFF, 0xFF));
        using var file = new SafetensorsFile(path);
        Assert.Equal(1.5f, Assert.Single(file.Read("a").ToArray<float>()));
        Assert.Equal(new short[] { 1, -1 }, file.Read("b").ToArray<short>());
        Assert.Equal("I16[2]", file.Entries["b"].ToString());
        Assert.Equal("y", file.Metadata["x"]);
        Assert.Equal(path, file.Path);
    }

    [Fact]
    public void A_written_file_has_the_bytes_of_the_reference_implementation()
    {
        string path = folder["a.safetensors"];
        SafetensorsWriter.Write(path, [KeyValuePair.Create("z", Tensors.From([1f])), KeyValuePair.Create("a", Tensors.From([true])), KeyValuePair.Create("b", Tensors.From([2f]))]);
        // The widest element type first, then by name; spaces up to a multiple of 8.
        string header = """{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"z":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},"a":{"dtype":"BOOL","shape":[1],"data_offsets":[8,9]}}""";
        byte[] expected = SafetensorsBytes.Of(header.PadRight((header.Length + 7) / 8 * 8), 0, 0, 0, 0x40, 0, 0, 0x80, 0x3F, 1);
        Assert.Equal(expected, File.ReadAllBytes(path));
    }

    [Fact]
    public void Every_type_survives_with_scalars_and_empty_tensors()
    {
        var tensors = new Dictionary<string, Tensor>();
        foreach (ScalarType dtype in Types)
        {
            foreach (long[] shape in new long[][] { [], [1], [0], [3], [2, 0, 3], [2, 3], [2, 1, 3, 1] })
            {
                byte[] bytes = [.. Enumerable.Range(0, (int)(shape.Aggregate(1L, (product, size) => product * size) * dtype.ElementBytes())).Select(i => (byte)(i % 2))];
                tensors[$"{dtype}{TensorExtensions.FormatShape(shape)}"] = Tensors.FromBytes(bytes, shape, dtype);
            }
        }
        CheckRoundTrip(tensors);
    }

    [Property]
    public Property Whatever_is_written_is_read()
    {
        char[] letters = ['a', 'B', '.', '/', '_', '"', '\\', '\n', '\0', 'é', '漢', ' '];
        Gen<string> names = Gen.Elements(letters).ArrayOf().Select(chars => new string(chars));
        Gen<(string Name, ScalarType Type, long[] Shape, int Seed)> tensors =
            from name in names
            from type in Gen.Elements(Types)
            from shape in Gen.Choose(0, 4).Select(size => (long)size).ArrayOf().Where(sizes => sizes.Length <= 5)
            from seed in Gen.Choose(0, int.MaxValue)
            select (name, type, shape, seed);
        return Prop.ForAll(tensors.ArrayOf().ToArbitrary(), specifications =>
        {
            using var inner = torch.NewDisposeScope();
            CheckRoundTrip(specifications.DistinctBy(one => one.Name).ToDictionary(one => one.Name, one => Make(one.Type, one.Shape, one.Seed)));
        });
    }

    [Fact]
    public void A_view_is_written_as_it_looks_and_a_gradient_does_not_matter()
    {
        Tensor tensor = Tensors.From([1f, 2, 3, 4, 5, 6], 2, 3);
        tensor.requires_grad = true;
        SafetensorsWriter.Write(folder["a"], [KeyValuePair.Create("t", tensor.transpose(0, 1)), KeyValuePair.Create("part", tensor.narrow(1, 1, 1))]);
        using var file = new SafetensorsFile(folder["a"]);
        Assert.Equal([1f, 4, 2, 5, 3, 6], file.Read("t").ToArray<float>());
        Assert.Equal([2f, 5], file.Read("part").ToArray<float>());
        Assert.False(file.Read("t").requires_grad);
    }

    [Fact]
    public void Metadata_survives_and_always_names_the_format()
    {
        SafetensorsWriter.Write(folder["a"], [], new Dictionary<string, string> { ["note"] = "line\nbreak \"quoted\" é", ["format"] = "other" });
        using var file = new SafetensorsFile(folder["a"]);
        Assert.Empty(file.Entries);
        Assert.Equal("line\nbreak \"quoted\" é", file.Metadata["note"]);
        Assert.Equal("pt", file.Metadata["format"]);
    }

    [Theory]
    [InlineData(0, true)]
    [InlineData(1, false)]  // a float at an odd address
    public void A_view_is_the_file_itself_where_its_elements_are_aligned(int spaces, bool held)
    {
        string header = """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""";
        header += new string(' ', (4 - header.Length % 4) % 4 + spaces);
        using var file = new SafetensorsFile(folder.Write("a.safetensors", SafetensorsBytes.Of(header, 0, 0, 0xC0, 0x3F, 0, 0, 0x80, 0x3F)));
        Assert.Equal(held, file.Holds(file.View("a")));
        Assert.Equal([1.5f, 1], file.View("a").ToArray<float>());
        Assert.Equal([3f, 2], (file.View("a") * 2).ToArray<float>());
        Assert.False(file.Holds(file.Read("a")));
        Assert.False(file.Holds(torch.ones([2])));
    }

    [Fact]
    public void Tensors_outlive_the_file_they_were_read_from()
    {
        SafetensorsWriter.Write(folder["a"], [KeyValuePair.Create("t", Tensors.From([1f, 2]))]);
        Tensor tensor;
        using (var file = new SafetensorsFile(folder["a"])) tensor = file.Read("t");
        File.Delete(folder["a"]);
        Assert.Equal([1f, 2], tensor.ToArray<float>());
    }

    [Fact]
    public void A_tensor_that_is_not_there_is_told_with_those_that_are()
    {
        string path = folder.Write("a.safetensors", SafetensorsBytes.Of("""{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}""", 1));
        using var file = new SafetensorsFile(path);
        Assert.Contains("it has x", Refusal.Of(path, () => file.Read("y")), StringComparison.Ordinal);
    }

    [Fact]
    public void A_known_type_that_nothing_here_holds_is_listed_but_not_read()
    {
        string path = folder.Write("a.safetensors", SafetensorsBytes.Of("""{"x":{"dtype":"U16","shape":[1],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}""", 1, 2, 3));
        using var file = new SafetensorsFile(path);
        Assert.Null(file.Entries["x"].ElementType);
        Assert.Contains("U16", Refusal.Of(path, () => file.Read("x")), StringComparison.Ordinal);
        Assert.Equal(3, file.Read("y").Integer());
    }

    [Fact]
    public void A_file_that_cannot_be_written_is_told_and_leaves_nothing()
    {
        string path = folder["no", "a.safetensors"];
        Refusal.Of(path, () => SafetensorsWriter.Write(path, [KeyValuePair.Create("t", Tensors.From([1f]))]));
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
    }

    private void CheckRoundTrip(IReadOnlyDictionary<string, Tensor> tensors)
    {
        string path = folder["round-trip.safetensors"];
        SafetensorsWriter.Write(path, tensors);
        byte[] bytes = File.ReadAllBytes(path);
        Assert.Equal(0, BitConverter.ToInt64(bytes) % 8);
        Assert.StartsWith("{\"__metadata__\":{\"format\":\"pt\"}", Encoding.UTF8.GetString(bytes[8..40]), StringComparison.Ordinal);
        using var file = new SafetensorsFile(path);
        Assert.Equal(tensors.Keys.Order(StringComparer.Ordinal), file.Entries.Keys.Order(StringComparer.Ordinal));
        foreach ((string name, Tensor tensor) in tensors)
        {
            Tensor read = file.Read(name);
            Assert.Equal((tensor.dtype, tensor.ToString()), (read.dtype, read.ToString()));
            Assert.Equal(tensor.ToBytes(), read.ToBytes());
        }
    }

    private static Tensor Make(ScalarType type, long[] shape, int seed)
    {
        var bytes = new byte[shape.Aggregate(1L, (product, size) => product * size) * type.ElementBytes()];
        new System.Random(seed).NextBytes(bytes);
        if (type == ScalarType.Bool) for (int i = 0; i < bytes.Length; i++) bytes[i] &= 1;
        return Tensors.FromBytes(bytes, shape, type);
    }
}
