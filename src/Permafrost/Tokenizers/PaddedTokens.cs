namespace Permafrost.Tokenizers;

/// <summary>Texts as rows of one length.</summary>
/// <param name="Ids">(B, T), row by row: the texts' ids and padding.</param>
/// <param name="Mask">(B, T): 1 for a text's token, 0 for padding (<c>attention_mask</c>).</param>
/// <param name="Rows">B.</param>
/// <param name="Length">T.</param>
public sealed record PaddedTokens(long[] Ids, long[] Mask, int Rows, int Length)
{
    /// <summary>Whether there is padding.</summary>
    public bool IsPadded { get; private init; }

    internal static PaddedTokens Of(IReadOnlyList<int[]> texts, int pad, int? length = null, bool left = false)
    {
        if (texts.Count == 0) throw new ArgumentException("there is no text to pad", nameof(texts));
        (int longest, int shortest) = (texts.Max(text => text.Length), texts.Min(text => text.Length));
        int T = length ?? longest;
        if (longest > T) throw new ArgumentException($"a text has {longest} tokens, which do not fit {T}; cut it when it is encoded", nameof(length));
        (var ids, var mask) = (new long[texts.Count * T], new long[texts.Count * T]);
        Array.Fill(ids, pad);
        for (int row = 0; row < texts.Count; row++)
        {
            int[] text = texts[row];
            int start = row * T + (left ? T - text.Length : 0);
            for (int i = 0; i < text.Length; i++) (ids[start + i], mask[start + i]) = (text[i], 1);
        }
        return new PaddedTokens(ids, mask, texts.Count, T) { IsPadded = shortest < T };
    }
}
