using System.Text;

namespace Permafrost.Tokenizers;

/// <summary>
/// What a <c>tokenizer.json</c> does to a text before it is cut into words (Hugging Face tokenizers 0.2x, normalizers): the general way. BERT's own, on a whole text, goes through
/// <see cref="WordSplitter"/>, which does the same faster.
/// </summary>
internal abstract record Normalizer
{
    public abstract AlignedText Apply(AlignedText text);

    /// <summary>Whether a text may come out otherwise than it went in: false lets texts by, of which most need nothing.</summary>
    public virtual bool MayChange(ReadOnlySpan<char> text) => true;
}

/// <summary>One after another.</summary>
internal sealed record NormalizerSequence(IReadOnlyList<Normalizer> Steps) : Normalizer
{
    public override AlignedText Apply(AlignedText text)
    {
        foreach (Normalizer step in Steps) text = step.Apply(text);
        return text;
    }

    public override bool MayChange(ReadOnlySpan<char> text)
    {
        foreach (Normalizer step in Steps) if (step.MayChange(text)) return true;
        return false;
    }
}

/// <summary>BERT's: control characters out, every blank a space; Chinese characters apart; accents out; lower case.</summary>
internal sealed record BertNormalizer(bool CleanText, bool SplitChinese, bool StripAccents, bool LowerCase, bool Slow = false) : Normalizer
{
    public override AlignedText Apply(AlignedText text)
    {
        if (CleanText)
        {
            text = text.Where(rune => rune is '\t' or '\n' or '\r' || !(rune is 0 or Characters.Replacement || Characters.IsControl(Rune.GetUnicodeCategory(new Rune(rune)), Slow)))
                .Map(rune => Characters.IsWhite(rune) ? ' ' : rune);
        }
        if (SplitChinese) text = text.Select(rune => Characters.IsChinese(rune) ? [' ', rune, ' '] : [rune]);
        if (Slow && !StripAccents) text = new Composition().Apply(text);
        if (StripAccents) text = new AccentsOut().Apply(new Decomposition().Apply(text));
        return LowerCase ? new LowerCasing().Apply(text) : text;
    }
}

/// <summary>Character by character.</summary>
internal sealed record LowerCasing : Normalizer
{
    public override AlignedText Apply(AlignedText text) => text.Select(Characters.Lower);
}

/// <summary>Blanks at the ends out.</summary>
internal sealed record Stripping(bool Left, bool Right) : Normalizer
{
    public override AlignedText Apply(AlignedText text)
    {
        (int from, int to) = (0, text.Count);
        while (Left && from < to && Characters.IsWhite(text[from].Rune)) from++;
        while (Right && from < to && Characters.IsWhite(text[to - 1].Rune)) to--;
        return text.Range(from, to);
    }

    public override bool MayChange(ReadOnlySpan<char> text) => text.Length > 0 && ((Left && char.IsWhiteSpace(text[0])) || (Right && char.IsWhiteSpace(text[^1])));
}

/// <summary>Marks of their own out: those that take no room, or those that do too.</summary>
internal sealed record AccentsOut(bool Spacing = false) : Normalizer
{
    public override AlignedText Apply(AlignedText text) => text.Where(rune => !(Spacing ? Characters.IsAnyMark(rune) : Characters.IsMark(rune)));

    public override bool MayChange(ReadOnlySpan<char> text) => text.ContainsAnyExceptInRange('\0', '\u02FF');
}

/// <summary>Form D, or form KD.</summary>
internal sealed record Decomposition(bool Compatible = false) : Normalizer
{
    public override AlignedText Apply(AlignedText text)
    {
        var parts = new List<(int Rune, int Start, int End)>(text.Count);
        for (int i = 0; i < text.Count; i++)
            foreach (int part in CanonicalForm.Decompose(text[i].Rune, Compatible)) parts.Add((part, text[i].Start, text[i].End));
        var decomposed = new AlignedText(parts.Count);
        foreach ((int Rune, int Start, int End) part in CanonicalForm.Ordered(parts, part => part.Rune)) decomposed.Add(part);
        return decomposed;
    }

