using System.Security.Cryptography;
using System.Text;

namespace Permafrost.Server;

/// <summary>
/// Who may ask which adapter. A file has a line for each key: an adapter's name, or <c>*</c> for all, and the key's SHA-256 in hex, as <c>printf %s KEY | sha256sum</c> prints it;
/// lines that are empty or begin with # are passed over. The keys themselves are in no file.
/// </summary>
public sealed class ApiKeys
{
    private readonly (string Adapter, byte[] Hash)[] entries;

    private ApiKeys((string, byte[])[] entries) => this.entries = entries;

    /// <summary>Reads a file of keys.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="PermafrostException">It cannot be read, or a line is none; the message names it.</exception>
    public static ApiKeys Read(string path)
    {
        string[] lines;
        try
        {
            lines = File.ReadAllLines(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException($"cannot read the keys {path}: {error.Message.TrimEnd('.')}");
        }
        var entries = new List<(string, byte[])>();
        for (int i = 0; i < lines.Length; i++)
        {
            string[] words = lines[i].Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
            if (words.Length == 0 || words[0].StartsWith('#')) continue;
            // What sha256sum prints behind the hash is the name of its input.
            bool fits = words.Length is 2 or 3 && (words.Length == 2 || words[2] == "-") && (words[0] == "*" || AdapterName.IsValid(words[0]));
            if (!fits || words[1].Length != 64 || !words[1].All(char.IsAsciiHexDigit))
                throw new PermafrostException($"{path}:{i + 1}: not an adapter's name (or *) and the SHA-256 of a key in 64 hex digits");
            entries.Add((words[0], Convert.FromHexString(words[1])));
        }
        return entries.Count > 0 ? new ApiKeys([.. entries]) : throw new PermafrostException($"{path} holds no key, so that nobody could ask anything; add a line");
    }

    /// <summary>What a key opens.</summary>
    /// <param name="key">The key; null where none was given.</param>
    /// <returns>Names of adapters, or *; nothing for a key that is not known. It takes the same time whatever the key is.</returns>
    public IReadOnlyList<string> Opens(string? key)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(Encoding.UTF8.GetBytes(key ?? ""), hash);
        var opened = new List<string>();
        foreach ((string adapter, byte[] known) in entries)
            if (CryptographicOperations.FixedTimeEquals(hash, known) && key is not null) opened.Add(adapter);
        return opened;
    }
}
