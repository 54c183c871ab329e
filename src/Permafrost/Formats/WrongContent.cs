using System.Text;

namespace Permafrost.Formats;

/// <summary>What servers and half-made clones leave in a file's place.</summary>
internal static class WrongContent
{
    /// <summary>What a user is told that text under a weight file's name is.</summary>
    public const string TextForWeights = "text under a weight file's name; download the file itself";

    private const int ShownBytes = 256;

    /// <summary>What a file is that begins so, a Git LFS pointer or a web page; null where it is neither.</summary>
    public static string? Of(ReadOnlySpan<byte> first)
    {
        if (GitLfsPointer.Is(first)) return GitLfsPointer.What;
        string text = Encoding.Latin1.GetString(first[..Math.Min(first.Length, ShownBytes)]).TrimStart('\u00ef', '\u00bb', '\u00bf', ' ', '\t', '\r', '\n');
        return text.StartsWith("<!doctype html", StringComparison.OrdinalIgnoreCase) || text.StartsWith("<html", StringComparison.OrdinalIgnoreCase)
            ? "a web page under another file's name; download the file itself" : null;
    }

    /// <summary>Whether eight bytes are text, as of a server's error; as the length that a safetensors file begins with they would be absurd.</summary>
    public static bool IsText(ReadOnlySpan<byte> first) => first.Length >= 8 && !first[..8].ContainsAnyExcept(Printable);

    private static readonly System.Buffers.SearchValues<byte> Printable =
        System.Buffers.SearchValues.Create([(byte)'\t', (byte)'\r', (byte)'\n', .. Enumerable.Range(' ', '~' - ' ' + 1).Select(c => (byte)c)]);
}
