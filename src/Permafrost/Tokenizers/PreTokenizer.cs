namespace Permafrost.Tokenizers;

/// <summary>What becomes of the characters that words are cut at (Hugging Face tokenizers, SplitDelimiterBehavior).</summary>
internal enum CutBehavior
{
    /// <summary>They are left out.</summary>
    Removed,

    /// <summary>Each is a word of its own.</summary>
    Isolated,

    /// <summary>Each ends the word before it.</summary>
    MergedWithPrevious,

    /// <summary>Each begins the word behind it.</summary>
    MergedWithNext,

    /// <summary>Those that stand together are a word of their own.</summary>
    Contiguous,
}

/// <summary>A way to cut words: at which characters, and what becomes of those.</summary>
internal sealed record Cut(Func<int, bool> At, CutBehavior Behavior)
{
    /// <summary>The ranges of the words in a range of a text.</summary>
    public IEnumerable<(int From, int To)> Apply(AlignedText text, int from, int to)
    {
        int start = from;
        bool inside = false;  // the word that began at start is made of characters to cut at
        for (int at = from; at < to; at++)
        {
            bool cuts = At(text[at].Rune);
            int end = Behavior switch
            {
                CutBehavior.MergedWithPrevious => at > from && At(text[at - 1].Rune) ? at : start,
                CutBehavior.MergedWithNext => cuts ? at : start,
                CutBehavior.Isolated => cuts || inside ? at : start,
                _ => cuts != inside ? at : start,
            };
            if (end > start && !(inside && Behavior == CutBehavior.Removed)) yield return (start, end);
            if (end == at) start = at;
            inside = cuts;
        }
        if (to > start && !(inside && Behavior == CutBehavior.Removed)) yield return (start, to);
    }
}

/// <summary>How a <c>tokenizer.json</c> cuts a text into words: cut after cut, each within the words of the one before.</summary>
internal sealed record PreTokenizer(IReadOnlyList<Cut> Cuts)
{
    private static readonly Cut Blanks = new(Characters.IsWhite, CutBehavior.Removed);

    /// <summary>At blanks, and around punctuation.</summary>
    public static PreTokenizer Bert { get; } = new([Blanks, new Cut(Characters.IsPunctuation, CutBehavior.Isolated)]);

    public static PreTokenizer BlanksOnly { get; } = new([Blanks]);

    /// <summary>Runs of a word's characters, and runs of others.</summary>
    public static PreTokenizer Words { get; } = new([Blanks, new Cut(Characters.IsWord, CutBehavior.Contiguous)]);

    public IEnumerable<(int From, int To)> Apply(AlignedText text)
    {
        IEnumerable<(int From, int To)> words = text.Count == 0 ? [] : [(0, text.Count)];
        foreach (Cut cut in Cuts) words = words.SelectMany(word => cut.Apply(text, word.From, word.To));
        return words;
    }
}
