using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;

namespace Permafrost.Tests.Shared;

/// <summary>What a client asked for.</summary>
public sealed record HubRequest(string Method, string Path, IReadOnlyDictionary<string, string> Headers, bool OfContentHost)
{
    /// <summary>The file's name, from the path.</summary>
    public string File => Path[(Path.LastIndexOf('/') + 1)..];

    /// <summary>The first byte wanted; null for a request without a range.</summary>
    public long? From => Headers.TryGetValue("range", out string? range) ? long.Parse(range["bytes=".Length..].TrimEnd('-'), CultureInfo.InvariantCulture) : null;
}

/// <summary>What a server answers.</summary>
public sealed record HubReply(string Status, IReadOnlyList<(string Name, string Value)> Headers, byte[] Body)
{
    /// <summary>After so many bytes of the body the connection is cut.</summary>
    public int? CutAt { get; init; }

    /// <summary>After the body, or where it is cut, nothing comes for so long.</summary>
    public TimeSpan Silence { get; init; }

    /// <summary>The same with a header of another value, or without it.</summary>
    public HubReply With(string name, string? value) =>
        this with { Headers = [.. Headers.Where(header => header.Name != name), .. value is null ? Array.Empty<(string, string)>() : [(name, value)]] };
}

/// <summary>
/// Hugging Face's server as far as a client needs it, on this machine: models with their revisions, small files under git's SHA-1, large ones (over 1,000 bytes) under their SHA-256
/// on another host. Tests spoil its answers.
/// </summary>
public sealed class HubServer : IDisposable
{
    private const int LargeBytes = 1000;

    private readonly TcpListener api = new(IPAddress.Loopback, 0);
    private readonly TcpListener content = new(IPAddress.Loopback, 0);
    private readonly Dictionary<string, (string Commit, Dictionary<string, byte[]> Files)> models = [];
    private readonly List<HubRequest> requests = [];

    public HubServer()
    {
        foreach (TcpListener listener in new[] { api, content })
        {
            listener.Start();
            _ = Task.Run(() => ServeAsync(listener));
        }
    }

    /// <summary>For HF_ENDPOINT.</summary>
    public string Address => $"http://127.0.0.1:{((IPEndPoint)api.LocalEndpoint).Port}";

    /// <summary>The host that large files lie on.</summary>
    public string ContentAddress => $"http://127.0.0.1:{((IPEndPoint)content.LocalEndpoint).Port}";

    /// <summary>Whether ranges are served.</summary>
    public bool Ranges { get; set; } = true;

    /// <summary>Spoils an answer: the request, how many of its method and path came before, and the good answer.</summary>
    public Func<HubRequest, int, HubReply, HubReply>? Spoil { get; set; }

    /// <summary>What was asked for so far.</summary>
    public HubRequest[] Requests
    {
        get { lock (requests) return [.. requests]; }
    }

    /// <summary>The requests for a file's content.</summary>
    public HubRequest[] Gets(string file) => [.. Requests.Where(request => request.Method == "GET" && (request.File == file || request.Path.EndsWith($"/{file}", StringComparison.Ordinal)) && !request.Path.StartsWith("/api/", StringComparison.Ordinal) && IsContent(request, file))];

