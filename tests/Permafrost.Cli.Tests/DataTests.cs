using System.IO.Compression;
using System.Text.Json.Nodes;

namespace Permafrost.Cli.Tests;

/// <summary>`data`: listing, checking and fetching, from servers that behave and servers that do not.</summary>
public class DataTests
{
    [Fact]
    public void Verify_knows_the_published_files()
    {
        CliResult result = Cli.Run("data", "verify", "mnist", "--data", MnistFiles.Folder).Succeeded();
        Assert.Equal(MnistFiles.All.Select(name => $"ok         {Path.Combine(MnistFiles.Folder, name)}"), result.Lines);
    }

    [Theory]
    [InlineData("flipped")]
    [InlineData("truncated")]
    [InlineData("missing")]
    [InlineData("another file")]
    [InlineData("empty")]
    public void Verify_sees_damage(string damage)
    {
        using var scratch = new Scratch();
        string folder = MnistFiles.Linked(scratch);
        byte[] content = File.ReadAllBytes(Path.Combine(folder, MnistFiles.TestLabels));
        if (damage == "flipped") content[content.Length / 2] ^= 1;
        MnistFiles.Replace(folder, MnistFiles.TestLabels, damage switch
        {
            "flipped" => content,
            "truncated" => content[..(content.Length / 2)],
            "another file" => File.ReadAllBytes(Path.Combine(MnistFiles.Folder, MnistFiles.TrainLabels)),
            "empty" => [],
            _ => null,
        });

        CliResult result = Cli.Run("data", "verify", "mnist", "--data", folder, "--json");
        result.Failed(1, folder, "permafrost data fetch mnist");
        Assert.False((bool)result.Json["ok"]!);
        JsonObject files = result.Json["files"]!.AsObject();
        Assert.Equal(4, files.Count);
        foreach ((string name, JsonNode? verdict) in files)
        {
            if (name != MnistFiles.TestLabels) Assert.Equal("ok", (string?)verdict);
            else Assert.Contains((string?)verdict, damage == "missing" ? ["missing"] : damage == "another file" ? ["different"] : new[] { "damaged", "different" });
        }
    }

    [Fact]
    public void Verify_accepts_unpacked_files()
    {
        using var scratch = new Scratch();
        string folder = MnistFiles.Linked(scratch);
        using (var packed = new GZipStream(File.OpenRead(Path.Combine(folder, MnistFiles.TestLabels)), CompressionMode.Decompress))
        using (FileStream plain = File.Create(Path.Combine(folder, MnistFiles.TestLabels[..^3]))) packed.CopyTo(plain);
        File.Delete(Path.Combine(folder, MnistFiles.TestLabels));
        Assert.True((bool)Cli.Run("data", "verify", "mnist", "--data", folder, "--json").Succeeded().Json["ok"]!);
    }

    [Theory]
    [InlineData("plain, called .gz")]
    [InlineData("packed, without .gz")]
    [InlineData("plain, without .gz")]
    public void Files_are_told_by_their_content(string what)
    {
        using var scratch = new Scratch();
        string folder = scratch["data", "mnist"];
        Directory.CreateDirectory(scratch["data"]);
        Directory.Move(MnistFiles.Linked(scratch), folder);
        byte[] packed = File.ReadAllBytes(Path.Combine(folder, MnistFiles.TestLabels));
        using var plain = new MemoryStream();
        using (var unpacked = new GZipStream(new MemoryStream(packed), CompressionMode.Decompress)) unpacked.CopyTo(plain);
        MnistFiles.Replace(folder, MnistFiles.TestLabels, null);
        string name = what.EndsWith("called .gz", StringComparison.Ordinal) ? MnistFiles.TestLabels : MnistFiles.TestLabels[..^3];
        File.WriteAllBytes(Path.Combine(folder, name), what.StartsWith("plain", StringComparison.Ordinal) ? plain.ToArray() : packed);
        JsonObject verified = Cli.Run("data", "verify", "mnist", "--data", folder, "--json").Succeeded().Json;
        Assert.Equal("ok", (string?)verified["files"]![name]);
        // Nothing is missing, so nothing is asked for.
        Assert.Equal([folder], Cli.Run(Home(scratch), "data", "fetch", "mnist", "--from", "http://127.0.0.1:1").Succeeded().Lines);
    }

    [Fact]
    public void Fetch_keeps_what_a_good_server_sends()
    {
        using var scratch = new Scratch();
        // Looked for here: a skip on the server's thread would be lost.
        string real = MnistFiles.Folder;
        using var server = new FileServer(name => FileServer.Ok(File.ReadAllBytes(Path.Combine(real, name))));
        CliResult fetched = Cli.Run(Home(scratch), "data", "fetch", "mnist", "--from", server.Address).Succeeded();
        string folder = scratch["data", "mnist"];
        Assert.Equal([folder], fetched.Lines);
        Assert.Equal(MnistFiles.All, server.Requests);
        Assert.Equal(MnistFiles.All.Order(StringComparer.Ordinal), Scratch.Files(scratch.Path).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        foreach (string name in MnistFiles.All) Assert.True(File.ReadAllBytes(Path.Combine(MnistFiles.Folder, name)).AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(folder, name))), name);

