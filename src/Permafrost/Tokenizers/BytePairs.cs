using System.Buffers;
using System.Text;
using Permafrost.Formats;

namespace Permafrost.Tokenizers;

/// <summary>How a byte-pair vocabulary reads words (Hugging Face tokenizers, models/bpe).</summary>
internal sealed record BytePairSettings
{
    /// <summary>Words are bytes, which the vocabulary writes in <see cref="ByteAlphabet"/>; else characters.</summary>
    public bool ByteLevel { get; init; }

    /// <summary>The token of a character that the vocabulary does not have; null to leave such characters out.</summary>
    public string? Unknown { get; init; }

    /// <summary>Unknown characters side by side are one token.</summary>
    public bool FuseUnknown { get; init; }

    /// <summary>A character that is not there becomes tokens of its bytes.</summary>
    public bool ByteFallback { get; init; }

    /// <summary>A word that is a token is that token, whatever merges say.</summary>
    public bool IgnoreMerges { get; init; }

    /// <summary>What stands before a character that does not begin its word.</summary>
    public string ContinuingPrefix { get; init; } = "";

    /// <summary>What stands behind a character that ends its word.</summary>
    public string EndSuffix { get; init; } = "";
}

/// <summary>Two tokens that become one; the lowest rank goes first, and of the same rank the leftmost.</summary>
internal readonly record struct Merge(string Left, string Right, int Rank);

/// <summary>Byte-pair encoding (Sennrich et al. 2016): a word's characters, or its bytes, are merged pair by pair, in the order in which training merged them.</summary>
/// <remarks>
/// Microsoft.ML.Tokenizers 2.0.1 gives the same ids and offsets for bytes (a test holds them to it), but its time grows with the square of a word's length (a million letters:
/// 111 s, here 2 s), and it knows neither byte fallback nor words that ignore merges.
/// </remarks>
internal sealed class BytePairs : WordModel
{
    private readonly BytePairSettings settings;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> vocabulary;
    private readonly Dictionary<ulong, (int Rank, int Id)> merges;
    private readonly int[] bytes = new int[256];  // the tokens of single bytes; -1 where there is none
    private readonly int[]? fallback;
    private readonly int unknown = -1;

    /// <exception cref="PermafrostException">A merge names a token that is not there, or makes one that is not.</exception>
    public BytePairs(Dictionary<string, int> vocabulary, IReadOnlyList<Merge> merges, BytePairSettings settings, string source)
    {
        (this.settings, this.vocabulary) = (settings, vocabulary.GetAlternateLookup<ReadOnlySpan<char>>());
        this.merges = new Dictionary<ulong, (int, int)>(merges.Count);
        foreach ((string left, string right, int rank) in merges)
        {
            string tail = right.StartsWith(settings.ContinuingPrefix, StringComparison.Ordinal) ? right[settings.ContinuingPrefix.Length..] : right;
            int Id(string token) => vocabulary.TryGetValue(token, out int id) ? id
                : throw new PermafrostException(
                    $"{source}: the merge of '{ShownText.Short(left)}' and '{ShownText.Short(right)}' needs the token '{ShownText.Short(token)}', which is not in the vocabulary");
            this.merges[Pair(Id(left), Id(right))] = (rank, Id(left + tail));
        }
        for (int b = 0; b < 256; b++) bytes[b] = settings.ByteLevel ? vocabulary.GetValueOrDefault(ByteAlphabet.Of((byte)b).ToString(), -1) : -1;
        if (settings.ByteFallback) fallback = ByteTokens(vocabulary);
        if (settings.Unknown is { } name && !vocabulary.TryGetValue(name, out unknown))
            throw new PermafrostException($"{source}: the token of unknown characters, '{ShownText.Short(name)}', is not in the vocabulary");
    }

    public int? UnknownId => unknown >= 0 ? unknown : null;

    protected override Piece[] Compute(ReadOnlySpan<char> word)
    {
        if (settings.IgnoreMerges && Whole(word) is { } whole) return [new Piece(whole, 0, word.Length)];
        var symbols = new List<Piece>(word.Length);
        if (settings.ByteLevel) AddBytes(word, symbols);
        else AddCharacters(word, symbols);
        return Merged(symbols);
    }