    public override bool MayChange(ReadOnlySpan<char> text) => text.ContainsAnyExceptInRange('\0', '\u009F');
}

/// <summary>Form C, or form KC. A composed character is said to come from the first that it is composed of.</summary>
internal sealed record Composition(bool Compatible = false) : Normalizer
{
    public override AlignedText Apply(AlignedText text)
    {
        var composed = new AlignedText(text.Count);
        for (int from = 0; from < text.Count;)
        {
            int to = from + 1;
            while (to < text.Count && Characters.Joins(CanonicalForm.Decompose(text[to].Rune, Compatible)[0])) to++;
            if (to - from == 1 && text[from].Rune < 0xA0)
            {
                composed.Add(text[from++]);
                continue;
            }
            IReadOnlyList<int> runes = CanonicalForm.Compose(Enumerable.Range(from, to - from).Select(i => new Rune(text[i].Rune)), Compatible);
            // What was composed stands first; the rest has the places of the last characters.
            for (int i = 0; i < runes.Count; i++)
            {
                (_, int start, int end) = text[i == 0 ? from : Math.Max(from, to - runes.Count + i)];
                composed.Add(runes[i], start, end);
            }
            from = to;
        }
        return composed;
    }

    public override bool MayChange(ReadOnlySpan<char> text) => text.ContainsAnyExceptInRange('\0', Compatible ? '\u009F' : '\u02FF');
}

/// <summary>That of neural translation: control characters out, and blanks of most kinds become spaces.</summary>
internal sealed record TranslationNormalizer : Normalizer
{
    public override AlignedText Apply(AlignedText text) => text
        .Where(rune => rune is not ((>= 1 and <= 8) or 0x0B or (>= 0x0E and <= 0x1F) or 0x7F or 0x8F or 0x9F))
        .Map(rune => rune is 0x09 or 0x0A or 0x0C or 0x0D or 0x1680 or (>= 0x200B and <= 0x200F) or 0x2028 or 0x2029 or 0x2581 or 0xFEFF or 0xFFFD ? ' ' : rune);
}

/// <summary>One text in place of what a pattern finds.</summary>
internal sealed record Replacing(TextPattern Old, string New) : Normalizer
{
    public override AlignedText Apply(AlignedText text)
    {
        var words = Words.Of(text);
        int[] replacement = [.. New.EnumerateRunes().Select(rune => rune.Value)];
        var found = new List<(int From, int To)>();
        Old.Find(words.Units, found);
        if (found.Count == 0) return text;
        var replaced = new AlignedText(text.Count);
        int unit = 0, match = 0;
        for (int at = 0; at < text.Count;)
        {
            while (match < found.Count && found[match].From < unit) match++;
            if (match == found.Count || found[match].From != unit)
            {
                unit += text[at].Rune > char.MaxValue ? 2 : 1;
                replaced.Add(text[at++]);
                continue;
            }
            while (at < text.Count && unit < found[match].To) unit += text[at++].Rune > char.MaxValue ? 2 : 1;
            // A match of nothing puts the text before the next character, as said to come from the one before.
            (int start, int end) = at > 0 ? (text[at - 1].Start, text[at - 1].End) : (0, 0);
            foreach (int rune in replacement) replaced.Add(rune, start, end);
            if (found[match].From == found[match].To && at < text.Count)
            {
                unit += text[at].Rune > char.MaxValue ? 2 : 1;
                replaced.Add(text[at++]);
            }
            match++;
        }
        return replaced;
    }

    public override bool MayChange(ReadOnlySpan<char> text) => Old.MayBeIn(text);
}

/// <summary>A text before every text that is not empty.</summary>
internal sealed record Prepending(string Text) : Normalizer
{
    public override AlignedText Apply(AlignedText text)
    {
        if (text.Count == 0) return text;
        var longer = new AlignedText(text.Count + Text.Length);
        foreach (Rune rune in Text.EnumerateRunes()) longer.Add(rune.Value, text[0].Start, text[0].End);
        for (int i = 0; i < text.Count; i++) longer.Add(text[i]);
        return longer;
    }
}
