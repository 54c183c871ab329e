using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using Permafrost.Formats.Web;

namespace Permafrost.Formats.Hub;

/// <summary>What a revision of a model is.</summary>
/// <param name="Commit">Its commit.</param>
/// <param name="Files">The names of its files, as the server gives them: not to be trusted as paths.</param>
internal sealed record HubModel(string Commit, IReadOnlyList<string> Files);

/// <summary>A file that can be fetched.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Etag">What its content is known by: SHA-256 of a large file, git's SHA-1 of a small one.</param>
/// <param name="Bytes">Its length.</param>
/// <param name="Address">Where it is.</param>
internal sealed record HubFile(string Name, string Etag, long Bytes, Uri Address);

/// <summary>
/// Asks Hugging Face's server, or one like it, about models: <c>GET api/models/NAME/revision/REV</c> gives commit and files, <c>HEAD NAME/resolve/COMMIT/FILE</c> a file's length
/// and checksum, from <c>X-Linked-Size</c> and <c>X-Linked-Etag</c> where it lies on another host, else from <c>Content-Length</c> and <c>ETag</c>.
/// </summary>
internal sealed partial class HubClient(HubSettings settings) : IDisposable
{
    private const int MostListBytes = 64 << 20;

    /// <summary>For downloads of its files.</summary>
    public WebSource Web { get; } = new(settings.Patience, settings.Token, new Uri(settings.Endpoint));

    /// <summary>What a name and a revision mean now.</summary>
    /// <exception cref="PermafrostException">There is no such model or revision, it is gated, or the server cannot be reached or answers otherwise.</exception>
    public async Task<HubModel> GetModelAsync(string name, string revision, CancellationToken cancellation)
    {
        var address = new Uri($"{settings.Endpoint}/api/models/{name}/revision/{Uri.EscapeDataString(revision)}");
        byte[] answer;
        try
        {
            answer = await RepeatAsync(silence => ReadAsync(address, silence), cancellation).ConfigureAwait(false);
        }
        catch (WebFailure failure)
        {
            throw Explain(failure, name, revision, address);
        }
        return Parse(answer, address);
    }

    /// <summary>Length and checksum of a file.</summary>
    /// <exception cref="PermafrostException">It is not there, or the server does not say.</exception>
    public async Task<HubFile> GetFileAsync(string name, string commit, string file, CancellationToken cancellation)
    {
        var address = new Uri($"{settings.Endpoint}/{name}/resolve/{commit}/{Uri.EscapeDataString(file)}");
        try
        {
            return await RepeatAsync(silence => HeadAsync(file, commit, address, silence), cancellation).ConfigureAwait(false);
        }
        catch (WebFailure failure)
        {
            throw Explain(failure, name, commit, address);
        }
    }

    /// <summary>The sentence for a failure.</summary>
    public PermafrostException Explain(WebFailure failure, string name, string revision, Uri address)
    {
        if (failure.Code == "RevisionNotFound") return new PermafrostException($"{name} has no revision '{revision}' at {settings.Endpoint}; name a branch, a tag or a commit");
        if (failure.Code == "GatedRepo" || failure.Status == HttpStatusCode.Forbidden)
            return new PermafrostException($"{name} is gated: ask for access on {settings.Endpoint}/{name}, then set HF_TOKEN to your token");
        // For a model that is not there the server answers as for one that is private.
        if (failure.Status is HttpStatusCode.Unauthorized or HttpStatusCode.NotFound && address.AbsolutePath.Contains("/api/models/", StringComparison.Ordinal))
        {
            string token = settings.Token is null ? "set HF_TOKEN if it is private" : "your token may not see it";
            return new PermafrostException($"'{name}' is no model at {settings.Endpoint} (revision {revision}); look at its spelling, or {token}");
        }
        return new PermafrostException($"cannot fetch {address}: {failure.Message}; try again, or name another server with HF_ENDPOINT");
    }

    public void Dispose() => Web.Dispose();

