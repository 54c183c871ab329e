namespace Permafrost.Tokenizers;

/// <summary>A text as a model reads it.</summary>
/// <param name="Ids">The tokens' ids, special tokens included.</param>
/// <param name="Offsets">For each token, the characters of the text it stands for, from Start to before End, in UTF-16 units; (0, 0) for a special token that was added.</param>
/// <param name="Dropped">Tokens that were cut off because the text was longer than allowed; 0 when it was not.</param>
public sealed record TokenizedText(int[] Ids, (int Start, int End)[] Offsets, int Dropped);

/// <summary>Cuts texts into the tokens of a model's vocabulary. Any number of threads may use one at once.</summary>
public abstract class Tokenizer
{
    /// <summary>Most UTF-16 units of a text: more than any book has, and few enough that its tokens fit in memory.</summary>
    public const int MostCharacters = 1 << 23;

    // Texts of fewer characters together stay on the calling thread.
    private const int WorthSharing = 1 << 15;

    /// <summary>The scheme: <c>WordPiece</c>, <c>BPE</c> or <c>Unigram</c>.</summary>
    public abstract string Kind { get; }

    /// <summary>V: ids are 0 to V - 1.</summary>
    public abstract int VocabularySize { get; }

    /// <summary>The id that fills up short rows of a batch; null where the vocabulary has none.</summary>
    public abstract int? PadId { get; }

    /// <summary>The id of what the vocabulary cannot express; null where it can express everything.</summary>
    public abstract int? UnknownId { get; }

    /// <summary>Most tokens of a text, special tokens included, as the tokenizer's own files say (<c>model_max_length</c>); null where they say nothing.</summary>
    public abstract int? LongestText { get; }

    /// <summary>The tokens of a text.</summary>
    /// <param name="text">Any text; a lone surrogate is read as U+FFFD, as .NET's own encoders do.</param>
    /// <param name="addSpecialTokens">Add the special tokens that the model was trained with, such as <c>[CLS]</c> and <c>[SEP]</c>.</param>
    /// <param name="maxLength">Most tokens, special tokens included; null for no bound.</param>
    /// <param name="splitSpecialTokens">Treat special tokens that stand in the text, such as a written <c>[SEP]</c>, as any other characters.</param>
    /// <exception cref="PermafrostException">The text has more than <see cref="MostCharacters"/> characters.</exception>
    public TokenizedText Encode(string text, bool addSpecialTokens = true, int? maxLength = null, bool splitSpecialTokens = false)
    {
        if (text.Length > MostCharacters)
            throw new PermafrostException($"the text has {text.Length:N0} characters, and at most {MostCharacters:N0} are read as one; break it up");
        if (maxLength is { } most && addSpecialTokens && most < SpecialTokens)
            throw new ArgumentOutOfRangeException(nameof(maxLength), $"a text has {SpecialTokens} special tokens, so at most {most} cannot be");
        return Tokenize(text, addSpecialTokens, maxLength, splitSpecialTokens);
    }

    /// <summary>The tokens of many texts, on all cores.</summary>
    /// <param name="texts">The texts.</param>
    /// <param name="addSpecialTokens">As for <see cref="Encode"/>.</param>
    /// <param name="maxLength">Most tokens of each.</param>
    /// <param name="splitSpecialTokens">As for <see cref="Encode"/>.</param>
    /// <param name="cancellation">Ends it between texts.</param>
    /// <exception cref="PermafrostException">A text has more than <see cref="MostCharacters"/> characters.</exception>
    public IReadOnlyList<TokenizedText> EncodeBatch(
        IReadOnlyList<string> texts, bool addSpecialTokens = true, int? maxLength = null, bool splitSpecialTokens = false, CancellationToken cancellation = default)
    {
        var tokens = new TokenizedText[texts.Count];
        if (texts.Sum(text => (long)text.Length) < WorthSharing)
        {
            for (int i = 0; i < tokens.Length; i++) tokens[i] = Encode(texts[i], addSpecialTokens, maxLength, splitSpecialTokens);
            return tokens;
        }
        try
        {
            var how = new ParallelOptions { CancellationToken = cancellation };
            Parallel.For(0, tokens.Length, how, i => tokens[i] = Encode(texts[i], addSpecialTokens, maxLength, splitSpecialTokens));
        }
        catch (AggregateException error)
        {
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(error.InnerExceptions[0]);
        }
        return tokens;
    }

    /// <summary>Rows of one length, as a model takes them: shorter texts are filled up with <see cref="PadId"/> (0 where there is none) and masked.</summary>
    /// <param name="texts">The ids of each text; at least one text.</param>
    /// <param name="length">T; null for the longest text's.</param>
    /// <param name="left">Fill up before a text instead of behind it, as decoders want it that go on behind its end.</param>
    /// <exception cref="ArgumentException">There is no text, or one is longer than <paramref name="length"/>.</exception>
    public PaddedTokens Pad(IReadOnlyList<int[]> texts, int? length = null, bool left = false) => PaddedTokens.Of(texts, PadId ?? 0, length, left);

    /// <summary>How many special tokens <see cref="Encode"/> adds to a text.</summary>
    public abstract int SpecialTokens { get; }

    /// <summary>Does what <see cref="Encode"/> says, for a text and a length that can be.</summary>
    /// <inheritdoc cref="Encode"/>
    protected abstract TokenizedText Tokenize(string text, bool addSpecialTokens, int? maxLength, bool splitSpecialTokens);

    /// <summary>The text of some tokens, as the scheme's own decoder writes it.</summary>
    /// <param name="ids">The tokens.</param>
    /// <param name="skipSpecialTokens">Leave special tokens out.</param>
    /// <exception cref="PermafrostException">An id is not in the vocabulary.</exception>
    public abstract string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens = true);

    /// <summary>The token of an id, as the vocabulary writes it.</summary>
    /// <exception cref="PermafrostException">The id is not in the vocabulary.</exception>
    public abstract string Token(int id);
}
