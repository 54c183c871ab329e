using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Tokenizers;

namespace Permafrost.Pretraining;

/// <summary>A document in the token cache.</summary>
/// <param name="Name">Its name: of the file, or of its mark in the file.</param>
/// <param name="Start">Number of its first token in its file.</param>
/// <param name="Tokens">How many it has.</param>
/// <param name="Bytes">Its length in UTF-8.</param>
/// <param name="Sha256">Of its text in UTF-8, in lower-case hex.</param>
public sealed record CorpusDocument(string Name, long Start, long Tokens, long Bytes, string Sha256);

/// <summary>
/// The tokens of one file, in shards that are mapped into memory: made once, and found again by the hashes of file and tokenizer. A folder with <c>index.json</c> and
/// <c>tokens-00000.bin</c>, ..., little-endian, two bytes a token where the vocabulary allows.
/// </summary>
public sealed class TokenCache : IDisposable
{
    // Raised when the layout or the way to it changes.
    private const int Version = 1;

    private const long ShardTokens = 1L << 26;
    private const int Batch = 64;
    private const string Index = "index.json";

    // It names every document of a corpus.
    private const long MostIndexBytes = 1L << 30;

    private readonly MappedFile[] shards;
    private readonly int width;

    private TokenCache(CorpusFile file, string folder)
    {
        File = file;
        string index = Path.Combine(folder, Index);
        JsonObject json = JsonFile.Read(index, MostIndexBytes);
        try
        {
            width = JsonFile.Given(json, "bytes_per_token").GetValue<int>();
            Tokens = JsonFile.Given(json, "tokens").GetValue<long>();
            Replaced = JsonFile.Given(json, "replaced").GetValue<long>();
            Documents = [.. JsonFile.Given(json, "documents").AsArray().Select(one => new CorpusDocument(
                JsonFile.Given(one!, "name").GetValue<string>(), JsonFile.Given(one!, "start").GetValue<long>(), JsonFile.Given(one!, "tokens").GetValue<long>(),
                JsonFile.Given(one!, "bytes").GetValue<long>(), JsonFile.Given(one!, "sha256").GetValue<string>()))];
        }
        catch (Exception error) when (error is FormatException or InvalidOperationException or OverflowException)
        {
            throw new PermafrostException($"{index} is damaged: {error.Message.TrimEnd('.')}; remove its folder to have it made again");
        }
        shards = [.. Enumerable.Range(0, (int)((Tokens + ShardTokens - 1) / ShardTokens)).Select(i => new MappedFile(Shard(folder, i)))];
        if (shards.Sum(shard => shard.Length) == Tokens * width && width is 2 or 4) return;
        Dispose();
        throw new PermafrostException($"{folder} is damaged: its shards do not hold {Tokens:N0} tokens; remove it to have it made again");
    }

    /// <summary>The file.</summary>
    public CorpusFile File { get; }

    /// <summary>How many tokens there are.</summary>
    public long Tokens { get; }

    /// <summary>Byte sequences that were no UTF-8, each replaced by U+FFFD.</summary>
    public long Replaced { get; }

    /// <summary>The documents, in the file's order.</summary>
    public IReadOnlyList<CorpusDocument> Documents { get; }

    /// <summary>The tokens of a file, from the cache, or computed and put there.</summary>
    /// <param name="file">The file.</param>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="tokenizerSha256">Of the tokenizer's files.</param>
    /// <param name="folder">The cache's folder; null for the usual one.</param>
    /// <param name="strict">Whether bytes that are no UTF-8 are refused rather than replaced.</param>
    /// <param name="progress">Told of files that have to be tokenized.</param>
    /// <param name="cancellation">Ends it; nothing half-made stays.</param>
    /// <exception cref="PermafrostException">The file cannot be read, or the cache cannot be written.</exception>
    public static TokenCache Open(
        CorpusFile file, Tokenizer tokenizer, string tokenizerSha256, string? folder = null, bool strict = false, Action<string>? progress = null,
        CancellationToken cancellation = default)
    {
        string key = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{Version}:{file.BareName}:{file.Sha256}:{tokenizerSha256}")))[..32];
        string place = Path.Combine(folder ?? Path.Combine(CacheHome.Folder, "tokens"), key);
        if (!System.IO.File.Exists(Path.Combine(place, Index)))
        {
            progress?.Invoke($"tokenizing {file.Path}");
            Write(file, tokenizer, place, strict, cancellation);
        }
        var cache = new TokenCache(file, place);
        if (!strict || cache.Replaced == 0) return cache;
        cache.Dispose();
        throw new PermafrostException($"{file.Path} holds {cache.Replaced} byte sequences that are not UTF-8; mend the file, or let them be replaced");
    }

    /// <summary>Copies tokens from a place on.</summary>
    public void Read(long start, Span<long> into)
    {
        for (int done = 0; done < into.Length;)
        {
            (long shard, long at) = Math.DivRem(start + done, ShardTokens);
            int count = (int)Math.Min(into.Length - done, ShardTokens - at);
            ReadOnlySpan<byte> bytes = shards[shard].Span(at * width, count * width);
            Span<long> part = into.Slice(done, count);
            if (width == 2)
            {
                ReadOnlySpan<ushort> ids = MemoryMarshal.Cast<byte, ushort>(bytes);
                for (int i = 0; i < count; i++) part[i] = ids[i];
            }
            else
            {
                ReadOnlySpan<int> ids = MemoryMarshal.Cast<byte, int>(bytes);
                for (int i = 0; i < count; i++) part[i] = ids[i];
            }
            done += count;
        }
    }