    /// <summary>What a file is known by.</summary>
    [SuppressMessage("Security", "CA5350", Justification = "Git names blobs and commits by SHA-1.")]
    public static string Etag(byte[] file) => Convert.ToHexStringLower(file.Length > LargeBytes ? SHA256.HashData(file)
        : SHA1.HashData([.. Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"blob {file.Length}\0")), .. file]));

    /// <summary>Publishes a model under a revision.</summary>
    /// <returns>Its commit.</returns>
    [SuppressMessage("Security", "CA5350", Justification = "Git names blobs and commits by SHA-1.")]
    public string Add(string name, Dictionary<string, byte[]> files, string revision = "main")
    {
        string commit = Convert.ToHexStringLower(SHA1.HashData(Encoding.UTF8.GetBytes(name + revision + string.Concat(files.Select(pair => pair.Key + Etag(pair.Value))))));
        models[$"{name}@{revision}"] = models[$"{name}@{commit}"] = (commit, files);
        return commit;
    }

    public void Dispose()
    {
        api.Dispose();
        content.Dispose();
    }

    // A large file's content is given out by the other host alone.
    private bool IsContent(HubRequest request, string file) =>
        request.OfContentHost || models.Values.Any(model => model.Files.TryGetValue(file, out byte[]? bytes) && bytes.Length <= LargeBytes);

    private async Task ServeAsync(TcpListener listener)
    {
        while (true)
        {
            try
            {
                TcpClient client = await listener.AcceptTcpClientAsync();
                _ = Task.Run(async () =>
                {
                    using (client)
                    {
                        try
                        {
                            await AnswerAsync(client.GetStream(), ReferenceEquals(listener, content));
                        }
                        catch (Exception error) when (error is IOException or SocketException)
                        {
                            // The client hung up, as it may.
                        }
                    }
                });
            }
            catch (Exception error) when (error is SocketException or ObjectDisposedException or InvalidOperationException)
            {
                return;
            }
        }
    }

    private async Task AnswerAsync(NetworkStream stream, bool ofContentHost)
    {
        using var reader = new StreamReader(stream, Encoding.ASCII, leaveOpen: true);
        string[] line = (await reader.ReadLineAsync() ?? "").Split(' ');
        if (line.Length < 2) return;
        var headers = new Dictionary<string, string>();
        while (await reader.ReadLineAsync() is { Length: > 0 } header)
            if (header.Split(": ", 2) is [var name, var value]) headers[name.ToLowerInvariant()] = value;
        var request = new HubRequest(line[0], Uri.UnescapeDataString(line[1]), headers, ofContentHost);
        int before;
        lock (requests)
        {
            before = requests.Count(other => other.Method == request.Method && other.Path == request.Path);
            requests.Add(request);
        }
        HubReply reply = Answer(request);
        reply = Spoil?.Invoke(request, before, reply) ?? reply;
        var head = new StringBuilder($"HTTP/1.1 {reply.Status}\r\n");
        foreach ((string name, string value) in reply.Headers) head.Append(CultureInfo.InvariantCulture, $"{name}: {value}\r\n");
        await stream.WriteAsync(Encoding.ASCII.GetBytes(head + "Connection: close\r\n\r\n"));
        if (request.Method != "HEAD") await stream.WriteAsync(reply.Body.AsMemory(0, Math.Min(reply.CutAt ?? reply.Body.Length, reply.Body.Length)));
        await stream.FlushAsync();
        await Task.Delay(reply.Silence);
    }

    private HubReply Answer(HubRequest request)
    {
        if (request.OfContentHost) return Content(request, models.Values.SelectMany(model => model.Files.Values).FirstOrDefault(file => "/" + Etag(file) == request.Path[..65]));
        string path = request.Path[1..];
        if (path.StartsWith("api/models/", StringComparison.Ordinal) && path["api/models/".Length..].Split("/revision/", 2) is [var model, var revision])
        {
            if (models.TryGetValue($"{model}@{revision}", out (string Commit, Dictionary<string, byte[]> Files) found)) return Json(found.Commit, found.Files.Keys);
            bool known = models.Keys.Any(key => key.StartsWith(model + "@", StringComparison.Ordinal));
            return Plain(known ? "404 Not Found" : "401 Unauthorized", "no").With("X-Error-Code", known ? "RevisionNotFound" : "RepoNotFound");
        }
        if (path.Split("/resolve/", 2) is not [var name, var rest] || rest.Split('/', 2) is not [var commit, var file]) return Plain("404 Not Found", "no");
        if (!models.TryGetValue($"{name}@{commit}", out (string Commit, Dictionary<string, byte[]> Files) at) || !at.Files.TryGetValue(file, out byte[]? bytes))
            return Plain("404 Not Found", "no").With("X-Error-Code", "EntryNotFound");
        string etag = Etag(bytes);
        if (bytes.Length <= LargeBytes) return Content(request, bytes).With("ETag", $"\"{etag}\"").With("X-Repo-Commit", at.Commit);
        return Plain("302 Found", "moved").With("Location", $"{ContentAddress}/{etag}/{file}").With("X-Repo-Commit", at.Commit)
            .With("X-Linked-Etag", $"\"{etag}\"").With("X-Linked-Size", bytes.Length.ToString(CultureInfo.InvariantCulture));
    }

    private HubReply Content(HubRequest request, byte[]? file)
    {
        if (file is null) return Plain("404 Not Found", "no");
        if (!Ranges || request.From is not { } from) return Raw("200 OK", file).With("Accept-Ranges", Ranges ? "bytes" : "none");
        if (from >= file.Length) return Plain("416 Range Not Satisfiable", "").With("Content-Range", $"bytes */{file.Length}");
        return Raw("206 Partial Content", file[(int)from..]).With("Content-Range", $"bytes {from}-{file.Length - 1}/{file.Length}");
    }

    private static HubReply Json(string commit, IEnumerable<string> files) => Plain("200 OK", new JsonObject
    {
        ["id"] = "model",
        ["sha"] = commit,
        ["siblings"] = new JsonArray([.. files.Append("README.md").Select(file => (JsonNode)new JsonObject { ["rfilename"] = file })]),
    }.ToJsonString());

    private static HubReply Plain(string status, string text) => Raw(status, Encoding.UTF8.GetBytes(text));

    private static HubReply Raw(string status, byte[] body) => new(status, [("Content-Length", body.Length.ToString(CultureInfo.InvariantCulture))], body);
}
