namespace Permafrost.Tokenizers;

/// <summary>How a WordPiece tokenizer reads texts; the defaults are those of Hugging Face's BertTokenizer.</summary>
public sealed record WordPieceSettings
{
    /// <summary>Lower-case texts, character by character.</summary>
    public bool LowerCase { get; init; } = true;

    /// <summary>Leave accents out; null to do so where texts are lower-cased.</summary>
    public bool? StripAccents { get; init; }

    /// <summary>Make every Chinese character a word of its own.</summary>
    public bool SplitChinese { get; init; } = true;

    /// <summary>Leave control characters out, and take every kind of blank for one.</summary>
    public bool CleanText { get; init; } = true;

    /// <summary>The token of words that the vocabulary cannot express.</summary>
    public string Unknown { get; init; } = "[UNK]";

    /// <summary>The token that fills up short rows of a batch; null for none.</summary>
    public string? Pad { get; init; } = "[PAD]";

    /// <summary>The tokens before a text.</summary>
    public IReadOnlyList<string> Before { get; init; } = ["[CLS]"];

    /// <summary>The tokens behind a text.</summary>
    public IReadOnlyList<string> After { get; init; } = ["[SEP]"];

    /// <summary>The tokens that are recognised within a text, and left out of decoded texts.</summary>
    public IReadOnlyList<string> Special { get; init; } = ["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"];

    /// <summary>The mark of a piece that continues a word.</summary>
    public string Continuation { get; init; } = "##";

    /// <summary>Characters of a word at most; a longer one is unknown.</summary>
    public int LongestWord { get; init; } = 100;

    /// <summary>Most tokens of a text, special tokens included; null for no bound.</summary>
    public int? LongestText { get; init; }

    /// <summary>
    /// As Hugging Face's tokenizer in Python reads (the "slow" one, which a vocabulary alone means), and not as its library in Rust (which a <c>tokenizer.json</c> means):
    /// characters are composed where accents stay, and unassigned ones count as control characters.
    /// </summary>
    internal bool Slow { get; init; } = true;

    /// <summary>Another way from a text to words than BERT's; null for BERT's, by the settings above.</summary>
    internal TextPipeline? Pipeline { get; init; }

    /// <summary>The tokens that are recognised within a text, with how; null for <see cref="Special"/>, as they are written.</summary>
    internal IReadOnlyList<AddedToken>? Added { get; init; }

    /// <summary>How a decoded text's blanks are put right.</summary>
    internal DecodedBlanks Blanks { get; init; } = DecodedBlanks.OfTheText;

    /// <summary>The continuation mark is taken out of decoded texts.</summary>
    internal bool DecodesPieces { get; init; } = true;

    /// <summary>BERT's way by these settings, in the general form.</summary>
    internal TextPipeline BertPipeline => new(new BertNormalizer(CleanText, SplitChinese, StripAccents ?? LowerCase, LowerCase, Slow), PreTokenizer.Bert);
}

/// <summary>The way from a text to words.</summary>
internal sealed record TextPipeline(Normalizer? Normalizer, PreTokenizer? PreTokenizer);

/// <summary>Which blanks of a decoded text are left out: those that its words did not have.</summary>
internal enum DecodedBlanks
{
    /// <summary>None.</summary>
    All,

    /// <summary>Those before a token that is a full stop or the like: what the library in Rust does.</summary>
    OfTokens,

    /// <summary>Those around an apostrophe too: what Hugging Face's tokenizers do.</summary>
    OfTheText,
}
