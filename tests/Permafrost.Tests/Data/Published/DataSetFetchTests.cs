using System.Formats.Tar;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using Permafrost.Data;
using Permafrost.Data.Published;
using Permafrost.Formats;
using Permafrost.Formats.Web;

namespace Permafrost.Tests.Data.Published;

/// <summary>Data sets whose checksums nobody has published, and archives: fetched, unpacked, recorded, checked; from servers that behave, and servers that do not.</summary>
public sealed class DataSetFetchTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly RangeServer server = new();

    private string Home => folder["data", "set"];

    public void Dispose()
    {
        server.Dispose();
        folder.Dispose();
    }

    [Fact]
    public async Task What_has_no_checksum_is_recorded_at_the_first_download_and_held_to_it()
    {
        server.Files["train.csv"] = "1,one\n"u8.ToArray();
        PublishedDataSet set = Set(Kept("train.csv"));
        Assert.Equal([("train.csv", "missing")], set.Verify(Home));
        Assert.Null(set.Checksums(null)[0].Sha256);
        await FetchAsync(set);
        string hash = Hash(server.Files["train.csv"]);
        Assert.Equal(["SHA256SUMS", "train.csv"], Names());
        string[] record = File.ReadAllLines(Path.Combine(Home, "SHA256SUMS"));
        Assert.Equal([$"# fetched train.csv 6 {hash} {server.Address}/train.csv", $"{hash}  train.csv"], record);
        Assert.Equal([("train.csv", "unchanged")], set.Verify(Home));
        Assert.Equal((hash, false), (set.Checksums(Home)[0].Sha256, set.Checksums(Home)[0].IsPublished));

        // Nothing is wrong, so nothing is asked for.
        await FetchAsync(set);
        Assert.Single(server.Requests);

        File.WriteAllText(Path.Combine(Home, "train.csv"), "1,two\n");
        Assert.Equal([("train.csv", "different")], set.Verify(Home));
        await FetchAsync(set);
        Assert.Equal([("train.csv", "unchanged")], set.Verify(Home));

        // The server has another file now: who fetches it again is told.
        File.Delete(Path.Combine(Home, "train.csv"));
        server.Files["train.csv"] = "1,three\n"u8.ToArray();
        PermafrostException refused = await Assert.ThrowsAsync<PermafrostException>(() => FetchAsync(set));
        Assert.Contains(hash, refused.Message, StringComparison.Ordinal);
        Assert.Contains("SHA256SUMS", refused.Message, StringComparison.Ordinal);
        Assert.Equal(["SHA256SUMS"], Names());
    }

    [Fact]
    public async Task What_a_user_has_put_there_is_used_and_not_overwritten()
    {
        folder.Write(Path.Combine("data", "set", "train.csv"), "own");
        folder.Write(Path.Combine("data", "set", "inner", "a"), "own");
        PublishedDataSet set = Set(Kept("train.csv"), Packed("set.zip", new ArchivePart("inner/", "inner/")));
        Assert.Equal([("train.csv", "unchecked"), ("inner", "unchecked")], set.Verify(Home));
        await FetchAsync(set);
        Assert.Empty(server.Requests);
        Assert.Equal("own", File.ReadAllText(Path.Combine(Home, "train.csv")));
    }

    [Theory]
    [InlineData("set.zip")]
    [InlineData("set.tar.gz")]
    public async Task Archives_are_unpacked_as_far_as_they_are_wanted(string name)
    {
        (string, string)[] entries = [("release/tables/a.tsv", "a"), ("release/pages/one.txt", "1"), ("release/pages/deep/two.txt", "2"), ("release/other.txt", "no")];
        server.Files[name] = name.EndsWith(".zip", StringComparison.Ordinal) ? Zip(entries) : TarGz(entries);
        PublishedDataSet set = Set(Packed(name, new ArchivePart("tables/a.tsv", "b.tsv"), new ArchivePart("pages/", "inner/")));
        Assert.Equal([("b.tsv", "missing"), ("inner", "missing")], set.Verify(Home));
        await FetchAsync(set);
        Assert.Equal(["SHA256SUMS", "b.tsv", "inner/deep/two.txt", "inner/one.txt"], Names());
        Assert.Equal("2", File.ReadAllText(Path.Combine(Home, "inner", "deep", "two.txt")));
        Assert.Equal([("b.tsv", "unchanged"), ("inner", "unchanged")], set.Verify(Home));
        Assert.Equal(Hash(server.Files[name]), set.Checksums(Home)[0].Sha256);

        File.Delete(Path.Combine(Home, "inner", "one.txt"));
        Assert.Equal([("b.tsv", "unchanged"), ("inner", "missing")], set.Verify(Home));
        await FetchAsync(set);
        Assert.Equal([("b.tsv", "unchanged"), ("inner", "unchanged")], set.Verify(Home));
        Assert.Equal(2, server.Requests.Length);
    }

    [Theory]
    [InlineData("a way out", "would not stay in its folder")]
    [InlineData("no such part", "holds no tables/a.tsv")]
    [InlineData("damaged", "damaged")]
    [InlineData("cut", "damaged")]
    [InlineData("no archive", "no .zip or .tar.gz")]
    [InlineData("a page", "a page for browsers")]
    [InlineData("empty", "is empty")]
    [InlineData("not there", "404")]
    public async Task What_is_not_the_archive_is_refused_and_nothing_is_kept(string what, string reason)
    {
        byte[] good = TarGz(("tables/a.tsv", new string('a', 5000)), ("z", Convert.ToHexString(RandomBytes(4000))));
        byte[] damaged = [.. good];
        damaged[damaged.Length / 2] ^= 0xff;
        if (what != "not there") server.Files["set.tar.gz"] = what switch
        {
            "a way out" => TarGz(("tables/../../../../gone/a.tsv", "a")),
            "no such part" => TarGz(("tables/b.tsv", "b")),
            "damaged" => damaged,
            "cut" => good[..(good.Length / 2)],
            "no archive" => RandomBytes(5000),
            "a page" => "\n <!doctype html><html>login, please</html>"u8.ToArray(),
            _ => [],
        };
        PublishedDataSet set = what == "a way out" ? Set(Packed("set.tar.gz", new ArchivePart("tables/", "x/"))) : Set(Packed("set.tar.gz", new ArchivePart("tables/a.tsv", "a.tsv"), new ArchivePart("z", "z")));
        PermafrostException refused = await Assert.ThrowsAsync<PermafrostException>(() => FetchAsync(set));
        Assert.Contains($"{server.Address}/set.tar.gz", refused.Message, StringComparison.Ordinal);
        Assert.Contains(reason, refused.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(folder.Path, "*", SearchOption.AllDirectories));
        Assert.False(Directory.Exists(Home));
    }

    [Fact]
    public async Task A_connection_that_breaks_off_goes_on_where_it_was()
    {
        byte[] content = RandomBytes(300_000);
        server.Files["set.bin"] = content;
        server.CutAt = number => number < 2 ? 100_000 : null;
        await FetchAsync(Set(Kept("set.bin") with { Sha256 = Hash(content), Bytes = content.Length }));
        Assert.Equal([("set.bin", 0), ("set.bin", 100_000), ("set.bin", 200_000)], server.Requests);
        Assert.Equal(["set.bin"], Names());
        Assert.Equal(content, File.ReadAllBytes(Path.Combine(Home, "set.bin")));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_a_stopped_fetch_left_is_gone_on_with_where_the_end_can_be_checked(bool isSpoilt)
    {
        byte[] content = RandomBytes(3 << 20);
        server.Files["set.bin"] = content;
        server.CutAt = number => number == 0 ? 2 << 20 : 0;
        PublishedDataSet set = Set(Kept("set.bin") with { Sha256 = Hash(content), Bytes = content.Length });
        PermafrostException stopped = await Assert.ThrowsAsync<PermafrostException>(() => FetchAsync(set));
        Assert.Contains("what came is kept", stopped.Message, StringComparison.Ordinal);
        Assert.Equal(["set.bin.incomplete"], Names());
        string partial = Path.Combine(Home, "set.bin.incomplete");
        if (isSpoilt) File.WriteAllBytes(partial, RandomBytes(1000));
        long here = new FileInfo(partial).Length;
        int before = server.Requests.Length;
        server.CutAt = _ => null;
        await FetchAsync(set);
        Assert.Equal(here, server.Requests[before].From);
        Assert.Equal(isSpoilt ? 2 : 1, server.Requests.Length - before);
        Assert.Equal(["set.bin"], Names());
        Assert.Equal([("set.bin", "ok")], set.Verify(Home));
    }

    [Fact]
    public async Task Several_that_fetch_the_same_wait_for_each_other()
    {
        server.Files["set.zip"] = Zip(("inner/a", "a"), ("inner/b", "b"));
        server.Delay = TimeSpan.FromMilliseconds(200);
        PublishedDataSet set = Set(Packed("set.zip", new ArchivePart("inner/", "inner/")));
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => FetchAsync(set))));
        Assert.Single(server.Requests);
        Assert.Equal(["SHA256SUMS", "inner/a", "inner/b"], Names());
        Assert.Equal([Home], Directory.GetFileSystemEntries(folder["data"]));
    }

    [Fact]
    public void Every_data_set_says_where_it_is_from_and_what_may_be_done_with_it()
    {
        Assert.Equal(PublishedDataSets.All.Count, PublishedDataSets.All.Select(set => set.Name).Distinct().Count());
        Assert.All(PublishedDataSets.All.Append(PublishedDataSets.Find("ucr/FordA")!), set =>
        {
            Assert.NotEmpty(set.Files);
            Assert.False(string.IsNullOrWhiteSpace(set.Licence));
            Assert.Equal(set.Files.Count, set.Files.Select(file => file.Name).Distinct().Count());
            Assert.All(set.Files, file =>
            {
                Assert.True(Uri.TryCreate(file.Address, UriKind.Absolute, out Uri? address) && address.Scheme is "http" or "https", file.Address);
                if (file.Sha256 is not null) Assert.Matches("^[0-9a-f]{64}$", file.Sha256);
            });
            Assert.All(set.Tasks, task => Assert.Equal(set, PublishedDataSets.Find(task)));
        });
        Assert.Null(PublishedDataSets.Find("gpt2"));
        Assert.Equal("ag_news", PublishedDataSets.Find("ag-news")!.Name);
        Refusal.OfUsage("ucr/../../etc", () => PublishedDataSets.Find("ucr/../../etc"));
    }

    [Fact]
    public void Checksums_are_those_of_the_files_that_lie_beside_the_project()
    {
        if (Environment.GetEnvironmentVariable("PERMAFROST_DATA") is not { Length: > 0 } data || !Directory.Exists(data)) Assert.Skip("PERMAFROST_DATA names no folder of data sets");
        foreach (string name in new[] { "cogs", "ag_news", "timeseries" })
        {
            string own = Path.Combine(Environment.GetEnvironmentVariable("PERMAFROST_DATA")!, name);
            if (!Directory.Exists(own)) continue;
            PublishedDataSet set = PublishedDataSets.Find(name)!;
            Assert.All(set.Verify(own).Zip(set.Files), row => Assert.Equal(row.Second.Sha256 is null ? "missing" : "ok", row.First.Verdict));
        }
    }

    private static PublishedDataSet Set(params PublishedFile[] files) => new("set", "a set", "none stated", files);

    private PublishedFile Kept(string name) => new(name, $"{server.Address}/{name}");

    private PublishedFile Packed(string name, params ArchivePart[] parts) => Kept(name) with { Parts = parts };

    private Task FetchAsync(PublishedDataSet set) =>
        set.FetchAsync(Home, null, new WebPatience { Delay = TimeSpan.FromMilliseconds(1), Silence = TimeSpan.FromSeconds(20) }, null, TestContext.Current.CancellationToken);

    private string[] Names() => [.. Directory.GetFiles(Home, "*", SearchOption.AllDirectories).Select(path => Path.GetRelativePath(Home, path)).Order(StringComparer.Ordinal)];

    private static string Hash(byte[] content) => Convert.ToHexStringLower(SHA256.HashData(content));

    private static byte[] RandomBytes(int count)
    {
        var random = new CounterRandom("bytes", 0, count);
        var bytes = new byte[count];
        for (int i = 0; i < count; i++) bytes[i] = (byte)random.Next(256);
        return bytes;
    }

    private static byte[] Zip(params (string Name, string Text)[] entries)
    {
        using var stream = new MemoryStream();
        using (var zip = new ZipArchive(stream, ZipArchiveMode.Create, leaveOpen: true))
        {
            foreach ((string name, string text) in entries)
            {
                using Stream entry = zip.CreateEntry(name).Open();
                entry.Write(Encoding.UTF8.GetBytes(text));
            }
        }
        return stream.ToArray();
    }

    private static byte[] TarGz(params (string Name, string Text)[] entries)
    {
        using var stream = new MemoryStream();
        using (var packed = new GZipStream(stream, CompressionLevel.Fastest, leaveOpen: true))
        using (var tar = new TarWriter(packed, TarEntryFormat.Pax))
        {
            tar.WriteEntry(new PaxTarEntry(TarEntryType.Directory, "release/"));
            tar.WriteEntry(new PaxTarEntry(TarEntryType.SymbolicLink, "release/link") { LinkName = "/etc/passwd" });
            foreach ((string name, string text) in entries)
                tar.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, name) { DataStream = new MemoryStream(Encoding.UTF8.GetBytes(text)) });
        }
        return stream.ToArray();
    }
}
