namespace Permafrost.Tokenizers;

/// <summary>Keeps the first tokens of a text up to a bound, between special ones, and counts the others.</summary>
internal sealed class TokenList
{
    private readonly int[] before;
    private readonly int[] after;
    private readonly int most;
    private int[] ids;
    private (int Start, int End)[] offsets;
    private int count;
    private int dropped;

    /// <param name="before">The special tokens before the text's.</param>
    /// <param name="after">Those behind them.</param>
    /// <param name="most">Most tokens, special ones included; null for no bound.</param>
    /// <param name="characters">The text's, of which a token has several.</param>
    public TokenList(int[] before, int[] after, int? most, int characters)
    {
        (this.before, this.after, this.most) = (before, after, (most ?? int.MaxValue) - after.Length);
        int expected = Math.Min(characters / 4 + 8 + before.Length + after.Length, most ?? int.MaxValue);
        (ids, offsets) = (new int[expected], new (int, int)[expected]);
        before.CopyTo(ids, 0);
        count = before.Length;
    }

    /// <summary>The text's tokens so far.</summary>
    public int Count => count - before.Length;

    public void Add(int id, int start, int end)
    {
        if (count >= most)
        {
            dropped++;
            return;
        }
        if (count == ids.Length) Grow(2 * count);
        (ids[count], offsets[count]) = (id, (start, end));
        count++;
    }

    public TokenizedText Finish()
    {
        Grow(count + after.Length);
        after.CopyTo(ids, count);
        offsets.AsSpan(count).Clear();
        return new TokenizedText(ids, offsets, dropped);
    }

    private void Grow(int length)
    {
        Array.Resize(ref ids, length);
        Array.Resize(ref offsets, length);
    }
}
