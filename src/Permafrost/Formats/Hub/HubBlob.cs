using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Permafrost.Formats.Hub;

/// <summary>A file's content in the cache, <c>blobs/ETAG</c>, which its own name can check.</summary>
internal static class HubBlob
{
    /// <summary>Whether a file's content is what an ETag says: 64 hex digits are its SHA-256, 40 git's SHA-1 of it.</summary>
    public static bool Matches(string path, string etag)
    {
        using FileStream stream = File.OpenRead(path);
        using var hash = IncrementalHash.CreateHash(etag.Length == 64 ? HashAlgorithmName.SHA256 : HashAlgorithmName.SHA1);
        if (etag.Length != 64) hash.AppendData(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"blob {stream.Length}\0")));
        var piece = new byte[1 << 20];
        while (stream.Read(piece) is > 0 and var count) hash.AppendData(piece.AsSpan(0, count));
        return Convert.ToHexStringLower(hash.GetHashAndReset()) == etag;
    }
}
