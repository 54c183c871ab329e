using System.Collections.Concurrent;

namespace Permafrost.Tokenizers;

/// <summary>A token of a word, and which UTF-16 units of the word it stands for; a token of some bytes of a character stands for all of it.</summary>
internal readonly record struct Piece(int Id, int From, int To);

/// <summary>Cuts words into the tokens of a vocabulary. Words repeat, so what short ones are cut into is remembered.</summary>
internal abstract class WordModel
{
    private const int MostKnownWords = 1 << 16;
    private const int LongestKnownWord = 48;

    private readonly ConcurrentDictionary<string, Piece[]>.AlternateLookup<ReadOnlySpan<char>> known =
        new ConcurrentDictionary<string, Piece[]>(StringComparer.Ordinal).GetAlternateLookup<ReadOnlySpan<char>>();

    private int knownWords;

    public Piece[] Encode(ReadOnlySpan<char> word)
    {
        if (word.Length > LongestKnownWord) return Compute(word);
        if (known.TryGetValue(word, out Piece[]? pieces)) return pieces;
        pieces = Compute(word);
        if (Volatile.Read(ref knownWords) < MostKnownWords && known.TryAdd(word, pieces)) Interlocked.Increment(ref knownWords);
        return pieces;
    }

    protected abstract Piece[] Compute(ReadOnlySpan<char> word);

    /// <summary>The ids of the tokens that stand for single bytes, such as <c>&lt;0x0A&gt;</c>; null where one is missing.</summary>
    protected static int[]? ByteTokens(IReadOnlyDictionary<string, int> vocabulary)
    {
        int[] ids = [.. Enumerable.Range(0, 256).Select(b => vocabulary.GetValueOrDefault(ByteToken((byte)b), -1))];
        return ids.Contains(-1) ? null : ids;
    }

    public static string ByteToken(byte value) => $"<0x{value:X2}>";
}
