using System.Globalization;

namespace Permafrost.Tokenizers;

/// <summary>
/// A <c>precompiled_charsmap</c> as Hugging Face's library applies it (the crate spm_precompiled): to each cluster of marks as a whole where it is short and the map knows it,
/// else to its characters. SentencePiece itself takes the longest text that the map knows.
/// </summary>
internal sealed record PrecompiledNormalizer(CharsMap Map) : Normalizer
{
    private const int LongestCluster = 5;  // bytes of UTF-8

    public override AlignedText Apply(AlignedText text)
    {
        var normalized = new AlignedText(text.Count);
        ReadOnlySpan<char> units = default;
        // As in the library, what is left out before the first character that stays does not count: the others are said to come from places before their own.
        int unit = 0, lost = 0;
        for (int at = 0; at < text.Count;)
        {
            int rune = text[at].Rune;
            if (normalized.Count == 0) lost = at;
            if (rune < 0x80 && (at + 1 == text.Count || text[at + 1].Rune < 0x80) && rune != '\r')
            {
                Map.TryAscii(rune, out int[]? simple);
                Add(normalized, rune, simple, text[at++ - lost]);
                unit++;
                continue;
            }
            if (units.IsEmpty) units = text.ToString();
            int length = StringInfo.GetNextTextElementLength(units[unit..]), end = at, bytes = 0;
            for (int i = unit; i < unit + length; i += char.IsHighSurrogate(units[i]) ? 2 : 1)
            {
                bytes += text[end].Rune switch { < 0x80 => 1, < 0x800 => 2, < 0x10000 => 3, _ => 4 };
                end++;
            }
            unit += length;
            int[]? whole = bytes <= LongestCluster ? Map.Shortest(text, at, end) : null;
            if (whole is not null)
            {
                for (int i = 0; i < whole.Length; i++)
                {
                    (_, int start, int stop) = text[Math.Min(at + i, end - 1) - lost];
                    normalized.Add(whole[i], start, stop);
                }
            }
            else for (int i = at; i < end; i++) Add(normalized, text[i].Rune, Map.Shortest(text, i, i + 1), text[i - lost]);
            at = end;
        }
        return normalized;
    }

    private static void Add(AlignedText to, int rune, int[]? replacement, (int Rune, int Start, int End) from)
    {
        if (replacement is null) to.Add(rune, from.Start, from.End);
        else foreach (int other in replacement) to.Add(other, from.Start, from.End);
    }

    public override bool MayChange(ReadOnlySpan<char> text)
    {
        foreach (char c in text) if (c >= 0x80 || c < ' ' || !Map.TryAscii(c, out int[]? replacement) || replacement is not null) return true;
        return false;
    }
}

/// <summary>How a SentencePiece model reads a text (NormalizerSpec and the parts of TrainerSpec that matter here).</summary>
/// <param name="AddDummyPrefix">A blank before the text.</param>
/// <param name="RemoveExtraWhitespaces">Blanks at the ends out, and runs of them to one.</param>
/// <param name="EscapeWhitespaces">Spaces become U+2581.</param>
/// <param name="WhitespaceIsSuffix">The blank that is added stands behind the text.</param>
internal sealed record SentencePieceRules(bool AddDummyPrefix = true, bool RemoveExtraWhitespaces = true, bool EscapeWhitespaces = true, bool WhitespaceIsSuffix = false);

/// <summary>SentencePiece's own way with a text (normalizer.cc, Normalize): characters mapped, blanks put right, and the blank before the text.</summary>
/// <param name="Map">What characters become; null where they stay.</param>
/// <param name="Rules">What happens to blanks.</param>
/// <param name="Own">Texts of the user's that nothing is done to; null for none.</param>
internal sealed record SentencePieceNormalizer(CharsMap? Map, SentencePieceRules Rules, AddedTokens? Own = null) : Normalizer
{
    private const int Blank = 0x2581;

    public override AlignedText Apply(AlignedText text)
    {
        var normalized = new AlignedText(text.Count + 1);
        int space = Rules.EscapeWhitespaces ? Blank : ' ';
        bool trims = Rules.RemoveExtraWhitespaces, afterSpace = trims, begun = false;
        void AddSpace(int at) => normalized.Add(space, text[at].Start, text[at].End);
        for (int at = 0; at < text.Count;)
        {
            int length = Next(text, at, out int[]? made);
            bool lastIsSpace = false;
            foreach (int rune in made ?? [])
            {
                if (rune == ' ' && afterSpace && trims) continue;
                if (!begun && Rules is { AddDummyPrefix: true, WhitespaceIsSuffix: false }) AddSpace(at);
                begun = true;
                afterSpace = false;
                lastIsSpace = rune == ' ';
                if (lastIsSpace) AddSpace(at);
                else normalized.Add(rune, text[at].Start, text[at + length - 1].End);
            }
            if (made is { Length: > 0 }) afterSpace = trims && (lastIsSpace || made[^1] == ' ');
            at += length;
        }
        if (!begun) return new AlignedText();
        int count = normalized.Count;
        while (trims && count > 0 && normalized[count - 1].Rune == space) count--;
        if (count < normalized.Count) normalized = normalized.Range(0, count);
        if (Rules is { AddDummyPrefix: true, WhitespaceIsSuffix: true } && count > 0) normalized.Add(space, normalized[count - 1].Start, normalized[count - 1].End);
        return normalized;
    }

    // How many characters are taken at once, and what they become.
    private int Next(AlignedText text, int at, out int[]? made)
    {
        int rune = text[at].Rune;
        if (Own is not null && Own.LengthAt(text, at) is > 0 and var own)
        {
            made = [.. Enumerable.Range(at, own).Select(i => text[i].Rune)];
            return own;
        }
        if (rune < 0x80 && Map is not null && (at + 1 == text.Count || text[at + 1].Rune < 0x80) && Map.TryAscii(rune, out made))
        {
            made ??= Single[rune];
            return 1;
        }
        if (Map?.Longest(text, at, out int[] replacement) is > 0 and var length)
        {
            made = replacement;
            return length;
        }
        made = rune < 0x80 ? Single[rune] : [rune];
        return 1;
    }

    private static readonly int[][] Single = [.. Enumerable.Range(0, 0x80).Select(rune => new[] { rune })];
}
