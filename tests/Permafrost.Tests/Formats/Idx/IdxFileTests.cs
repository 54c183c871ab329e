using System.IO.Compression;
using Permafrost.Formats.Idx;

namespace Permafrost.Tests.Formats.Idx;

/// <summary>IDX files, whole and broken.</summary>
public class IdxFileTests : IDisposable
{
    // 2 entries of 2x3: magic 00 00 08 03, three big-endian sizes, twelve bytes.
    private static readonly byte[] Good = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255];

    private readonly TemporaryFolder folder = new();

    public void Dispose()
    {
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [InlineData("plain-idx3-ubyte", false)]
    [InlineData("packed-idx3-ubyte.gz", true)]
    [InlineData("PACKED.GZ", true)]
    // The content decides, not the name: browsers and mirrors unpack files, or rename them.
    [InlineData("plain-idx3-ubyte.gz", false)]
    [InlineData("packed-idx3-ubyte", true)]
    public void Plain_and_packed_files_are_read(string name, bool packed)
    {
        IdxFile file = IdxFile.Read(folder.Write(name, packed ? Pack(Good) : Good));
        Assert.Equal([2, 2, 3], file.Shape);
        Assert.Equal(Good[16..], file.Data);
    }

    [Fact]
    public void A_list_has_entries_of_one_byte()
    {
        IdxFile file = IdxFile.Read(folder.Write("labels", [0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]));
        Assert.Equal([3], file.Shape);
        Assert.Equal([7, 8, 9], file.Data);
    }

    public static TheoryData<string, byte[]> Broken() => new()
    {
        { "empty", [] },
        { "ends within the magic number", Good[..3] },
        { "ends within the sizes", Good[..14] },
        { "ends within the data", Good[..^1] },
        { "has no data at all", Good[..16] },
        { "one byte too many", [.. Good, 0] },
        { "starts with something else", [1, .. Good[1..]] },
        { "PNG", [0x89, 0x50, 0x4e, 0x47, 0, 0, 0, 0] },
        { "floats (type 0x0d)", [0, 0, 0x0d, .. Good[3..]] },
        { "no dimension", [0, 0, 8, 0] },
        { "255 dimensions", [0, 0, 8, 255, .. Good[4..]] },
        { "a size of zero", [0, 0, 8, 1, 0, 0, 0, 0] },
        { "a negative size", [0, 0, 8, 1, 0xff, 0xff, 0xff, 0xff, 1] },
        { "claims 2 GB and has 1 byte", [0, 0, 8, 1, 0x7f, 0xff, 0xff, 0xff, 1] },
        { "claims more than all memory", [0, 0, 8, 3, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 1] },
    };

    [Theory]
    [MemberData(nameof(Broken))]
    public void Broken_files_are_refused_plain_and_packed(string what, byte[] content)
    {
        Assert.NotEmpty(what);
        string plain = folder.Write("broken", content);
        Refusal.Of(plain, () => IdxFile.Read(plain));
        string packed = folder.Write("broken.gz", Pack(content));
        Refusal.Of(packed, () => IdxFile.Read(packed));
    }

    [Fact]
    public void A_corrupt_or_cut_off_gzip_file_is_refused()
    {
        byte[] packed = Pack(Good);
        string path = folder["x.gz"];
        for (int length = 0; length < packed.Length; length++)
        {
            // The last 8 bytes are checksum and length, those before them an end mark: without them the data is whole, and may be taken.
            folder.Write("x.gz", packed[..length]);
            Exception? error = Record.Exception(() => Assert.Equal(Good[16..], IdxFile.Read(path).Data));
            if (length < packed.Length - 10) Assert.IsType<PermafrostException>(error);
            else Assert.True(error is null or PermafrostException, $"{length}: {error}");
        }
        byte[] flipped = [.. packed];
        for (int i = 10; i < packed.Length; i++)
        {
            flipped[i] ^= 0x55;
            folder.Write("x.gz", flipped);
            Exception? error = Record.Exception(() => Assert.Equal(Good[16..], IdxFile.Read(path).Data));
            Assert.True(error is null or PermafrostException, $"byte {i}: {error}");
            flipped[i] ^= 0x55;
        }
    }

    [Fact]
    public void A_missing_file_and_a_folder_are_told()
    {
        Assert.Contains("does not exist", Refusal.Of(folder["no"], () => IdxFile.Read(folder["no"])), StringComparison.Ordinal);
        Assert.Contains("does not exist", Refusal.Of(folder["no", "x.gz"], () => IdxFile.Read(folder["no", "x.gz"])), StringComparison.Ordinal);
        Refusal.Of(folder.Path, () => IdxFile.Read(folder.Path));
    }

    internal static byte[] Pack(byte[] content)
    {
        var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Optimal)) gzip.Write(content);
        return packed.ToArray();
    }
}