    private int? Whole(ReadOnlySpan<char> word)
    {
        if (!settings.ByteLevel) return vocabulary.TryGetValue(word, out int there) ? there : null;
        string written = string.Concat(Encoding.UTF8.GetBytes(word.ToString()).Select(ByteAlphabet.Of));
        return vocabulary.TryGetValue(written, out int id) ? id : null;
    }

    private void AddBytes(ReadOnlySpan<char> word, List<Piece> symbols)
    {
        Span<byte> utf8 = stackalloc byte[4];
        for (int at = 0; at < word.Length;)
        {
            int count = Next(word, at, utf8, out int size);
            foreach (byte value in utf8[..count])
                if (bytes[value] >= 0) symbols.Add(new Piece(bytes[value], at, at + size));
                else if (unknown >= 0) symbols.Add(new Piece(unknown, at, at + size));
            at += size;
        }
    }

    private void AddCharacters(ReadOnlySpan<char> word, List<Piece> symbols)
    {
        Span<byte> utf8 = stackalloc byte[4];
        bool isPlain = settings.ContinuingPrefix.Length == 0 && settings.EndSuffix.Length == 0, fuses = false;
        for (int at = 0; at < word.Length;)
        {
            int count = Next(word, at, utf8, out int size), end = at + size;
            ReadOnlySpan<char> character = word[at..end];
            if (!isPlain) character = (at > 0 ? settings.ContinuingPrefix : "") + character.ToString() + (end == word.Length ? settings.EndSuffix : "");
            if (vocabulary.TryGetValue(character, out int id)) symbols.Add(new Piece(id, at, end));
            else if (fallback is not null)
                foreach (byte value in isPlain ? utf8[..count] : Encoding.UTF8.GetBytes(character.ToString())) symbols.Add(new Piece(fallback[value], at, end));
            else if (unknown >= 0 && fuses && settings.FuseUnknown) symbols[^1] = symbols[^1] with { To = end };
            else if (unknown >= 0) symbols.Add(new Piece(unknown, at, end));
            fuses = symbols.Count > 0 && symbols[^1].Id == unknown && symbols[^1].To == end;
            at = end;
        }
    }

    private static int Next(ReadOnlySpan<char> word, int at, Span<byte> utf8, out int size)
    {
        if (Rune.DecodeFromUtf16(word[at..], out Rune rune, out size) != OperationStatus.Done) rune = Rune.ReplacementChar;
        return rune.EncodeToUtf8(utf8);
    }

    private Piece[] Merged(List<Piece> symbols)
    {
        int count = symbols.Count;
        if (count < 2) return [.. symbols];
        Piece[] pieces = [.. symbols];
        // Each symbol that is left knows its neighbours; one that was merged into another has the length 0 in next.
        (int[] next, int[] before) = (new int[count], new int[count]);
        var queue = new PriorityQueue<(int At, int Left, int Right), long>();
        void Propose(int at)
        {
            int right = next[at];
            if (right < count && merges.TryGetValue(Pair(pieces[at].Id, pieces[right].Id), out (int Rank, int Id) merge))
                queue.Enqueue((at, pieces[at].Id, pieces[right].Id), (long)merge.Rank << 32 | (uint)at);
        }
        for (int i = 0; i < count; i++) (next[i], before[i]) = (i + 1, i - 1);
        for (int i = 0; i < count; i++) Propose(i);
        while (queue.TryDequeue(out (int At, int Left, int Right) pair, out _))
        {
            int right = next[pair.At];
            // What was proposed may be gone.
            if (right == 0 || right >= count || pieces[pair.At].Id != pair.Left || pieces[right].Id != pair.Right) continue;
            pieces[pair.At] = new Piece(merges[Pair(pair.Left, pair.Right)].Id, pieces[pair.At].From, pieces[right].To);
            next[pair.At] = next[right];
            next[right] = 0;
            if (next[pair.At] < count) before[next[pair.At]] = pair.At;
            Propose(pair.At);
            if (before[pair.At] >= 0) Propose(before[pair.At]);
        }
        var merged = new List<Piece>();
        for (int i = 0; i < count; i = next[i]) merged.Add(pieces[i]);
        return [.. merged];
    }

    private static ulong Pair(int left, int right) => (ulong)(uint)left << 32 | (uint)right;
}
