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

/// <summary>One step in which a <c>tokenizer.json</c> cuts a text into words: within the words of the step before (Hugging Face tokenizers 0.2x, pre_tokenizers).</summary>
internal abstract record PreTokenizer
{
    private static readonly Cut Blanks = new(new CharacterPattern(Characters.IsWhite), CutBehavior.Removed);

    /// <summary>At blanks, and around punctuation.</summary>
    public static PreTokenizer Bert { get; } = new PreTokenizerSequence([Blanks, new Cut(new CharacterPattern(Characters.IsPunctuation), CutBehavior.Isolated)]);

    public static PreTokenizer BlanksOnly => Blanks;

    /// <summary>Runs of a word's characters, and runs of others.</summary>
    public static PreTokenizer Runs { get; } = new PreTokenizerSequence([Blanks, new Cut(new CharacterPattern(Characters.IsWord), CutBehavior.Contiguous)]);

    public abstract Words Apply(Words words);
}

/// <summary>Step after step.</summary>
internal sealed record PreTokenizerSequence(IReadOnlyList<PreTokenizer> Steps) : PreTokenizer
{
    public override Words Apply(Words words)
    {
        foreach (PreTokenizer step in Steps) words = step.Apply(words);
        return words;
    }
}

/// <summary>Cuts at what a pattern matches.</summary>
/// <param name="At">The pattern.</param>
/// <param name="Behavior">What becomes of the matches.</param>
/// <param name="Inverted">The matches are the words, and what is between them is what is cut at.</param>
internal sealed record Cut(TextPattern At, CutBehavior Behavior, bool Inverted = false) : PreTokenizer
{
    public override Words Apply(Words words)
    {
        var ranges = new List<(int From, int To)>(words.Units.Length / 4 + 4);
        if (At is WordScanner && Behavior == CutBehavior.Isolated && words.Ranges is [(0, var all)] && all == words.Units.Length)
        {
            // It leaves nothing between what it finds.
            At.Find(words.Units, ranges);
            return words.Cut(ranges);
        }
        var found = new List<(int From, int To)>();
        foreach ((int from, int to) in words.Ranges)
        {
            found.Clear();
            At.Find(words.Units[from..to], found);
            var made = new Ranges(Behavior, ranges);
            int done = 0;
            foreach ((int start, int end) in found)
            {
                if (start > done) made.Add(from + done, from + start, Inverted);
                if (end > start) made.Add(from + start, from + end, !Inverted);
                done = end;
            }
            if (from + done < to) made.Add(from + done, to, Inverted);
            made.End();
        }
        return words.Cut(ranges);
    }

    // Joins the parts of a word, of which some are cuts.
    private struct Ranges(CutBehavior behavior, List<(int From, int To)> ranges)
    {
        private (int From, int To) pending;
        private bool has;
        private bool pendingIsCut;

        public void Add(int from, int to, bool isCut)
        {
            bool joins = has && behavior switch
            {
                CutBehavior.MergedWithPrevious => isCut && !pendingIsCut,
                CutBehavior.MergedWithNext => pendingIsCut && !isCut,
                CutBehavior.Contiguous => isCut == pendingIsCut,
                _ => false,
            };
            if (!joins) End();
            pending = joins ? (pending.From, to) : (from, to);
            // What a cut was joined to takes no other: with the one before it is done; with the one behind it is a word like any other.
            (has, pendingIsCut) = (true, isCut);
        }

        public void End()
        {
            if (has && !(pendingIsCut && behavior == CutBehavior.Removed)) ranges.Add(pending);
            has = false;
        }
    }
}

/// <summary>GPT-2's: a space before a word that has none, where asked for, and words as its regular expression finds them. The vocabulary makes bytes of them.</summary>
internal sealed record ByteLevelCut(bool AddPrefixSpace, bool Splits) : PreTokenizer
{
    private static readonly Cut Gpt2 = new(WordScanner.Gpt2, CutBehavior.Isolated);

    public override Words Apply(Words words)
    {
        if (AddPrefixSpace) words = Metaspace.Marked(words, ' ', replaces: null, PrependScheme.Always);
        return Splits ? Gpt2.Apply(words) : words;
    }
}

/// <summary>Where <see cref="Metaspace"/> puts its mark: before each word, before one alone that begins the text, nowhere.</summary>
internal enum PrependScheme { Always, First, Never }

/// <summary>SentencePiece's: spaces become a mark, one is put before the text, and words begin with it.</summary>
internal sealed record Metaspace(char Mark, PrependScheme Prepend, bool Splits) : PreTokenizer
{
    private readonly Cut cut = new(new LiteralPattern(Mark.ToString()), CutBehavior.MergedWithNext);

    public override Words Apply(Words words)
    {
        if (Prepend != PrependScheme.Never || words.Units.Contains(' ')) words = Marked(words, Mark, ' ', Prepend);
        return Splits ? cut.Apply(words) : words;
    }

    /// <summary>Puts a mark before words that do not begin with it.</summary>
    /// <param name="words">The words.</param>
    /// <param name="mark">The mark.</param>
    /// <param name="replaces">A character that becomes the mark; null for none.</param>
    /// <param name="prepend">Before which words.</param>
    public static Words Marked(Words words, char mark, char? replaces, PrependScheme prepend)
    {
        ReadOnlySpan<char> units = words.Units;
        var builder = new Words.Builder(units.Length + words.Ranges.Count);
        foreach ((int from, int to) in words.Ranges)
        {
            builder.Begin();
            bool isMarked = units[from] == mark || units[from] == replaces;
            if (!isMarked && prepend != PrependScheme.Never && (prepend == PrependScheme.Always || words.Start(from) == 0)) builder.Add(mark, words.Start(from), words.End(from));
            for (int i = from; i < to; i++) builder.Add(units[i] == replaces ? mark : units[i], words.Start(i), words.End(i));
            builder.End();
        }
        return builder.Words();
    }
}