    private async Task<T> RepeatAsync<T>(Func<CancellationTokenSource, Task<T>> ask, CancellationToken cancellation) => await Web.Pipeline.ExecuteAsync(async token =>
    {
        using var silence = CancellationTokenSource.CreateLinkedTokenSource(token);
        try
        {
            return await ask(silence).ConfigureAwait(false);
        }
        catch (WebFailure) when (token.IsCancellationRequested)
        {
            throw new OperationCanceledException(token);
        }
    }, cancellation).ConfigureAwait(false);

    private async Task<byte[]> ReadAsync(Uri address, CancellationTokenSource silence)
    {
        using HttpResponseMessage response = await Web.SendAsync(HttpMethod.Get, address, 0, null, silence).ConfigureAwait(false);
        using Stream stream = await WebSource.TryAsync(() => response.Content.ReadAsStreamAsync(silence.Token), silence).ConfigureAwait(false);
        using var answer = new MemoryStream();
        var piece = new byte[1 << 16];
        while (await WebSource.TryAsync(() => stream.ReadAsync(piece, silence.Token).AsTask(), silence).ConfigureAwait(false) is > 0 and var count)
        {
            answer.Write(piece, 0, count);
            if (answer.Length > MostListBytes) throw new WebFailure("its answer does not end", transient: false);
        }
        return answer.ToArray();
    }

    private static HubModel Parse(byte[] answer, Uri address)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(answer);
            string commit = document.RootElement.GetProperty("sha").GetString() ?? "";
            if (!Commit().IsMatch(commit)) throw new JsonException();
            return new HubModel(commit, [.. document.RootElement.GetProperty("siblings").EnumerateArray().Select(sibling => sibling.GetProperty("rfilename").GetString() ?? "")]);
        }
        catch (Exception error) when (error is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            throw new PermafrostException($"{address} does not answer as Hugging Face's server does (JSON with \"sha\" and \"siblings\"); look at HF_ENDPOINT");
        }
    }

    private async Task<HubFile> HeadAsync(string file, string commit, Uri address, CancellationTokenSource silence)
    {
        string? etag = null, linkedSize = null, said = null;
        // Redirects within the server are followed: a model may have moved. Beyond it lies the content, of which the server has told all that is needed.
        using HttpResponseMessage response = await Web.SendAsync(HttpMethod.Head, address, 0, (redirect, next) =>
        {
            Note(redirect);
            return WebSource.IsSameHost(next, address);
        }, silence).ConfigureAwait(false);
        Note(response);
        if (said is not null && said != commit) throw new WebFailure($"the server answers with the commit {said}, not {commit}", transient: false);
        long? bytes = long.TryParse(linkedSize, out long linked) ? linked : response.IsSuccessStatusCode ? response.Content.Headers.ContentLength : null;
        etag ??= response.IsSuccessStatusCode ? Header(response, "ETag") : null;
        etag = etag?.Replace("W/", "", StringComparison.Ordinal).Trim('"');
        if (etag is null || !Checksum().IsMatch(etag)) throw new WebFailure("the server gives no checksum of it (X-Linked-Etag or ETag)", transient: false);
        return new HubFile(file, etag, bytes is >= 0 ? bytes.Value : throw new WebFailure("the server does not say how long it is", transient: false), address);

        void Note(HttpResponseMessage answer)
        {
            etag ??= Header(answer, "X-Linked-Etag");
            linkedSize ??= Header(answer, "X-Linked-Size");
            said ??= Header(answer, "X-Repo-Commit");
        }
    }

    private static string? Header(HttpResponseMessage response, string name) => response.Headers.TryGetValues(name, out IEnumerable<string>? values) ? values.First() : null;

    [GeneratedRegex(@"^[0-9a-f]{40}\z")]
    private static partial Regex Commit();

    [GeneratedRegex(@"^(?:[0-9a-f]{40}|[0-9a-f]{64})\z")]
    private static partial Regex Checksum();
}
