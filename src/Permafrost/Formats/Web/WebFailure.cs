using System.Net;

namespace Permafrost.Formats.Web;

/// <summary>Why a server gave no answer, or not the one that was asked for: a clause, without the address.</summary>
internal sealed class WebFailure(string message, bool transient, HttpStatusCode? status = null, TimeSpan? wait = null, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Whether another attempt may go better.</summary>
    public bool IsTransient => transient;

    /// <summary>What the server said; null where it said nothing.</summary>
    public HttpStatusCode? Status => status;

    /// <summary>How long the server asks to be left alone.</summary>
    public TimeSpan? Wait => wait;

    /// <summary>Hugging Face's own word for what is wrong, such as <c>GatedRepo</c>.</summary>
    public string? Code { get; init; }
}
