using System.Text;
using Permafrost.Formats;
using Permafrost.Formats.Hub;
using Permafrost.Formats.Web;
using Permafrost.Models;
using Permafrost.Tests.Models;

namespace Permafrost.Tests.Formats.Hub;

/// <summary>Models from a server like Hugging Face's, into a cache like its client's; from servers that behave, and servers that do not.</summary>
[Collection(ProcessWide.Name)]
public class HubDownloadTests : IDisposable
{
    private const string Weights = "model.safetensors";
    private static readonly string[] Variables = ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"];

    private readonly TemporaryFolder folder = new();
    private readonly HubServer server = new();
    private readonly string?[] before = [.. Variables.Select(Environment.GetEnvironmentVariable)];
    private readonly byte[] weights;

    public HubDownloadTests()
    {
        foreach (string name in Variables) Environment.SetEnvironmentVariable(name, null);
        Environment.SetEnvironmentVariable("HF_HUB_CACHE", folder["hub"]);
        weights = File.ReadAllBytes(Path.Combine(TinyGpt2.Save(folder, TinyGpt2.Json()), Weights));
    }

    public void Dispose()
    {
        for (int i = 0; i < Variables.Length; i++) Environment.SetEnvironmentVariable(Variables[i], before[i]);
        server.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    private HubSettings Settings => new() { Endpoint = server.Address, Patience = new WebPatience { Delay = TimeSpan.FromMilliseconds(1), Silence = TimeSpan.FromSeconds(20) } };

    private string Repository => folder["hub", "models--org--tiny"];

    [Fact]
    public async Task A_model_lies_in_the_cache_as_Pythons_client_puts_it()
    {
        string commit = server.Add("org/tiny", Model());
        string snapshot = await FetchAsync();
        Assert.Equal(Path.Combine(Repository, "snapshots", commit), snapshot);
        Assert.Equal(commit, File.ReadAllText(Path.Combine(Repository, "refs", "main")));
        Assert.Equal(["config.json", "merges.txt", Weights, "spiece.model", "tokenizer.json", "vocab.json"], Directory.GetFiles(snapshot).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        foreach (string path in Directory.GetFiles(snapshot))
        {
            byte[] content = Model()[Path.GetFileName(path)];
            Assert.Equal(Path.Combine("..", "..", "blobs", HubServer.Etag(content)), new FileInfo(path).LinkTarget);
            Assert.Equal(content, File.ReadAllBytes(path));
        }
        Assert.Equal(6, Directory.GetFiles(Path.Combine(Repository, "blobs")).Length);
        Assert.True(File.Exists(folder["hub", ".locks", "models--org--tiny", HubServer.Etag(weights) + ".lock"]));
        Assert.Equal(snapshot, HubCache.Find("org/tiny"));
        Assert.All(HubDownload.Verify(snapshot), file => Assert.Equal("ok", file.Verdict));
        using FrozenWeights loaded = FrozenWeights.Load("org/tiny"), original = FrozenWeights.Load(folder["body"]);
        Assert.Equal(original.Sha256, loaded.Sha256);
        // Again: nothing is fetched.
        int gets = server.Requests.Count(request => request.Method == "GET" && !request.Path.StartsWith("/api", StringComparison.Ordinal));
        Assert.Equal(snapshot, await FetchAsync());
        Assert.Equal(gets, server.Requests.Count(request => request.Method == "GET" && !request.Path.StartsWith("/api", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task A_revision_has_a_reference_of_its_own_and_a_commit_needs_none()
    {
        string main = server.Add("org/tiny", Model());
        Dictionary<string, byte[]> changed = Model();
        changed["merges.txt"] = [1, 2, 3];
        string other = server.Add("org/tiny", changed, "refs/pr/1");
        Assert.EndsWith(other, await FetchAsync(revision: "refs/pr/1"), StringComparison.Ordinal);
        Assert.Null(HubCache.Find("org/tiny"));
        Assert.EndsWith(main, await FetchAsync(revision: main), StringComparison.Ordinal);
        Assert.Null(HubCache.Find("org/tiny"));
        Assert.NotNull(HubCache.Find("org/tiny", main));
        Assert.NotNull(HubCache.Find("org/tiny", "refs/pr/1"));
        Assert.Equal(["1"], Directory.GetFiles(Path.Combine(Repository, "refs"), "*", SearchOption.AllDirectories).Select(Path.GetFileName));
        // What both have in common is there once.
        Assert.Single(server.Gets(Weights));
        Assert.Contains("no revision 'v9'", (await RefusedAsync("org/tiny", "v9")).Message, StringComparison.Ordinal);
        Assert.IsType<UsageException>(await RefusedAsync("org/tiny", "../../x"));
    }

    [Fact]
    public async Task The_token_goes_to_its_own_host_alone()
    {
        server.Add("org/tiny", Model());
        await HubDownload.FetchAsync(Settings with { Token = "hf_secret" }, "org/tiny", "main", null, default);
        Assert.All(server.Requests, request => Assert.Equal(!request.OfContentHost, request.Headers.GetValueOrDefault("authorization") == "Bearer hf_secret"));
        Assert.Contains(server.Requests, request => request.OfContentHost && !request.Headers.ContainsKey("authorization"));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_breaks_off_goes_on_where_the_server_can(bool ranges)
    {
        server.Add("org/tiny", Model());
        server.Ranges = ranges;
        server.Spoil = (request, count, reply) => request.OfContentHost && request.File == Weights && count < 3 ? reply with { CutAt = reply.Body.Length / 3 } : reply;
        string snapshot = await FetchAsync();
        Assert.Equal(weights, File.ReadAllBytes(Path.Combine(snapshot, Weights)));
        HubRequest[] gets = server.Gets(Weights);
        Assert.Equal(4, gets.Length);
        Assert.Null(gets[0].From);
        Assert.Equal(weights.Length / 3, gets[1].From);
        if (ranges) Assert.True(gets[2].From > gets[1].From);
    }

    [Fact]
    public async Task A_large_file_that_breaks_off_often_comes_all_the_same()
    {
        Dictionary<string, byte[]> model = Model();
        new Random(0).NextBytes(model["tokenizer.json"] = new byte[24 << 20]);
        server.Add("org/tiny", model);
        // A connection that lasts for 2 MB: more breaks than retries.
        server.Spoil = (request, _, reply) => request.OfContentHost && request.Method == "GET" ? reply with { CutAt = 2 << 20 } : reply;
        string snapshot = await FetchAsync();
        Assert.Equal(model["tokenizer.json"], File.ReadAllBytes(Path.Combine(snapshot, "tokenizer.json")));
        Assert.InRange(server.Gets("tokenizer.json").Length, 12, 24);
    }

    [Fact]
    public async Task A_file_is_never_whole_in_memory()
    {
        Dictionary<string, byte[]> model = Model();
        model["tokenizer.json"] = new byte[64 << 20];
        server.Add("org/tiny", model);
        long most = 0, start = GC.GetTotalMemory(forceFullCollection: true);
        await HubDownload.FetchAsync(Settings, "org/tiny", "main", new Watch(_ => most = Math.Max(most, GC.GetTotalMemory(false) - start)), default);
        Assert.InRange(most, 0, 24 << 20);
    }

    [Fact]
    public async Task Passing_failures_are_waited_out()
    {
        server.Add("org/tiny", Model());
        server.Spoil = (request, count, reply) => count switch
        {
            // A redirect and what it leads to are one attempt.
            _ when request.Method == "GET" && request.Path.Contains("/resolve/", StringComparison.Ordinal) => reply,
            0 => new HubReply("503 Service Unavailable", [("Content-Length", "0")], []),
            1 => new HubReply("429 Too Many Requests", [("Content-Length", "0"), ("Retry-After", "0")], []),
            // No answer at all.
            2 when request.OfContentHost => reply with { CutAt = 0 },
            _ => reply,
        };
        Assert.Equal(weights, File.ReadAllBytes(Path.Combine(await FetchAsync(), Weights)));
    }

    [Fact]
    public async Task A_server_that_falls_silent_is_asked_again()
    {
        server.Add("org/tiny", Model());
        server.Spoil = (request, count, reply) => request.OfContentHost && count == 0 ? reply with { CutAt = 100, Silence = TimeSpan.FromSeconds(60) } : reply;
        HubSettings hurried = Settings with { Patience = Settings.Patience with { Silence = TimeSpan.FromSeconds(1) } };
        string snapshot = await HubDownload.FetchAsync(hurried, "org/tiny", "main", null, default);
        Assert.Equal(weights, File.ReadAllBytes(Path.Combine(snapshot, Weights)));
        Assert.Equal([null, 100L], server.Gets(Weights).Select(get => get.From));
    }

    /// <summary>What a server does to the weights, and what the sentence must say.</summary>
    [Theory]
    [InlineData("corrupts a byte", "checksum")]
    [InlineData("corrupts a small file", "checksum")]
    [InlineData("sends another file", "announces")]
    [InlineData("sends more", "more than")]
    [InlineData("ends early without saying", "ended after")]
    [InlineData("announces less", "announces")]
    [InlineData("announces more", "announces")]
    [InlineData("links another length", "announces")]
    [InlineData("says no length", "how long")]
    [InlineData("says no checksum", "no checksum")]
    [InlineData("is not found", "404")]
    [InlineData("is never well", "500")]
    [InlineData("answers with a page", "announces")]
    [InlineData("sends another part", "another part")]
    [InlineData("redirects without end", "redirected without end")]
    [InlineData("redirects to a file", "not safe")]
    [InlineData("speaks of another commit", "the commit")]
    public async Task Nothing_is_used_of_what_a_bad_server_sends(string fault, string mention)
    {
        server.Add("org/tiny", Model());
        server.Spoil = (request, count, reply) =>
        {
            bool head = request.Method == "HEAD" && request.File == Weights, get = request.OfContentHost && request.File == Weights;
            if (fault == "corrupts a small file") return request.Method == "GET" && request.File == "config.json" ? reply with { Body = [.. reply.Body.Select(b => (byte)(b ^ 1))] } : reply;
            if (!head && !get) return reply;
            byte[] flipped = [.. reply.Body];
            if (flipped.Length > 0) flipped[^1] ^= 1;
            return fault switch
            {
                "corrupts a byte" when get => reply with { Body = flipped },
                "sends another file" when get => reply.With("Content-Length", "7") with { Body = [.. "another"u8] },
                "sends more" when get => reply.With("Content-Length", null).With("Transfer-Encoding", null) with { Body = [.. reply.Body, 0] },
                "ends early without saying" when get => (reply.With("Content-Length", null) with { Body = reply.Body[..10] }).With("Content-Range", request.From is { } from ? $"bytes {from}-{weights.Length - 1}/{weights.Length}" : null),
                "announces less" when get => reply.With("Content-Length", $"{reply.Body.Length - 1}"),
                "announces more" when get => reply.With("Content-Length", $"{reply.Body.Length + 1}"),
                "links another length" when head => reply.With("X-Linked-Size", "12"),
                "says no length" when head => reply.With("X-Linked-Size", null),
                "says no checksum" when head => reply.With("X-Linked-Etag", "\"tag-1\""),
                "is not found" => new HubReply("404 Not Found", [("Content-Length", "0")], []),
                "is never well" => new HubReply("500 Internal Server Error", [("Content-Length", "0")], []),
                "answers with a page" when get => new HubReply("200 OK", [("Content-Length", "13"), ("Content-Type", "text/html")], [.. "<html></html>"u8]),
                "sends another part" when get => count == 0 ? reply with { CutAt = 20 } : reply.With("Content-Range", $"bytes 5-{weights.Length - 1}/{weights.Length}"),
                "redirects without end" when head => new HubReply("302 Found", [("Location", request.Path), ("Content-Length", "0")], []),
                "redirects to a file" when get => new HubReply("302 Found", [("Location", "file:///etc/passwd"), ("Content-Length", "0")], []),
                "speaks of another commit" when head => reply.With("X-Repo-Commit", new string('0', 40)),
                _ => reply,
            };
        };
        PermafrostException error = await RefusedAsync();
        Assert.Contains(mention, error.Message, StringComparison.Ordinal);
        Assert.Contains(server.Address, error.Message, StringComparison.Ordinal);
        Assert.Null(HubCache.Find("org/tiny"));
        Assert.False(File.Exists(Path.Combine(Repository, "blobs", HubServer.Etag(weights))));
        Assert.Empty(Directory.GetDirectories(Path.Combine(Repository, "snapshots")));
        // From a better server it comes, whatever is left of the bad one's.
        server.Spoil = null;
        Assert.Equal(weights, File.ReadAllBytes(Path.Combine(await FetchAsync(), Weights)));
        Assert.DoesNotContain(Directory.GetFiles(Path.Combine(Repository, "blobs")), file => file.EndsWith(".incomplete", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_download_that_was_stopped_is_not_used_and_goes_on_later()
    {
        Dictionary<string, byte[]> model = Model();
        new Random(1).NextBytes(model["tokenizer.json"] = new byte[8 << 20]);
        server.Add("org/tiny", model);
        using var stop = new CancellationTokenSource();
        // Before the weights, which come last.
        var watch = new Watch(progress => { if (progress.File == "tokenizer.json" && progress.Bytes > 1 << 20) stop.Cancel(); });
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => HubDownload.FetchAsync(Settings, "org/tiny", "main", watch, stop.Token));
        string partial = Path.Combine(Repository, "blobs", HubServer.Etag(model["tokenizer.json"]) + ".incomplete");
        long here = new FileInfo(partial).Length;
        Assert.InRange(here, 1 << 20, (8 << 20) - 1);
        Assert.Null(HubCache.Find("org/tiny"));
        string snapshot = await FetchAsync();
        Assert.Equal(model["tokenizer.json"], File.ReadAllBytes(Path.Combine(snapshot, "tokenizer.json")));
        Assert.Equal(here, server.Gets("tokenizer.json")[^1].From);
        Assert.False(File.Exists(partial));
    }

    [Theory]
    [InlineData("wrong")]
    [InlineData("whole but wrong")]
    [InlineData("too long")]
    public async Task A_beginning_that_is_not_the_files_is_given_up(string what)
    {
        server.Add("org/tiny", Model());
        string partial = Path.Combine("hub", "models--org--tiny", "blobs", HubServer.Etag(weights) + ".incomplete");
        folder.Write(partial, new byte[what switch { "wrong" => 100, "whole but wrong" => weights.Length, _ => weights.Length + 100 }]);
        Assert.Equal(weights, File.ReadAllBytes(Path.Combine(await FetchAsync(), Weights)));
    }

    [Fact]
    public async Task A_damaged_file_is_seen_and_fetched_again()
    {
        server.Add("org/tiny", Model());
        string snapshot = await FetchAsync(), blob = Path.Combine(Repository, "blobs", HubServer.Etag(weights));
        byte[] damaged = [.. weights];
        damaged[^1] ^= 1;
        File.WriteAllBytes(blob, damaged);
        Assert.Equal([(Weights, "damaged")], HubDownload.Verify(snapshot).Where(file => file.Verdict != "ok"));
        await FetchAsync();
        Assert.All(HubDownload.Verify(snapshot), file => Assert.Equal("ok", file.Verdict));
        File.Delete(blob);
        Assert.Equal([(Weights, "missing")], HubDownload.Verify(snapshot).Where(file => file.Verdict != "ok"));
        await FetchAsync();
        Assert.Equal(weights, File.ReadAllBytes(Path.Combine(snapshot, Weights)));
    }

    [Fact]
    public async Task Several_at_once_fetch_each_file_once()
    {
        server.Add("org/tiny", Model());
        server.Spoil = (request, _, reply) => request.OfContentHost ? reply with { Silence = TimeSpan.FromMilliseconds(100) } : reply;
        string[] snapshots = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => FetchAsync())));
        Assert.Single(snapshots.Distinct());
        Assert.Single(server.Gets(Weights));
        Assert.Single(server.Gets("config.json"));
        Assert.All(HubDownload.Verify(snapshots[0]), file => Assert.Equal("ok", file.Verdict));
    }

    [Fact]
    public async Task One_form_of_the_weights_is_fetched_and_shards_follow_their_index()
    {
        byte[] index = Encoding.UTF8.GetBytes("""{"weight_map": {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}}""");
        Dictionary<string, byte[]> model = Model();
        (model["pytorch_model.bin"], model["tf_model.h5"], model["onnx/model.onnx"], model["model.fp16.safetensors"], model["sub/vocab.json"]) = ([1], [2], [3], [4], [5]);
        server.Add("org/both", model);
        Assert.DoesNotContain(Directory.GetFiles(await FetchAsync("org/both"), "*", SearchOption.AllDirectories), path => Path.GetFileName(path) is "pytorch_model.bin" or "tf_model.h5" or "model.onnx" or "model.fp16.safetensors");
        model.Remove(Weights);
        server.Add("org/old", model);
        Assert.True(File.Exists(Path.Combine(await FetchAsync("org/old"), "pytorch_model.bin")));
        model.Remove("pytorch_model.bin");
        model["pytorch_model.bin.index.json"] = index;
        (model["pytorch_model-00001-of-00002.bin"], model["pytorch_model-00002-of-00002.bin"], model["pytorch_model-00003-of-00003.bin"]) = ([6], [7], [8]);
        server.Add("org/shards", model);
        string[] shards = [.. Directory.GetFiles(await FetchAsync("org/shards"), "*.bin").Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];
        Assert.Equal(["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"], shards);

        model.Remove("pytorch_model-00002-of-00002.bin");
        server.Add("org/lacking", model);
        Assert.Contains("pytorch_model-00002-of-00002.bin", (await RefusedAsync("org/lacking")).Message, StringComparison.Ordinal);
        model["pytorch_model.bin.index.json"] = Encoding.UTF8.GetBytes("""{"weight_map": {"a": "../../../../etc/passwd"}}""");
        model["../../../../etc/passwd"] = [9];
        server.Add("org/hostile", model);
        Assert.Contains("not the name of a file in the same folder", (await RefusedAsync("org/hostile")).Message, StringComparison.Ordinal);
        model.Remove("pytorch_model.bin.index.json");
        server.Add("org/none", model);
        Assert.Contains("no weights", (await RefusedAsync("org/none")).Message, StringComparison.Ordinal);
        server.Add("org/peft", new Dictionary<string, byte[]> { ["adapter_config.json"] = [1], ["adapter_model.safetensors"] = [2] });
        Assert.Contains("is an adapter", (await RefusedAsync("org/peft")).Message, StringComparison.Ordinal);
        server.Add("org/data", new Dictionary<string, byte[]> { ["train.csv"] = [1] });
        Assert.Contains("no config.json", (await RefusedAsync("org/data")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_model_that_moved_is_followed_within_the_server()
    {
        string commit = server.Add("openai-community/gpt2", Model());
        server.Spoil = (request, _, reply) => request.Path.Contains("/gpt2/", StringComparison.Ordinal) && !request.Path.Contains("openai", StringComparison.Ordinal)
            ? new HubReply("307 Temporary Redirect", [("Location", request.Path.Replace("/gpt2/", "/openai-community/gpt2/", StringComparison.Ordinal)), ("Content-Length", "0")], []) : reply;
        string snapshot = await HubDownload.FetchAsync(Settings with { Token = "hf_secret" }, "gpt2", "main", null, default);
        Assert.Equal(folder["hub", "models--gpt2", "snapshots", commit], snapshot);
        Assert.Contains(server.Requests, request => request.Path.StartsWith("/openai-community", StringComparison.Ordinal) && request.Headers.GetValueOrDefault("authorization") == "Bearer hf_secret");
    }

    [Fact]
    public async Task What_cannot_be_had_is_said()
    {
        server.Add("org/tiny", Model());
        Assert.Contains("'org/other' is no model at " + server.Address, (await RefusedAsync("org/other")).Message, StringComparison.Ordinal);
        foreach (string name in new[] { "", "/", "a/b/c", "../x", "org/..", "a--b", "org/x--y", "-x", "x.", "a b", "org/\n", new string('x', 97) })
            Assert.IsType<UsageException>(await RefusedAsync(name));
        server.Spoil = (_, _, _) => new HubReply("403 Forbidden", [("Content-Length", "0"), ("X-Error-Code", "GatedRepo")], []);
        Assert.Contains("gated", (await RefusedAsync()).Message, StringComparison.Ordinal);
        server.Spoil = (_, _, _) => new HubReply("200 OK", [("Content-Length", "13")], [.. "<html></html>"u8]);
        Assert.Contains("HF_ENDPOINT", (await RefusedAsync()).Message, StringComparison.Ordinal);
        server.Spoil = (_, _, _) => new HubReply("200 OK", [("Content-Length", "38")], [.. """{"sha": "../../../etc","siblings": []}"""u8]);
        Assert.Contains("HF_ENDPOINT", (await RefusedAsync()).Message, StringComparison.Ordinal);
        PermafrostException nobody = await Assert.ThrowsAsync<PermafrostException>(() => HubDownload.FetchAsync(Settings with { Endpoint = "http://127.0.0.1:1" }, "org/tiny", "main", null, default));
        Assert.Contains("cannot fetch http://127.0.0.1:1/", nobody.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_cache_that_cannot_be_written_is_named()
    {
        server.Add("org/tiny", Model());
        Environment.SetEnvironmentVariable("HF_HUB_CACHE", Path.Combine(folder.Write("file", "x"), "hub"));
        Assert.Contains("HF_HUB_CACHE", (await RefusedAsync()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Offline_nothing_is_asked_for()
    {
        server.Add("org/tiny", Model());
        HubSettings offline = Settings with { Offline = true };
        PermafrostException refused = await Assert.ThrowsAsync<PermafrostException>(() => HubDownload.FetchAsync(offline, "org/tiny", "main", null, default));
        Assert.Contains("HF_HUB_OFFLINE", refused.Message, StringComparison.Ordinal);
        Assert.Empty(server.Requests);
        string snapshot = await FetchAsync();
        int asked = server.Requests.Length;
        Assert.Equal(snapshot, await HubDownload.FetchAsync(offline, "org/tiny", "main", null, default));
        Assert.Equal(asked, server.Requests.Length);
    }

    private Dictionary<string, byte[]> Model() => new()
    {
        ["config.json"] = Encoding.UTF8.GetBytes(TinyGpt2.Json()),
        ["merges.txt"] = [.. "#version: 0.2\n"u8],
        [Weights] = weights,
        ["spiece.model"] = new byte[1001],
        ["tokenizer.json"] = [.. "{}"u8],
        ["vocab.json"] = [],
        [".gitattributes"] = [1],
    };

    private Task<string> FetchAsync(string name = "org/tiny", string revision = "main") => HubDownload.FetchAsync(Settings, name, revision, null, default);

    private async Task<PermafrostException> RefusedAsync(string name = "org/tiny", string revision = "main")
    {
        PermafrostException error = await Assert.ThrowsAnyAsync<PermafrostException>(() => FetchAsync(name, revision));
        Assert.DoesNotContain(error.Message, char.IsControl);
        return error;
    }

    private sealed class Watch(Action<DownloadProgress> see) : IProgress<DownloadProgress>
    {
        public void Report(DownloadProgress value) => see(value);
    }
}
