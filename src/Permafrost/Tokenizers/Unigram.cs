using System.Buffers;
using System.Text;

namespace Permafrost.Tokenizers;

/// <summary>A piece of a Unigram vocabulary.</summary>
/// <param name="Text">How it is written; U+2581 stands for a space.</param>
/// <param name="Score">The logarithm of its probability.</param>
/// <param name="IsFound">Whether it is looked for in texts; control pieces are not.</param>
/// <param name="IsUsers">Found wherever it stands, whatever the scores say.</param>
internal readonly record struct UnigramPiece(string Text, double Score, bool IsFound = true, bool IsUsers = false);

/// <summary>How a Unigram vocabulary is read.</summary>
/// <param name="Unknown">The id of characters that it does not have; null for none.</param>
/// <param name="ByteFallback">Such characters become tokens of their bytes.</param>
/// <param name="FusesFallback">Bytes stand for all of a run of unknown characters, as in Hugging Face's library, and not each for its own.</param>
/// <param name="SinglePrecision">Scores are added in float32, as SentencePiece does: it decides between words that are as probable.</param>
internal readonly record struct UnigramSettings(int? Unknown, bool ByteFallback, bool FusesFallback = true, bool SinglePrecision = false);

/// <summary>
/// The Unigram model (Kudo 2018; SentencePiece, unigram_model.cc, EncodeOptimized): of all the ways to cut a word into pieces the most probable one, found in one pass over its
/// bytes.
/// </summary>
internal sealed class Unigram : WordModel
{
    // What an unknown character costs more than the least probable piece.
    private const double UnknownPenalty = 10;
    private const int LongestPiece = 1 << 10;
    private const char Mark = '\u2581';

    private readonly UnigramSettings settings;
    private readonly PieceTrie trie;
    private readonly double[] scores;
    private readonly bool[] isUsers;
    private readonly double unknownScore;
    private readonly double highest;
    private readonly int[]? fallback;

    // No piece goes on behind the beginning of a word, so that words can be cut one by one.
    private readonly bool apart;
    private readonly WordMemory<Known> words = new();

    /// <exception cref="PermafrostException">A piece is empty or there twice, or a score is no number.</exception>
    public Unigram(IReadOnlyList<UnigramPiece> pieces, UnigramSettings settings, string source)
    {
        this.settings = settings;
        var known = new Dictionary<string, int>(StringComparer.Ordinal);
        (scores, isUsers) = (new double[pieces.Count], new bool[pieces.Count]);
        var found = new List<(byte[], int)>();
        (double low, double high) = (double.PositiveInfinity, double.NegativeInfinity);
        for (int id = 0; id < pieces.Count; id++)
        {
            (string text, double score, bool isFound, bool isUser) = pieces[id];
            if (!double.IsFinite(score)) throw new PermafrostException($"{source}: the score of the piece {id}, '{text}', is no number");
            if (!known.TryAdd(text, id)) throw new PermafrostException($"{source}: the piece '{text}' is there twice, as {known[text]} and as {id}");
            if (text.Length > LongestPiece) throw new PermafrostException($"{source}: the piece {id} has {text.Length:N0} characters; at most {LongestPiece:N0} are known");
            (scores[id], isUsers[id]) = (settings.SinglePrecision ? (float)score : score, isUser);
            if (!isFound || text.Length == 0) continue;
            found.Add((Encoding.UTF8.GetBytes(text), id));
            if (!isUser) (low, high) = (Math.Min(low, scores[id]), Math.Max(high, scores[id]));
        }
        trie = new PieceTrie(found);
        apart = pieces.All(piece => !piece.IsFound || piece.Text.LastIndexOf(Mark) <= 0);
        (unknownScore, highest) = double.IsFinite(low) ? (low - UnknownPenalty, high) : (-UnknownPenalty, 0);
        if (settings.ByteFallback) fallback = ByteTokens(known);
    }

    /// <summary>Whether every character can be expressed, by its bytes.</summary>
    public bool KnowsBytes => fallback is not null;

    // The best way to a place in the text: its score, the piece that ends it (-1: an unknown character), where that begins, and how much better it is than the next.
    private record struct Way(double Score, int Piece, int From, double Margin);

    // What a word is cut into, the scores that its pieces add, and how much better that is than anything else.
    private sealed record Known(Piece[] Pieces, double[] Steps, double Margin);

    protected override Piece[] Compute(ReadOnlySpan<char> word)
    {
        if (!settings.SinglePrecision || !apart) return Finished([.. Best(word, 0).Pieces], word);
        // Words by themselves, with the score of those before: what was rounded decides between ways that are about as good.
        var pieces = new List<Piece>();
        double score = 0;
        for (int from = 0; from < word.Length;)
        {
            int next = word[(from + 1)..].IndexOf(Mark), to = next < 0 ? word.Length : from + 1 + next;
            ReadOnlySpan<char> part = word[from..to];
            if (!words.TryGet(part, out Known? known, out int slot)) words.Put(part, known = Best(part, 0), slot);
            double rounding = Math.Abs(score) * 1e-5 + 1e-4;
            if (known.Margin < rounding) known = Best(part, score);
            foreach (double step in known.Steps) score = (float)(score + step);
            foreach ((int id, int start, int end) in known.Pieces) Append(pieces, new Piece(id, from + start, from + end));
            from = to;
        }
        return Finished(pieces, word);
    }