    /// <summary>Unmaps the shards.</summary>
    public void Dispose()
    {
        foreach (MappedFile shard in shards) shard.Dispose();
    }

    private static string Shard(string folder, int number) => Path.Combine(folder, FormattableString.Invariant($"tokens-{number:00000}.bin"));

    private static void Write(CorpusFile file, Tokenizer tokenizer, string place, bool strict, CancellationToken cancellation)
    {
        // Another process may be at the same file, on another machine too, with this process's number.
        string temporary = $"{place}.{Guid.NewGuid():N}.tmp";
        try
        {
            Directory.CreateDirectory(temporary);
            var reader = new CorpusReader(file, strict);
            using (var writer = new Writer(temporary, tokenizer.VocabularySize <= 1 << 16 ? 2 : 4))
            {
                foreach (CorpusPiece[] pieces in reader.Pieces().Chunk(Batch))
                {
                    string[] texts = [.. pieces.Select(piece => piece.Text)];
                    IReadOnlyList<TokenizedText> tokens = tokenizer.EncodeBatch(texts, addSpecialTokens: false, splitSpecialTokens: true, cancellation: cancellation);
                    for (int i = 0; i < pieces.Length; i++) writer.Add(pieces[i], tokens[i].Ids);
                    cancellation.ThrowIfCancellationRequested();
                }
                writer.End(reader.Replaced);
            }
            Keep(temporary, place);
        }
        catch (Exception error) when (AtomicFile.IsRefusal(error))
        {
            TryDelete(temporary);
            string remedy = AtomicFile.IsFull(error) ? "free some space" : "put that right";
            throw new PermafrostException($"cannot write the token cache {place}: {AtomicFile.Reason(error)}; {remedy}", error);
        }
        catch
        {
            TryDelete(temporary);
            throw;
        }
    }

    // Nothing that is in its place is ever deleted: another process may just have put it there, and be reading it.
    private static void Keep(string temporary, string place)
    {
        try
        {
            Directory.Move(temporary, place);
            return;
        }
        catch (IOException) when (Directory.Exists(place))
        {
            // It is there already, by another process, or without its index.
        }
        if (!System.IO.File.Exists(Path.Combine(place, Index)))
            foreach (string made in Directory.GetFiles(temporary).OrderBy(path => Path.GetFileName(path) == Index))
                System.IO.File.Move(made, Path.Combine(place, Path.GetFileName(made)), overwrite: true);
        TryDelete(temporary);
    }

    private static void TryDelete(string folder)
    {
        try
        {
            if (Directory.Exists(folder)) Directory.Delete(folder, recursive: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // The first failure is the one to report.
        }
    }

    private sealed class Writer(string folder, int width) : IDisposable
    {
        private readonly JsonArray documents = [];
        private FileStream? shard;
        private long tokens;
        private string? name;
        private long start;
        private long bytes;
        private IncrementalHash? hash;

        public void Add(CorpusPiece piece, int[] ids)
        {
            if (piece.First || name is null) Begin(piece.Document);
            byte[] text = Encoding.UTF8.GetBytes(piece.Text);
            hash!.AppendData(text);
            bytes += text.Length;
            var row = new byte[ids.Length * width];
            if (width == 2) for (int i = 0; i < ids.Length; i++) MemoryMarshal.Cast<byte, ushort>(row.AsSpan())[i] = (ushort)ids[i];
            else MemoryMarshal.Cast<int, byte>(ids).CopyTo(row);
            for (int done = 0; done < ids.Length;)
            {
                if (tokens % ShardTokens == 0) NextShard();
                int count = (int)Math.Min(ids.Length - done, ShardTokens - tokens % ShardTokens);
                shard!.Write(row, done * width, count * width);
                (tokens, done) = (tokens + count, done + count);
            }
        }

        public void End(long replaced)
        {
            EndDocument();
            shard?.Flush(flushToDisk: true);
            AtomicFile.WriteText(Path.Combine(folder, Index), new JsonObject
            {
                ["version"] = Version,
                ["bytes_per_token"] = width,
                ["tokens"] = tokens,
                ["replaced"] = replaced,
                ["documents"] = documents,
            }.ToJsonString() + "\n");
        }

        public void Dispose()
        {
            shard?.Dispose();
            hash?.Dispose();
        }

        private void Begin(string document)
        {
            EndDocument();
            (name, start, bytes) = (document, tokens, 0);
            hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        }

        private void EndDocument()
        {
            if (name is null) return;
            string sum = Convert.ToHexStringLower(hash!.GetHashAndReset());
            hash.Dispose();
            if (tokens > start) documents.Add((JsonNode)new JsonObject { ["name"] = name, ["start"] = start, ["tokens"] = tokens - start, ["bytes"] = bytes, ["sha256"] = sum });
            name = null;
        }

        private void NextShard()
        {
            shard?.Flush(flushToDisk: true);
            shard?.Dispose();
            shard = new FileStream(Shard(folder, (int)(tokens / ShardTokens)), FileMode.Create, FileAccess.Write, FileShare.None, 1 << 20);
        }
    }
}
