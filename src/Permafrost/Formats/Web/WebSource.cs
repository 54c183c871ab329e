using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using Polly;
using Polly.Retry;

namespace Permafrost.Formats.Web;

/// <summary>How patient a download is.</summary>
internal sealed record WebPatience
{
    /// <summary>How often a request is repeated that brought nothing.</summary>
    public int Retries { get; init; } = 4;

    /// <summary>The pause before the first repetition; each further one is twice as long.</summary>
    public TimeSpan Delay { get; init; } = TimeSpan.FromSeconds(0.25);

    /// <summary>How long a server may say nothing.</summary>
    public TimeSpan Silence { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>
/// Asks web servers for files: with retries, and following redirects itself, since a token belongs to the host that it was made for and must not follow to another one.
/// </summary>
internal sealed class WebSource : IDisposable
{
    private const int MostRedirects = 10;
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(30);

    private readonly HttpClient client;
    private readonly string? token;
    private readonly Uri? tokenHost;

    /// <param name="patience">How patient it is.</param>
    /// <param name="token">A bearer token; null for none.</param>
    /// <param name="tokenHost">The address whose host gets the token.</param>
    public WebSource(WebPatience patience, string? token = null, Uri? tokenHost = null)
    {
        (Patience, this.token, this.tokenHost) = (patience, token, tokenHost);
        var handler = new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false, ConnectTimeout = patience.Silence };
        client = new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan };
        client.DefaultRequestHeaders.UserAgent.Add(new ProductInfoHeaderValue("permafrost", typeof(WebSource).Assembly.GetName().Version?.ToString(3) ?? "0"));
        Pipeline = new ResiliencePipelineBuilder().AddRetry(new RetryStrategyOptions
        {
            ShouldHandle = new PredicateBuilder().Handle<WebFailure>(failure => failure.IsTransient),
            MaxRetryAttempts = patience.Retries,
            Delay = patience.Delay,
            BackoffType = DelayBackoffType.Exponential,
            UseJitter = true,
            DelayGenerator = arguments => ValueTask.FromResult(
                arguments.Outcome.Exception is WebFailure { Wait: { } wait } ? TimeSpan.FromTicks(Math.Min(wait.Ticks, LongestWait.Ticks)) : (TimeSpan?)null),
        }).Build();
    }

    /// <summary>How patient it is.</summary>
    public WebPatience Patience { get; }

    /// <summary>Repeats what fails with a transient <see cref="WebFailure"/>.</summary>
    public ResiliencePipeline Pipeline { get; }

    /// <summary>Sends one request, and further ones where it is redirected, and waits for the head of the answer.</summary>
    /// <param name="method">GET or HEAD.</param>
    /// <param name="address">Where to.</param>
    /// <param name="from">The first byte wanted; 0 for all.</param>
    /// <param name="redirected">Sees each redirect, and says whether it is followed; null follows all.</param>
    /// <param name="silence">Ends the request; begun anew here.</param>
    /// <exception cref="WebFailure">There is no answer, or it tells of a failure. An answer of 416 is passed on.</exception>
    public async Task<HttpResponseMessage> SendAsync(HttpMethod method, Uri address, long from, Func<HttpResponseMessage, Uri, bool>? redirected, CancellationTokenSource silence)
    {
        Uri at = address;
        for (int count = 0; count <= MostRedirects; count++)
        {
            silence.CancelAfter(Patience.Silence);
            HttpRequestMessage request = Request(method, at, from);
            HttpResponseMessage response = await TryAsync(() => client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, silence.Token), silence).ConfigureAwait(false);
            if ((int)response.StatusCode is not (301 or 302 or 303 or 307 or 308) || response.Headers.Location is not { } location)
            {
                Check(response);
                return response;
            }
            if (!Uri.TryCreate(at, location, out Uri? next)) throw new WebFailure("it is redirected to something that is not an address", transient: false);
            if (redirected?.Invoke(response, next) == false) return response;
            response.Dispose();
            if (next.Scheme is not ("http" or "https") || (at.Scheme == "https" && next.Scheme == "http"))
                throw new WebFailure($"it is redirected to {next.GetLeftPart(UriPartial.Path)}, which is not safe to follow", transient: false);
            at = next;
        }
        throw new WebFailure("it is redirected without end", transient: false);
    }

    /// <summary>Waits for the network; what it refuses becomes a <see cref="WebFailure"/>.</summary>
    public static async Task<T> TryAsync<T>(Func<Task<T>> wait, CancellationTokenSource silence)
    {
        try
        {
            return await wait().ConfigureAwait(false);
        }
        catch (OperationCanceledException error) when (silence.IsCancellationRequested)
        {
            throw new WebFailure("the server says nothing for too long", transient: true, inner: error);
        }
        catch (Exception error) when (error is HttpRequestException or IOException)
        {
            throw new WebFailure((error.InnerException ?? error).Message.TrimEnd('.'), transient: true, inner: error);
        }
        catch (Exception error) when (error is InvalidOperationException or NotSupportedException or UriFormatException)
        {
            throw new WebFailure(error.Message.TrimEnd('.'), transient: false, inner: error);
        }
    }

    /// <summary>Whether two addresses are of the same host, port and scheme.</summary>
    public static bool IsSameHost(Uri one, Uri other) => Uri.Compare(one, other, UriComponents.SchemeAndServer, UriFormat.Unescaped, StringComparison.OrdinalIgnoreCase) == 0;

    public void Dispose() => client.Dispose();

    private HttpRequestMessage Request(HttpMethod method, Uri address, long from)
    {
        var request = new HttpRequestMessage(method, address);
        if (token is not null && tokenHost is not null && IsSameHost(address, tokenHost)) request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        if (from > 0) request.Headers.Range = new RangeHeaderValue(from, null);
        return request;
    }

    private static void Check(HttpResponseMessage response)
    {
        if (response.IsSuccessStatusCode || response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable) return;
        using (response)
        {
            int status = (int)response.StatusCode;
            bool transient = status is 408 or 429 or >= 500;
            string? code = response.Headers.TryGetValues("X-Error-Code", out IEnumerable<string>? values) ? values.First() : null;
            string said = string.Create(CultureInfo.InvariantCulture, $"the server answers {status} {response.ReasonPhrase}").Trim();
            throw new WebFailure(said, transient, response.StatusCode, response.Headers.RetryAfter?.Delta) { Code = code };
        }
    }
}
