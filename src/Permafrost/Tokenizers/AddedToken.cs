using System.Buffers;

namespace Permafrost.Tokenizers;

/// <summary>A token that is recognised in a text as a whole, before the text is cut into words (Hugging Face tokenizers, AddedToken).</summary>
/// <param name="Content">How it is written.</param>
/// <param name="Special">Left out of decoded texts; nothing that a user may write.</param>
/// <param name="Normalized">Looked for in the normalised text, and so in any case where texts are lower-cased.</param>
/// <param name="SingleWord">Only where no letter or digit stands beside it.</param>
/// <param name="LeftStrip">With the blanks before it.</param>
/// <param name="RightStrip">With the blanks behind it.</param>
internal sealed record AddedToken(string Content, bool Special = true, bool Normalized = false, bool SingleWord = false, bool LeftStrip = false, bool RightStrip = false);

/// <summary>Finds added tokens in texts.</summary>
internal sealed class AddedTokens
{
    private readonly ILookup<int, (int[] Runes, AddedToken Token)> byFirst;
    private readonly SearchValues<string>? any;

    /// <param name="tokens">The tokens, with their content as it stands in the texts to be searched.</param>
    public AddedTokens(IEnumerable<(string Content, AddedToken Token)> tokens)
    {
        (string Content, AddedToken Token)[] all = [.. tokens.Where(one => one.Content.Length > 0)];
        byFirst = all.Select(one => (Runes: one.Content.EnumerateRunes().Select(rune => rune.Value).ToArray(), one.Token))
            .OrderByDescending(one => one.Runes.Length).ToLookup(one => one.Runes[0]);
        if (all.Length > 0) any = SearchValues.Create([.. all.Select(one => one.Content)], StringComparison.Ordinal);
    }

    /// <summary>Whether there are any.</summary>
    public bool Any => any is not null;

    /// <summary>Whether a text holds any of them: mostly none, which is found out fast.</summary>
    public bool AreIn(ReadOnlySpan<char> text) => any is not null && text.ContainsAny(any);

    /// <summary>The parts of a text: those between tokens, which may be empty, and the tokens. At a place the longest goes first.</summary>
    /// <param name="text">A text.</param>
    /// <param name="special">Whether special ones are looked for.</param>
    public IEnumerable<(int From, int To, AddedToken? Token)> Split(AlignedText text, bool special)
    {
        int done = 0;
        for (int at = 0; at < text.Count;)
        {
            // As in the library: where the longest one does not count, a shorter one at its place is not tried.
            (int[] runes, AddedToken? token) = byFirst.Contains(text[at].Rune) ? byFirst[text[at].Rune].FirstOrDefault(one => Stands(one.Runes, text, at)) : default;
            if (token is null)
            {
                at++;
                continue;
            }
            (int from, int to) = (at, at + runes.Length);
            at = to;
            if (token.Special && !special) continue;
            if (token.SingleWord && ((from > 0 && Characters.IsWord(text[from - 1].Rune)) || (to < text.Count && Characters.IsWord(text[to].Rune)))) continue;
            while (token.LeftStrip && from > done && Characters.IsWhite(text[from - 1].Rune)) from--;
            while (token.RightStrip && to < text.Count && Characters.IsWhite(text[to].Rune)) to++;
            if (from < done) continue;
            if (from > done) yield return (done, from, null);
            yield return (from, to, token);
            done = to;
        }
        if (done < text.Count) yield return (done, text.Count, null);
    }

    /// <summary>How many characters the longest token has that stands at an index; 0 where none does.</summary>
    public int LengthAt(AlignedText text, int at) =>
        byFirst.Contains(text[at].Rune) && byFirst[text[at].Rune].FirstOrDefault(one => Stands(one.Runes, text, at)) is { Token: not null } found ? found.Runes.Length : 0;

    private static bool Stands(int[] runes, AlignedText text, int at)
    {
        if (at + runes.Length > text.Count) return false;
        for (int i = 0; i < runes.Length; i++) if (text[at + i].Rune != runes[i]) return false;
        return true;
    }
}