    private Known Best(ReadOnlySpan<char> word, double score)
    {
        byte[] bytes = ArrayPool<byte>.Shared.Rent(3 * word.Length);
        Way[] ways = ArrayPool<Way>.Shared.Rent(3 * word.Length + 1);
        try
        {
            // Half of a surrogate pair becomes U+FFFD, of three bytes.
            ReadOnlySpan<byte> text = bytes.AsSpan(0, Encoding.UTF8.GetBytes(word, bytes));
            ways.AsSpan(0, text.Length + 1).Fill(new Way(score, -1, -1, double.PositiveInfinity));
            Search(text, ways);
            (var path, double margin) = (new List<(int From, int To)>(), double.PositiveInfinity);
            for (int end = text.Length; end > 0; end = ways[end].From)
            {
                path.Add((ways[end].From, end));
                margin = Math.Min(margin, ways[end].Margin);
            }
            path.Reverse();
            var pieces = new List<Piece>(path.Count);
            int unit = 0;
            foreach ((int from, int to) in path)
            {
                int end = unit + Units(text[from..to]);
                Add(pieces, ways[to].Piece, text[from..to], unit, end);
                unit = end;
            }
            return new Known([.. pieces], [.. path.Select(step => Step(ways[step.To].Piece, step.To - step.From))], margin);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
            ArrayPool<Way>.Shared.Return(ways);
        }
    }

    private double Step(int piece, int length) => piece < 0 ? unknownScore : isUsers[piece] ? length * highest - 0.1 : scores[piece];

    private void Search(ReadOnlySpan<byte> text, Way[] ways)
    {
        int size;
        for (int from = 0; from < text.Length; from += size)
        {
            size = Math.Min(Size(text[from]), text.Length - from);
            double here = ways[from].Score;
            bool knowsCharacter = false;
            int node = 0;
            for (int at = from; at < text.Length && trie.Follow(ref node, text[at]);)
            {
                int piece = trie.Value(node), length = ++at - from;
                if (piece < 0) continue;
                Improve(ref ways[at], here + Step(piece, length), piece, from);
                knowsCharacter |= length == size;
            }
            if (!knowsCharacter) Improve(ref ways[from + size], here + unknownScore, -1, from);
        }
    }

    private void Improve(ref Way way, double score, int piece, int from)
    {
        if (settings.SinglePrecision && way.From >= 0) way.Margin = Math.Min(way.Score < score ? double.PositiveInfinity : way.Margin, Math.Abs(score - way.Score));
        if (way.From >= 0 && !(score > way.Score)) return;
        way = new Way(settings.SinglePrecision ? (float)score : score, piece, from, way.Margin);
    }

    // Unknown characters side by side are one.
    private void Add(List<Piece> pieces, int piece, ReadOnlySpan<byte> text, int from, int to)
    {
        if (piece < 0 && fallback is not null && !settings.FusesFallback) foreach (byte value in text) pieces.Add(new Piece(fallback[value], from, to));
        else Append(pieces, new Piece(piece, from, to));
    }

    private static void Append(List<Piece> pieces, Piece piece)
    {
        if (piece.Id == -1 && pieces.Count > 0 && pieces[^1].Id == -1) pieces[^1] = pieces[^1] with { To = piece.To };
        else pieces.Add(piece);
    }

    private Piece[] Finished(List<Piece> pieces, ReadOnlySpan<char> word)
    {
        if (!pieces.Exists(piece => piece.Id == -1)) return [.. pieces];
        var finished = new List<Piece>(pieces.Count);
        foreach (Piece piece in pieces)
        {
            if (piece.Id >= 0) finished.Add(piece);
            else if (fallback is not null)
                foreach (byte value in Encoding.UTF8.GetBytes(word[piece.From..piece.To].ToString())) finished.Add(piece with { Id = fallback[value] });
            else if (settings.Unknown is { } unknown) finished.Add(piece with { Id = unknown });
        }
        return [.. finished];
    }

    private static int Size(byte first) => first switch { < 0x80 => 1, < 0xE0 => 2, < 0xF0 => 3, _ => 4 };

    // How many UTF-16 units some bytes are.
    private static int Units(ReadOnlySpan<byte> text)
    {
        int units = 0;
        foreach (byte value in text) units += value < 0x80 || value is >= 0xC0 and < 0xF0 ? 1 : value >= 0xF0 ? 2 : 0;
        return units;
    }
}
