using System.Threading.RateLimiting;

namespace Permafrost.Server;

/// <summary>Who may come in, and how often.</summary>
internal sealed class Gatekeeper : IDisposable
{
    private static readonly string[] Everything = ["*"];
    private readonly ApiKeys? keys;
    private readonly PartitionedRateLimiter<string>? limiter;

    public Gatekeeper(ServerOptions options)
    {
        keys = options.KeysFile is { } path ? ApiKeys.Read(path) : null;
        if (options.Rate <= 0) return;
        // A second's worth at once, and at least one.
        int burst = Math.Max(1, (int)Math.Ceiling(options.Rate));
        limiter = PartitionedRateLimiter.Create<string, string>(who => RateLimitPartition.GetTokenBucketLimiter(who, _ => new TokenBucketRateLimiterOptions
        {
            TokenLimit = burst,
            TokensPerPeriod = burst,
            ReplenishmentPeriod = TimeSpan.FromSeconds(burst / options.Rate),
            QueueLimit = 0,
        }));
    }

    /// <summary>The adapters that a request's key opens; * for all.</summary>
    /// <exception cref="RequestException">There is no key, or one that is not known.</exception>
    public IReadOnlyList<string> Opened(HttpContext http)
    {
        if (keys is null) return Everything;
        string? key = KeyOf(http);
        IReadOnlyList<string> opened = keys.Opens(key);
        if (opened.Count > 0) return opened;
        throw new RequestException(
            StatusCodes.Status401Unauthorized, key is null ? "an API key is needed: send it as `Authorization: Bearer KEY`" : "the API key is not known here");
    }

    /// <summary>Refuses who may not ask an adapter, or with null who may not see all.</summary>
    /// <exception cref="RequestException">The key is missing, unknown, or another adapter's.</exception>
    public void Check(HttpContext http, string? adapter)
    {
        IReadOnlyList<string> opened = Opened(http);
        if (opened.Contains("*") || (adapter is not null && opened.Contains(adapter))) return;
        throw new RequestException(StatusCodes.Status403Forbidden, adapter is null ? "this needs a key for all adapters" : "the API key is not for this adapter");
    }

    /// <summary>Refuses who asks too often.</summary>
    /// <exception cref="RequestException">The rate is used up.</exception>
    public void CheckRate(HttpContext http)
    {
        if (limiter is null) return;
        string who = keys is not null && KeyOf(http) is { } key ? key : $"{http.Connection.RemoteIpAddress}";
        using RateLimitLease lease = limiter.AttemptAcquire(who);
        if (lease.IsAcquired) return;
        int seconds = lease.TryGetMetadata(MetadataName.RetryAfter, out TimeSpan wait) ? Math.Max(1, (int)Math.Ceiling(wait.TotalSeconds)) : 1;
        throw new RequestException(
            StatusCodes.Status429TooManyRequests, $"that is more requests a second than this server takes from one client; try again in {seconds} s")
        { RetryAfter = seconds };
    }

    public void Dispose() => limiter?.Dispose();

    private static string? KeyOf(HttpContext http)
    {
        string given = http.Request.Headers.Authorization.ToString();
        if (given.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase)) return given[7..].Trim();
        return http.Request.Headers["X-API-Key"].ToString() is { Length: > 0 } key ? key : null;
    }
}
