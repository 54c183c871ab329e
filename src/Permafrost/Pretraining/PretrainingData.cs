using System.Security.Cryptography;
using System.Text;
using Permafrost.Tokenizers;

namespace Permafrost.Pretraining;

/// <summary>The text of a pretraining: what is trained on, and, by file, what is held out.</summary>
public sealed class PretrainingData : IDisposable
{
    private readonly List<TokenCache> caches;

    private PretrainingData(List<TokenCache> caches, IReadOnlyList<HeldOut> rules, long separator)
    {
        this.caches = caches;
        var all = new HeldOutRules(rules);
        foreach (TokenCache cache in caches) all.See(cache.File, cache.Documents.Select(document => document.Name));
        all.CheckUsed();
        Train = new TokenStream(caches.SelectMany(cache => cache.Documents.Where(document => !all.Take(cache.File, document)).Select(document => (cache, document))), separator);
        TokenStream Held(TokenCache cache) => new(cache.Documents.Where(document => all.Take(cache.File, document)).Select(document => (cache, document)), separator);
        HeldOut = [.. caches.Select(cache => (cache.File.Name, Held(cache))).Where(pair => pair.Item2.Count > 0)];
    }

    /// <summary>What is trained on.</summary>
    public TokenStream Train { get; }

    /// <summary>What is held out, by the name of its file.</summary>
    public IReadOnlyList<(string File, TokenStream Documents)> HeldOut { get; }

    /// <summary>Byte sequences that were no UTF-8, each replaced by U+FFFD.</summary>
    public long Replaced => caches.Sum(cache => cache.Replaced);

    /// <summary>The files.</summary>
    public IEnumerable<CorpusFile> Files => caches.Select(cache => cache.File);

    /// <summary>Finds the text, and cuts it into tokens where that was not done before.</summary>
    /// <param name="options">Which, and what is held out.</param>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="separator">The token between documents.</param>
    /// <param name="cacheFolder">Where tokens are kept; null for the usual place.</param>
    /// <param name="progress">Told of what takes a while.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <exception cref="PermafrostException">A file cannot be read, or nothing is left to train on.</exception>
    public static PretrainingData Open(
        PretrainingOptions options, Tokenizer tokenizer, long separator, string? cacheFolder = null, Action<string>? progress = null, CancellationToken cancellation = default)
    {
        string sha256 = TokenizerSha256(options.Tokenizer);
        var caches = new List<TokenCache>();
        try
        {
            foreach (CorpusFile file in CorpusReader.Files(options.Paths))
                caches.Add(TokenCache.Open(file, tokenizer, sha256, cacheFolder, options.StrictUtf8, progress, cancellation));
            return new PretrainingData(caches, options.Rules, separator);
        }
        catch
        {
            foreach (TokenCache cache in caches) cache.Dispose();
            throw;
        }
    }

    /// <summary>SHA-256 over the files of a tokenizer.</summary>
    /// <exception cref="PermafrostException">There is no tokenizer.</exception>
    public static string TokenizerSha256(string path)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach ((string file, string name) in TokenizerFiles.FilesOf(path))
        {
            hash.AppendData(SHA256.HashData(File.ReadAllBytes(file)));
            // SentencePiece models are read by what they are called: tokenizer.model is Llama's.
            if (name.EndsWith(".model", StringComparison.Ordinal)) hash.AppendData(Encoding.UTF8.GetBytes(name));
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>Unmaps the tokens.</summary>
    public void Dispose()
    {
        foreach (TokenCache cache in caches) cache.Dispose();
    }
}
