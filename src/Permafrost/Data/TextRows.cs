using Permafrost.Kernels;
using Permafrost.Tokenizers;

namespace Permafrost.Data;

/// <summary>A split of texts with a class each, tokenised once. Batches are as long as their longest text; shorter ones are filled up and
/// masked, with the tokenizer's padding, or where it has none with id 0, which the mask hides.</summary>
public sealed class TextRows : IDataset
{
    /// <summary>What is wrong with a text without a token of its own, for errors.</summary>
    internal const string EmptyIs = "the text holds no token of the backbone's vocabulary: it is empty, or of spaces and control characters alone";

    private readonly int[][] ids;
    private readonly int pad;

    /// <summary>Tokenises texts.</summary>
    /// <param name="texts">The texts.</param>
    /// <param name="targets">A class for each; -100 where none is known.</param>
    /// <param name="tokenizer">Cuts them into tokens.</param>
    /// <param name="maxLength">Most tokens of a text, special tokens included.</param>
    /// <exception cref="UsageException"><paramref name="maxLength"/> leaves no room for a token beside the special ones.</exception>
    public TextRows(IReadOnlyList<string> texts, IReadOnlyList<long> targets, Tokenizer tokenizer, int maxLength)
    {
        int special = tokenizer.SpecialTokens;
        if (maxLength <= special) throw new UsageException($"`max_length` is {maxLength}; of it {special} are special tokens, so that no room is left for a text");
        (Texts, Targets, MaxLength, Vocabulary, pad) = (texts, targets, maxLength, tokenizer.VocabularySize, tokenizer.PadId ?? 0);
        ids = new int[texts.Count][];
        IReadOnlyList<TokenizedText> tokenized = tokenizer.EncodeBatch(texts, maxLength: maxLength);
        for (int i = 0; i < texts.Count; i++)
        {
            TokenizedText text = tokenized[i];
            ids[i] = text.Ids;
            if (text.Dropped > 0) CutTexts++;
            if (text.Ids.Length <= special)
            {
                FirstEmpty ??= i;
                EmptyTexts++;
            }
            else if (IsUnknown(text, tokenizer.UnknownId)) UnknownTexts++;
        }
    }

    private TextRows(TextRows source, long[] rows)
    {
        (MaxLength, Vocabulary, pad) = (source.MaxLength, source.Vocabulary, source.pad);
        Texts = [.. rows.Select(row => source.Texts[(int)row])];
        Targets = [.. rows.Select(row => source.Targets[(int)row])];
        ids = [.. rows.Select(row => source.ids[row])];
    }

    /// <summary>Some of the texts, in a given order; what was counted of all of them is not counted again.</summary>
    /// <param name="rows">Their numbers.</param>
    internal TextRows Choose(long[] rows) => new(this, rows);

    /// <summary>The texts themselves.</summary>
    public IReadOnlyList<string> Texts { get; }

    /// <summary>A class for each; -100 where none is known.</summary>
    public IReadOnlyList<long> Targets { get; }

    /// <summary>Most tokens of a text, special tokens included.</summary>
    public int MaxLength { get; }

    /// <summary>V, the number of the tokenizer's ids.</summary>
    public int Vocabulary { get; }

    /// <summary>Texts that were longer, and cut.</summary>
    public int CutTexts { get; }

    /// <summary>Texts without any token of their own.</summary>
    public int EmptyTexts { get; }

    /// <summary>The first of those; null where there are none.</summary>
    public int? FirstEmpty { get; }

    /// <summary>Texts of which the vocabulary knows nothing at all.</summary>
    public int UnknownTexts { get; }

    /// <inheritdoc/>
    public long? Count => ids.Length;

    /// <inheritdoc/>
    public IReadOnlyList<int> Lengths => [.. ids.Select(row => row.Length)];

    /// <inheritdoc/>
    public Batch Get(ReadOnlySpan<long> indices)
    {
        (var texts, var answers) = (new int[indices.Length][], new long[indices.Length]);
        for (int row = 0; row < indices.Length; row++) (texts[row], answers[row]) = (ids[indices[row]], Targets[(int)indices[row]]);
        // A text without any token is a row of padding.
        PaddedTokens padded = PaddedTokens.Of(texts, pad, Math.Max(1, texts.Max(text => text.Length)));
        Tensor? mask = padded.IsPadded ? Tensors.From(padded.Mask, padded.Rows, padded.Length) : null;
        return new Batch(Tensors.From(padded.Ids, padded.Rows, padded.Length), Tensors.From(answers, indices.Length, 1), mask);
    }

    /// <summary>What is not as a user may expect.</summary>
    internal TextFlaws Flaws => new(Texts.Count, CutTexts, UnknownTexts);

    /// <summary>What a user should know of the texts, a sentence each: how many were cut, and of how many nothing is known.</summary>
    /// <param name="what">One of them, such as <c>training text</c>.</param>
    public IEnumerable<string> Notes(string what) => Flaws.Notes(what, MaxLength);

    // What was added has no characters; of the others none is known.
    private static bool IsUnknown(TokenizedText text, int? unknown)
    {
        if (unknown is null) return false;
        for (int i = 0; i < text.Ids.Length; i++) if (text.Offsets[i].End > text.Offsets[i].Start && text.Ids[i] != unknown) return false;
        return true;
    }
}

/// <summary>How many texts are not as a user may expect.</summary>
/// <param name="Count">All of them.</param>
/// <param name="Cut">Those that were longer, and cut.</param>
/// <param name="Unknown">Those of which the vocabulary knows nothing at all.</param>
internal readonly record struct TextFlaws(long Count, long Cut, long Unknown)
{
    public static TextFlaws operator +(TextFlaws a, TextFlaws b) => new(a.Count + b.Count, a.Cut + b.Cut, a.Unknown + b.Unknown);

    /// <summary>A sentence for each kind of flaw.</summary>
    /// <param name="what">One of the texts, such as <c>training text</c>.</param>
    /// <param name="maxLength">Most tokens of one.</param>
    public IEnumerable<string> Notes(string what, int maxLength)
    {
        if (Cut > 0) yield return FormattableString.Invariant($"{Cut:N0} of {Count:N0} {what}(s) have more than {maxLength} tokens and were cut (`max_length`)");
        if (Unknown > 0) yield return FormattableString.Invariant($"{Unknown:N0} of {Count:N0} {what}(s) hold nothing but characters that the backbone's vocabulary does not know");
    }
}
