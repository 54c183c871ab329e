namespace Permafrost.Tokenizers;

/// <summary>Keeps the first tokens of a text up to a bound, and counts the others.</summary>
internal sealed class TokenList
{
    private readonly int? most;
    private readonly List<int> ids;
    private readonly List<(int, int)> offsets;
    private int dropped;

    /// <param name="most">The bound; null for none.</param>
    /// <param name="characters">The text's, of which a token has several.</param>
    public TokenList(int? most, int characters)
    {
        this.most = most;
        int expected = Math.Min(characters / 4 + 8, most ?? int.MaxValue);
        (ids, offsets) = (new List<int>(expected), new List<(int, int)>(expected));
    }

    public int Count => ids.Count;

    public void Add(int id, int start, int end)
    {
        if (ids.Count >= most)
        {
            dropped++;
            return;
        }
        ids.Add(id);
        offsets.Add((start, end));
    }

    public TokenizedText Between(int[] before, int[] after) =>
        new([.. before, .. ids, .. after], [.. before.Select(_ => (0, 0)), .. offsets, .. after.Select(_ => (0, 0))], dropped);
}
