namespace Permafrost.Server;

/// <summary>A request that cannot be answered: a status code and one sentence.</summary>
/// <param name="status">The HTTP status code.</param>
/// <param name="message">What is wrong and what to do.</param>
public sealed class RequestException(int status, string message) : PermafrostException(message)
{
    /// <summary>The HTTP status code.</summary>
    public int Status { get; } = status;

    /// <summary>Seconds after which to try again, for <c>Retry-After</c>; null where trying again does not help.</summary>
    public int? RetryAfter { get; init; }

    internal static RequestException BadInput(string message) => new(StatusCodes.Status400BadRequest, message);
}
