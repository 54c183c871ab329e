using System.Net;

namespace Permafrost.Formats.Web;

/// <summary>
/// Brings one file from a web server to the disk, piece by piece, never whole in memory. What broke off goes on where it stopped, with the server that can (HTTP ranges); with
/// another one it begins anew. Whether the content is right is for the caller to check.
/// </summary>
internal sealed class FileDownload(WebSource web, Uri address)
{
    private const int PieceBytes = 1 << 17;

    // An attempt that brought so much did not fail: the next one is the first again.
    private const long Gain = 1 << 20;

    /// <summary>The exact length; null where it is not known.</summary>
    public long? Bytes { get; init; }

    /// <summary>Where no length is known, more than this is not the file.</summary>
    public long MostBytes { get; init; } = long.MaxValue;

    /// <summary>Hears how many bytes are here, and of how many.</summary>
    public Action<long, long?>? Progress { get; init; }

    /// <summary>Whether the server can go on where an earlier attempt stopped, as far as it has shown.</summary>
    public bool Resumes { get; private set; }

    /// <summary>Writes the file to a stream, which may hold its beginning.</summary>
    /// <exception cref="WebFailure">The server does not give it.</exception>
    /// <exception cref="IOException">It cannot be written.</exception>
    public async Task WriteAsync(FileStream target, CancellationToken cancellation)
    {
        bool whole = false;
        while (!whole) whole = await web.Pipeline.ExecuteAsync(async token => await AttemptAsync(target, token).ConfigureAwait(false), cancellation).ConfigureAwait(false);
        target.Flush(flushToDisk: true);
    }

    private async Task<bool> AttemptAsync(FileStream target, CancellationToken cancellation)
    {
        long before = target.Length;
        if (before == Bytes) return true;
        try
        {
            await ReceiveAsync(target, before > Bytes ? 0 : before, cancellation).ConfigureAwait(false);
            return true;
        }
        catch (WebFailure failure) when (failure.IsTransient && target.Length >= before + Gain)
        {
            return false;
        }
    }

    private async Task ReceiveAsync(FileStream target, long from, CancellationToken cancellation)
    {
        using var silence = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        try
        {
            using HttpResponseMessage response = await web.SendAsync(HttpMethod.Get, address, from, null, silence).ConfigureAwait(false);
            long at = Begin(response, from);
            if (at < target.Length) target.SetLength(at);
            target.Position = at;
            if (response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable) throw new WebFailure("the server has less of it than is here", transient: true);
            await CopyAsync(response, target, silence).ConfigureAwait(false);
        }
        catch (WebFailure) when (cancellation.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellation);
        }
    }

    // Where the answer's first byte belongs.
    private long Begin(HttpResponseMessage response, long from)
    {
        Resumes = response.StatusCode == HttpStatusCode.PartialContent || response.Headers.AcceptRanges.Contains("bytes");
        if (response.StatusCode != HttpStatusCode.PartialContent) return 0;
        return response.Content.Headers.ContentRange?.From == from ? from : throw new WebFailure("the server answers with another part than was asked for", transient: false);
    }

    private async Task CopyAsync(HttpResponseMessage response, FileStream target, CancellationTokenSource silence)
    {
        long? announced = response.Content.Headers.ContentLength + target.Position;
        if (Bytes is { } exact && announced is { } total && total != exact)
            throw new WebFailure(FormattableString.Invariant($"the server announces {total:N0} bytes, and {exact:N0} make the file"), transient: true);
        long most = Bytes ?? MostBytes;
        var piece = new byte[PieceBytes];
        using Stream source = await WebSource.TryAsync(() => response.Content.ReadAsStreamAsync(silence.Token), silence).ConfigureAwait(false);
        while (true)
        {
            silence.CancelAfter(web.Patience.Silence);
            int count = await WebSource.TryAsync(() => source.ReadAsync(piece, silence.Token).AsTask(), silence).ConfigureAwait(false);
            if (count == 0) break;
            if (target.Position + count > most)
                throw new WebFailure(FormattableString.Invariant($"the server sends more than the {most:N0} bytes that make the file"), transient: false);
            target.Write(piece, 0, count);
            Progress?.Invoke(target.Position, Bytes ?? announced);
        }
        target.Flush();
        if (target.Position < Bytes) throw new WebFailure(FormattableString.Invariant($"the connection ended after {target.Position:N0} of {Bytes:N0} bytes"), transient: true);
    }
}
