using Permafrost.Data;

namespace Permafrost.Pretraining.Objectives;

/// <summary>What a model is asked, made from windows of text.</summary>
/// <param name="Inputs">(B, T) ids that the model reads; an encoder-decoder's encoder.</param>
/// <param name="Answers">
/// (B, S) right answers at the positions that are read: of every input, of those in <paramref name="Read"/>, or of the decoder's; negative where none counts.
/// </param>
/// <param name="Mask">(B, T), 1 for tokens and 0 for padding; null where nothing is padded.</param>
/// <param name="Read">(B, S) the positions that are read; null for all.</param>
/// <param name="Decoder">(B, S) ids that a decoder reads; null without one.</param>
public sealed record LanguageExample(long[][] Inputs, long[][] Answers, long[][]? Mask = null, long[][]? Read = null, long[][]? Decoder = null);

/// <summary>The tokens that an objective needs.</summary>
/// <param name="Vocabulary">V.</param>
/// <param name="Separator">Between documents: the end of a text.</param>
/// <param name="Padding">Fills up what is short.</param>
/// <param name="Mask">Stands for a masked token; null where there is none.</param>
/// <param name="FirstSentinel">Span corruption's first sentinel, from which the others go downwards; null where there are none.</param>
/// <param name="Sentinels">How many of them.</param>
/// <param name="Begin">Begins every sequence of the masked objective, which the separator ends; null where there is none.</param>
/// <param name="Special">Ids that no random replacement takes.</param>
public sealed record ObjectiveTokens(
    int Vocabulary, long Separator, long Padding, long? Mask = null, long? FirstSentinel = null, int Sentinels = 0, long? Begin = null,
    IReadOnlySet<long>? Special = null);

/// <summary>What a model learns from text alone.</summary>
public abstract class Objective
{
    /// <summary>Its name.</summary>
    public abstract string Name { get; }

    /// <summary>Tokens of text that a window takes.</summary>
    public abstract int Window { get; }

    /// <summary>Whether the mean loss, times tokens over bytes, is the cost of the text in bits: only where each token is told from those before it.</summary>
    public virtual bool Compresses => false;

    /// <summary>Tokens that go through the model for each window, its decoder's among them.</summary>
    public abstract int TokensPerWindow { get; }

    /// <summary>What the model is asked about windows.</summary>
    /// <param name="windows">Each of <see cref="Window"/> tokens; negative where a short one is filled up.</param>
    /// <param name="random">The draws of one window, by its place in the batch.</param>
    public abstract LanguageExample Make(long[][] windows, Func<int, CounterRandom> random);
}
