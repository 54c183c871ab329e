namespace Permafrost.Tokenizers;

/// <summary>A token of a word, and which UTF-16 units of the word it stands for; a token of some bytes of a character stands for all of it.</summary>
internal readonly record struct Piece(int Id, int From, int To);

/// <summary>Cuts words into the tokens of a vocabulary. Words repeat, so what short ones are cut into is remembered.</summary>
internal abstract class WordModel
{
    private readonly WordMemory<Piece[]> known = new();

    public Piece[] Encode(ReadOnlySpan<char> word)
    {
        if (!known.TryGet(word, out Piece[]? pieces, out int slot)) known.Put(word, pieces = Compute(word), slot);
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
