using System.Globalization;
using Permafrost.Formats.Web;

namespace Permafrost.Formats.Hub;

/// <summary>
/// How Hugging Face is reached, by the variables of its own client (huggingface_hub constants.py and utils/_auth.py): <c>HF_ENDPOINT</c>, <c>HF_TOKEN</c> or the file of
/// <c>HF_TOKEN_PATH</c> (token in $HF_HOME), <c>HF_HUB_DISABLE_IMPLICIT_TOKEN</c>, <c>HF_HUB_OFFLINE</c>, <c>HF_HUB_DOWNLOAD_TIMEOUT</c> (seconds).
/// </summary>
internal sealed record HubSettings
{
    private const string Public = "https://huggingface.co";

    /// <summary>The server, without a slash at its end.</summary>
    public required string Endpoint { get; init; }

    /// <summary>The user's token; null for none.</summary>
    public string? Token { get; init; }

    /// <summary>Whether the network is not to be used.</summary>
    public bool Offline { get; init; }

    /// <summary>How patient downloads are.</summary>
    public WebPatience Patience { get; init; } = new();

    /// <summary>As the environment says.</summary>
    /// <exception cref="UsageException">A variable holds something else than it should.</exception>
    public static HubSettings FromEnvironment()
    {
        string endpoint = (Text("HF_ENDPOINT") ?? Public).TrimEnd('/');
        if (!Uri.TryCreate(endpoint, UriKind.Absolute, out Uri? address) || address.Scheme is not ("http" or "https"))
            throw new UsageException($"HF_ENDPOINT is '{endpoint}', which is no address; write http:// or https://, or unset it");
        var patience = new WebPatience();
        if (Text("HF_HUB_DOWNLOAD_TIMEOUT") is { } text)
        {
            patience = double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double seconds) && seconds is > 0 and < 1e6
                ? patience with { Silence = TimeSpan.FromSeconds(seconds) }
                : throw new UsageException($"HF_HUB_DOWNLOAD_TIMEOUT is '{text}', where a number of seconds is needed");
        }
        return new HubSettings { Endpoint = endpoint, Token = FindToken(), Offline = Flag("HF_HUB_OFFLINE") || Flag("TRANSFORMERS_OFFLINE"), Patience = patience };
    }

    private static string? FindToken()
    {
        if (Flag("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return null;
        if (Clean(Text("HF_TOKEN") ?? Text("HUGGING_FACE_HUB_TOKEN"), "HF_TOKEN") is { } token) return token;
        string path = HubCache.Variable("HF_TOKEN_PATH") ?? Path.Combine(HubCache.HubHome, "token");
        try
        {
            return File.Exists(path) ? Clean(File.ReadAllText(path), path) : null;
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
    }

    private static string? Clean(string? token, string source)
    {
        token = token?.Replace("\r", "", StringComparison.Ordinal).Replace("\n", "", StringComparison.Ordinal).Trim();
        if (token is not { Length: > 0 }) return null;
        return token.All(c => c is > ' ' and < '\x7f') ? token : throw new UsageException($"{source} holds no token: it has characters that a token cannot have");
    }

    private static string? Text(string name) => Environment.GetEnvironmentVariable(name) is { } text && text.Trim() is { Length: > 0 } trimmed ? trimmed : null;

    private static bool Flag(string name) => Text(name)?.ToUpperInvariant() is "1" or "ON" or "YES" or "TRUE";
}