        Assert.Equal([folder], Cli.Run(Home(scratch), "data", "where", "mnist").Succeeded().Lines);
        JsonNode row = JsonNode.Parse(Cli.Run(Home(scratch), "data", "ls", "--json").Succeeded().Output)!.AsArray().Single(set => (string?)set!["name"] == "mnist")!;
        Assert.Equal(folder, (string?)row["folder"]);
        Cli.Run(Home(scratch), "data", "verify", "mnist").Succeeded();
        Cli.Run(Home(scratch), "finetune", "--task", "mnist", "--backbone", "gpt2-tiny", "--init", "random", "--dry-run").Succeeded();

        // Again: only what is damaged or gone is fetched.
        File.WriteAllText(Path.Combine(folder, MnistFiles.TestLabels), "damaged");
        File.Delete(Path.Combine(folder, MnistFiles.TrainLabels));
        Cli.Run(Home(scratch), "data", "fetch", "mnist", "--from", server.Address + "/").Succeeded();
        Assert.Equal([MnistFiles.TrainLabels, MnistFiles.TestLabels], server.Requests.Skip(4));
        Cli.Run(Home(scratch), "data", "verify", "mnist").Succeeded();
    }

    [Theory]
    [InlineData("garbage")]
    [InlineData("404")]
    [InlineData("500")]
    [InlineData("more than published")]
    [InlineData("without end")]
    [InlineData("cut short")]
    [InlineData("nothing")]
    [InlineData("another file")]
    [InlineData("no HTTP")]
    [InlineData("a loop")]
    public void Fetch_keeps_nothing_of_what_a_bad_server_sends(string behaviour)
    {
        using var scratch = new Scratch();
        byte[] labels = File.ReadAllBytes(Path.Combine(MnistFiles.Folder, MnistFiles.TestLabels));
        using var server = new FileServer(_ => behaviour switch
        {
            "garbage" => FileServer.Ok("<html>login, please</html>"u8.ToArray()),
            "404" => FileServer.Raw("404 Not Found", "Content-Length: 4", ["gone"u8.ToArray()]),
            "500" => FileServer.Raw("500 Internal Server Error", "Content-Length: 0", []),
            "more than published" => FileServer.Ok(new byte[9912422 * 5 / 4 + 1]),
            "without end" => FileServer.Raw("200 OK", "Content-Type: application/gzip", Enumerable.Repeat(new byte[1 << 16], int.MaxValue)),
            "cut short" => FileServer.Raw("200 OK", "Content-Length: 9912422", [labels]),
            "nothing" => FileServer.Ok([]),
            "another file" => FileServer.Ok(labels),
            "a loop" => FileServer.Raw("302 Found", "Location: /files/train-images-idx3-ubyte.gz\r\nContent-Length: 0", []),
            _ => ("SSH-2.0-OpenSSH_9.2p1\r\n"u8.ToArray(), []),
        });
        CliResult result = Cli.Run(Home(scratch), "data", "fetch", "mnist", "--from", server.Address);
        result.Failed(1, $"{server.Address}/{MnistFiles.TrainImages}", "--from");
        Assert.Empty(result.Output);
        Assert.Empty(Scratch.Files(scratch.Path));
    }

    [Fact]
    public void A_failed_fetch_is_not_taken_for_the_data()
    {
        using var scratch = new Scratch();
        Cli.Run(Home(scratch), "data", "fetch", "mnist", "--from", "http://127.0.0.1:1").Failed(1);
        JsonNode row = JsonNode.Parse(Cli.Run(Home(scratch), "data", "ls", "--json").Succeeded().Output)!.AsArray().Single(set => (string?)set!["name"] == "mnist")!;
        Assert.Null(row["folder"]);
        Cli.Run(Home(scratch), "data", "where", "mnist").Refused(1, "mnist", "permafrost data fetch mnist");
    }

    [Fact]
    public void Fetch_keeps_the_good_files_before_a_bad_one_and_goes_on_from_there()
    {
        using var scratch = new Scratch();
        string folder = MnistFiles.Folder;
        byte[] Real(string name) => File.ReadAllBytes(Path.Combine(folder, name));
        using (var server = new FileServer(name => FileServer.Ok(name == MnistFiles.TestImages ? [1, 2, 3] : Real(name))))
            Cli.Run(Home(scratch), "data", "fetch", "mnist", "--from", server.Address).Failed(1, MnistFiles.TestImages);
        Assert.Equal([MnistFiles.TrainImages, MnistFiles.TrainLabels], Scratch.Files(scratch.Path).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        using var good = new FileServer(name => FileServer.Ok(Real(name)));
        Cli.Run(Home(scratch), "data", "fetch", "mnist", "--from", good.Address).Succeeded();
        Assert.Equal([MnistFiles.TestImages, MnistFiles.TestLabels], good.Requests);
    }

    [Fact]
    public void All_about_one_set_is_told()
    {
        using var scratch = new Scratch();
        JsonObject json = Cli.Run(Home(scratch), "data", "ls", "ag-news", "--json").Succeeded().Json;
        Assert.Equal("ag_news", (string?)json["name"]);
        Assert.NotNull(json["licence"]);
        JsonObject[] files = [.. json["files"]!.AsArray().Select(file => file!.AsObject())];
        Assert.Equal(["train.csv", "test.csv"], files.Select(file => (string?)file["name"]));
        Assert.Equal((null, "published"), ((string?)files[0]["sha256_from"], (string?)files[1]["sha256_from"]));
        Assert.StartsWith("https://", (string?)files[0]["address"], StringComparison.Ordinal);
        Assert.Contains("none is known; that of the first download is recorded", Cli.Run(Home(scratch), "data", "ls", "imdb").Succeeded().Output, StringComparison.Ordinal);
        Cli.Run("data", "ls", "no-such-set").Refused(2, "no-such-set", "mnist");
    }

    [Fact]
    public void A_set_without_checksums_is_recorded_and_read_by_its_task()
    {
        using var scratch = new Scratch();
        using var server = new FileServer(name => FileServer.Ok(System.Text.Encoding.UTF8.GetBytes(string.Concat(Enumerable.Range(0, 40).Select(i => $"{(i % 2 == 0 ? "NUM:date" : "LOC:city")} Question {name} {i} ?\n")))));
        Cli.Run(Home(scratch), "finetune", "--task", "trec", "--backbone", "gpt2-tiny", "--init", "random", "--dry-run").Refused(1, "permafrost data fetch trec");
        Assert.Equal([scratch["data", "trec"]], Cli.Run(Home(scratch), "data", "fetch", "trec", "--from", server.Address).Succeeded().Lines);
        Assert.Equal(["TREC_10.label", "train_5500.label"], server.Requests.Order(StringComparer.Ordinal));
        Assert.All(Cli.Run(Home(scratch), "data", "verify", "trec").Succeeded().Lines, line => Assert.StartsWith("unchanged", line, StringComparison.Ordinal));
        Assert.Equal("first download", (string?)Cli.Run(Home(scratch), "data", "ls", "trec", "--json").Succeeded().Json["files"]![0]!["sha256_from"]);
        File.AppendAllText(scratch["data", "trec", "TREC_10.label"], "x");
        Cli.Run(Home(scratch), "data", "verify", "trec").Failed(1, "permafrost data fetch trec");
    }

    [Theory]
    [InlineData("http://127.0.0.1:1/nobody", 1)]
    [InlineData("no address", 2)]
    [InlineData("file:///etc", 2)]
    [InlineData("", 2)]
    public void Fetch_from_nowhere_is_refused(string address, int exitCode)
    {
        using var scratch = new Scratch();
        Cli.Run(Home(scratch), "data", "fetch", "mnist", "--from", address).Failed(exitCode, "--from");
        Assert.Empty(Scratch.Files(scratch.Path));
    }

    [Fact]
    public void A_cache_that_cannot_be_written_is_named()
    {
        using var scratch = new Scratch();
        string file = scratch.Write("file", "");
        var settings = new CliSettings { Environment = new Dictionary<string, string?> { ["PERMAFROST_HOME"] = Path.Combine(file, "home") } };
        Cli.Run(settings, "data", "fetch", "mnist", "--from", "http://127.0.0.1:1").Refused(1, file, "PERMAFROST_HOME");
    }

    [Theory]
    [InlineData("verify")]
    [InlineData("where")]
    public void An_unknown_data_set_is_refused(string verb) => Cli.Run("data", verb, "minst").Refused(2, "minst", "mnist");

    [Fact]
    public void A_server_that_breaks_off_is_asked_for_the_rest()
    {
        using var scratch = new Scratch();
        string real = MnistFiles.Folder;
        var asked = new Dictionary<string, int>();
        using var server = new FileServer(name =>
        {
            byte[] content = File.ReadAllBytes(Path.Combine(real, name));
            lock (asked) if ((asked[name] = asked.GetValueOrDefault(name) + 1) == 1) return FileServer.Raw("200 OK", $"Content-Length: {content.Length}", [content[..(content.Length / 2)]]);
            int from = content.Length / 2;
            return FileServer.Raw("206 Partial Content", $"Content-Range: bytes {from}-{content.Length - 1}/{content.Length}\r\nContent-Length: {content.Length - from}", [content[from..]]);
        });
        Cli.Run(Home(scratch), "data", "fetch", "mnist", "--from", server.Address).Succeeded();
        Cli.Run(Home(scratch), "data", "verify", "mnist").Succeeded();
        Assert.Equal(8, server.Requests.Length);
    }

    [Fact]
    public void Verifying_what_is_not_there_is_refused()
    {
        using var scratch = new Scratch();
        Cli.Run(Home(scratch), "data", "verify", "mnist").Refused(1, scratch["data", "mnist"], "permafrost data fetch mnist");
        Cli.Run("data", "verify", "mnist", "--data", scratch["nowhere"]).Refused(1, scratch["nowhere"]);
    }

    private static CliSettings Home(Scratch scratch) => new() { Environment = new Dictionary<string, string?> { ["PERMAFROST_HOME"] = scratch.Path } };
}
