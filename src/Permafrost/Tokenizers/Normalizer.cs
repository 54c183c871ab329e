using System.Text;

namespace Permafrost.Tokenizers;

/// <summary>
/// What a <c>tokenizer.json</c> does to a text before it is cut into words (Hugging Face tokenizers 0.2x, normalizers): the general way. BERT's own, on a whole text, goes through
/// <see cref="WordSplitter"/>, which does the same faster.
/// </summary>
internal abstract record Normalizer
{
    public abstract AlignedText Apply(AlignedText text);
}

/// <summary>One after another.</summary>
internal sealed record NormalizerSequence(IReadOnlyList<Normalizer> Steps) : Normalizer
{
    public override AlignedText Apply(AlignedText text) => Steps.Aggregate(text, (current, step) => step.Apply(current));
}

/// <summary>BERT's: control characters out, every blank a space; Chinese characters apart; accents out; lower case.</summary>
internal sealed record BertNormalizer(bool CleanText, bool SplitChinese, bool StripAccents, bool LowerCase, bool Slow = false) : Normalizer
{
    public override AlignedText Apply(AlignedText text)
    {
        if (CleanText)
        {
            text = text.Where(rune => rune is '\t' or '\n' or '\r' || !(rune is 0 or Characters.Replacement || Characters.IsControl(Rune.GetUnicodeCategory(new Rune(rune)), Slow)))
                .Select(rune => [Characters.IsWhite(rune) ? ' ' : rune]);
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
}

/// <summary>Marks of their own out: those that take no room, or those that do too.</summary>
internal sealed record AccentsOut(bool Spacing = false) : Normalizer
{
    public override AlignedText Apply(AlignedText text) => text.Where(rune => !(Spacing ? Characters.IsAnyMark(rune) : Characters.IsMark(rune)));
}

/// <summary>Form D.</summary>
internal sealed record Decomposition : Normalizer
{
    public override AlignedText Apply(AlignedText text) => text.Select(rune => CanonicalForm.Decompose(rune).ToArray());
}

/// <summary>Form C. A composed character is said to come from the first that it is composed of.</summary>
internal sealed record Composition : Normalizer
{
    public override AlignedText Apply(AlignedText text)
    {
        var composed = new AlignedText();
        for (int from = 0; from < text.Count;)
        {
            int to = from + 1;
            while (to < text.Count && Characters.Joins(text[to].Rune)) to++;
            IReadOnlyList<int> runes = CanonicalForm.Compose(Enumerable.Range(from, to - from).Select(i => new Rune(text[i].Rune)));
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
}

/// <summary>One text in place of another.</summary>
internal sealed record Replacing(string Old, string New) : Normalizer
{
    public override AlignedText Apply(AlignedText text)
    {
        int[] old = [.. Old.EnumerateRunes().Select(rune => rune.Value)];
        var replaced = new AlignedText();
        for (int at = 0; at < text.Count;)
        {
            bool found = at + old.Length <= text.Count && Enumerable.Range(0, old.Length).All(i => text[at + i].Rune == old[i]);
            if (!found)
            {
                replaced.Add(text[at++]);
                continue;
            }
            at += old.Length;
            foreach (Rune rune in New.EnumerateRunes()) replaced.Add(rune.Value, text[at - 1].Start, text[at - 1].End);
        }
        return replaced;
    }
}

/// <summary>A text before every text that is not empty.</summary>
internal sealed record Prepending(string Text) : Normalizer
{
    public override AlignedText Apply(AlignedText text)
    {
        if (text.Count == 0) return text;
        var longer = new AlignedText();
        foreach (Rune rune in Text.EnumerateRunes()) longer.Add(rune.Value, text[0].Start, text[0].End);
        for (int i = 0; i < text.Count; i++) longer.Add(text[i]);
        return longer;
    }
}
