using System.Text;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;

namespace Permafrost.Tests.Formats.Safetensors;

/// <summary>Files from elsewhere are hostile: each of these ends in one sentence that names the file, and none crashes.</summary>
public class SafetensorsHostileTests : IDisposable
{
    private const string Whole = """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""";

    private readonly TemporaryFolder folder = new();

    public void Dispose()
    {
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    private static string Entry(string dtype = "\"F32\"", string shape = "[1]", string offsets = "[0,4]") => $$$"""{"a":{"dtype":{{{dtype}}},"shape":{{{shape}}},"data_offsets":{{{offsets}}}}}""";

    private static readonly Dictionary<string, byte[]> Files = new()
    {
        ["empty"] = [],
        ["seven bytes"] = new byte[7],
        ["header beyond the file"] = [.. SafetensorsBytes.Length(9), .. "{}      "u8],
        ["header of 100,000,001 bytes"] = [.. SafetensorsBytes.Length(100_000_001), .. "{}"u8],
        ["header of 2^63 bytes"] = [.. SafetensorsBytes.Length(1UL << 63), .. "{}"u8],
        ["header of 2^64 - 1 bytes"] = [.. SafetensorsBytes.Length(ulong.MaxValue), .. "{}"u8],
        ["no header at all"] = SafetensorsBytes.Length(0),
        ["not JSON"] = SafetensorsBytes.Of("this is no JSON"),
        ["JSON cut off"] = SafetensorsBytes.Of(Whole[..^1], new byte[4]),
        ["JSON array"] = SafetensorsBytes.Of("[1,2]"),
        ["JSON number"] = SafetensorsBytes.Of("12345"),
        ["two JSON values"] = SafetensorsBytes.Of("{}{}"),
        ["nested without end"] = SafetensorsBytes.Of(new string('[', 50_000)),
        ["objects nested without end"] = SafetensorsBytes.Of(string.Concat(Enumerable.Repeat("{\"a\":", 50_000))),
        ["no UTF-8 in a name"] = [.. SafetensorsBytes.Length((ulong)Whole.Length), .. Encoding.Latin1.GetBytes(Whole.Replace('a', 'é')), 0, 0, 0, 0],
        ["half a surrogate pair as a name"] = SafetensorsBytes.Of(Whole.Replace("\"a\"", "\"\\ud800\"", StringComparison.Ordinal), new byte[4]),
        ["half a surrogate pair as a type"] = SafetensorsBytes.Of(Entry(dtype: "\"\\ud800\""), new byte[4]),
        ["name given twice"] = SafetensorsBytes.Of("""{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}""", 1, 2),
        ["entry is a number"] = SafetensorsBytes.Of("""{"a":5}"""),
        ["entry is null"] = SafetensorsBytes.Of("""{"a":null}"""),
        ["no dtype"] = SafetensorsBytes.Of("""{"a":{"shape":[1],"data_offsets":[0,4]}}""", new byte[4]),
        ["no shape"] = SafetensorsBytes.Of("""{"a":{"dtype":"F32","data_offsets":[0,4]}}""", new byte[4]),
        ["no offsets"] = SafetensorsBytes.Of("""{"a":{"dtype":"F32","shape":[1]}}""", new byte[4]),
        ["dtype is a number"] = SafetensorsBytes.Of(Entry(dtype: "6"), new byte[4]),
        ["unknown dtype"] = SafetensorsBytes.Of(Entry(dtype: "\"F31\""), new byte[4]),
        ["lower-case dtype"] = SafetensorsBytes.Of(Entry(dtype: "\"f32\""), new byte[4]),
        ["shape is a number"] = SafetensorsBytes.Of(Entry(shape: "1"), new byte[4]),
        ["shape of texts"] = SafetensorsBytes.Of(Entry(shape: "[\"1\"]"), new byte[4]),
        ["shape of lists over two lines"] = SafetensorsBytes.Of(Entry(shape: "[[1,\n1]]"), new byte[4]),
        ["negative size"] = SafetensorsBytes.Of(Entry(shape: "[-1]"), new byte[4]),
        ["two negative sizes"] = SafetensorsBytes.Of(Entry(shape: "[-1,-1]"), new byte[4]),
        ["fractional size"] = SafetensorsBytes.Of(Entry(shape: "[1.5]"), new byte[4]),
        ["size of 2^64"] = SafetensorsBytes.Of(Entry(shape: "[18446744073709551616]"), new byte[4]),
        ["size of 1e300"] = SafetensorsBytes.Of(Entry(shape: "[1e300]"), new byte[4]),
        ["shape that overflows to 0"] = SafetensorsBytes.Of(Entry(shape: "[4294967296,4294967296]", offsets: "[0,0]")),
        ["shape that overflows to 4 bytes"] = SafetensorsBytes.Of(Entry(shape: "[4611686018427387905]"), new byte[4]),
        ["1,000 dimensions"] = SafetensorsBytes.Of(Entry(shape: "[" + string.Join(",", Enumerable.Repeat("1", 1000)) + "]"), new byte[4]),
        ["one offset"] = SafetensorsBytes.Of(Entry(offsets: "[4]"), new byte[4]),
        ["three offsets"] = SafetensorsBytes.Of(Entry(offsets: "[0,4,4]"), new byte[4]),
        ["negative offset"] = SafetensorsBytes.Of(Entry(offsets: "[-4,0]"), new byte[4]),
        ["fractional offset"] = SafetensorsBytes.Of(Entry(offsets: "[0,4.5]"), new byte[4]),
        ["offset as text"] = SafetensorsBytes.Of(Entry(offsets: "[\"0\",4]"), new byte[4]),
        ["offsets the wrong way round"] = SafetensorsBytes.Of(Entry(offsets: "[4,0]"), new byte[4]),
        ["offsets near 2^63"] = SafetensorsBytes.Of(Entry(offsets: "[9223372036854775803,9223372036854775807]"), new byte[4]),
        ["too few bytes for the shape"] = SafetensorsBytes.Of(Entry(shape: "[2]"), new byte[4]),
        ["too many bytes for the shape"] = SafetensorsBytes.Of(Entry(offsets: "[0,8]"), new byte[8]),
        ["overlap"] = SafetensorsBytes.Of("""{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}""", 1, 2, 3),
        ["the same bytes twice"] = SafetensorsBytes.Of("""{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}""", 1, 2),
        ["hole at the start"] = SafetensorsBytes.Of(Entry(offsets: "[1,5]"), new byte[5]),
        ["hole in the middle"] = SafetensorsBytes.Of("""{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}""", 1, 2, 3),
        ["bytes after the last tensor"] = SafetensorsBytes.Of(Whole, new byte[5]),
        ["bytes and no tensor"] = SafetensorsBytes.Of("{}", 1),
        ["data cut off"] = SafetensorsBytes.Of(Whole, new byte[3]),
        ["no data"] = SafetensorsBytes.Of(Whole),
        ["metadata is a number"] = SafetensorsBytes.Of("""{"__metadata__":1}"""),
        ["metadata holds a number"] = SafetensorsBytes.Of("""{"__metadata__":{"a":1}}"""),
        ["a name with a line break and an escape"] = SafetensorsBytes.Of("""{"a\n\u001b[31m":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}""", new byte[4]),
        ["a type with a line break"] = SafetensorsBytes.Of(Entry(dtype: "\"F\\n32\""), new byte[4]),
        ["a metadata key with a line break"] = SafetensorsBytes.Of("""{"__metadata__":{"a\nb":1}}"""),
    };

    public static TheoryData<string> Names() => [.. Files.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void A_malformed_file_is_refused_in_one_line_that_names_it(string what)
    {
        string path = folder.Write("hostile.safetensors", Files[what]);
        Refusal.Of(path, () => SafetensorsBytes.ReadAll(path));
    }

    [Fact]
    public void A_missing_file_and_a_folder_are_told()
    {
        Assert.Contains("does not exist", Refusal.Of(folder["no"], () => SafetensorsBytes.ReadAll(folder["no"])), StringComparison.Ordinal);
        Refusal.Of(folder.Path, () => SafetensorsBytes.ReadAll(folder.Path));
    }

    [Theory]
    [InlineData("[0,4611686018427387904,4611686018427387904]")]
    [InlineData("[4611686018427387904,0]")]
    [InlineData("[0,9223372036854775807]")]
    public void An_empty_tensor_with_a_huge_size_is_read_or_refused(string shape)
    {
        string path = folder.Write("hostile.safetensors", SafetensorsBytes.Of(Entry(shape: shape, offsets: "[0,0]")));
        Exception? error = Record.Exception(() => SafetensorsBytes.ReadAll(path));
        Assert.True(error is null or PermafrostException, $"{error}");
    }

    [Fact]
    public void The_unharmed_file_is_read()
    {
        string path = folder.Write("whole.safetensors", SafetensorsBytes.Of(Whole, new byte[4]));
        SafetensorsBytes.ReadAll(path);
    }

    [Fact]
    public void Two_thousand_random_mutations_throw_nothing_else()
    {
        string path = folder["fuzz.safetensors"];
        using (torch.NewDisposeScope())
        {
            SafetensorsWriter.Write(path, new Dictionary<string, Tensor>
            {
                ["w"] = Tensors.From([1f, 2, 3, 4, 5, 6], 2, 3),
                ["ids"] = Tensors.From([1L, 2]),
                ["mask"] = Tensors.From([true, false]),
                ["scalar"] = Tensors.Scalar((Half)1),
                ["none"] = torch.zeros([0, 4]),
            }, new Dictionary<string, string> { ["note"] = "x" });
        }
        byte[] whole = File.ReadAllBytes(path);
        int header = (int)BitConverter.ToInt64(whole);
        var random = new Random(1);
        int read = 0;
        for (int round = 0; round < 2000; round++)
        {
            List<byte> bytes = [.. whole];
            for (int change = random.Next(1, 5); change > 0; change--) Mutate(bytes, header, random);
            File.WriteAllBytes(path, [.. bytes]);
            Exception? error = Record.Exception(() => SafetensorsBytes.ReadAll(path));
            Assert.True(error is null or PermafrostException, $"round {round}: {error}\n{Convert.ToHexString([.. bytes])}");
            if (error is null) read++;
            else Assert.Contains(path, error.Message, StringComparison.Ordinal);
        }
        // Changes in the data or in spaces do no harm; most others must be seen.
        Assert.InRange(read, 1, 1000);
    }

    // Mostly in the header, where the harm is; digits stay digits often enough to reach the later checks.
    private static void Mutate(List<byte> bytes, int header, Random random)
    {
        if (bytes.Count == 0) return;
        int at = random.Next(10) == 0 ? random.Next(bytes.Count) : Math.Min(bytes.Count - 1, random.Next(8 + header));
        switch (random.Next(6))
        {
            case 0: bytes[at] = (byte)random.Next(256); break;
            case 1: bytes[at] ^= (byte)(1 << random.Next(8)); break;
            case 2: bytes.RemoveRange(at, Math.Min(random.Next(1, 20), bytes.Count - at)); break;
            case 3: bytes.InsertRange(at, bytes.GetRange(at, Math.Min(random.Next(1, 40), bytes.Count - at))); break;
            case 4: bytes.RemoveRange(at, bytes.Count - at); break;
            default:
                int[] digits = [.. Enumerable.Range(8, Math.Max(0, Math.Min(header, bytes.Count - 8))).Where(i => char.IsAsciiDigit((char)bytes[i]))];
                if (digits.Length > 0) bytes[digits[random.Next(digits.Length)]] = (byte)"0123456789-.e"[random.Next(13)];
                break;
        }
    }
}
