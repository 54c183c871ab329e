namespace Permafrost.Adaptation;

/// <summary>One example's answers.</summary>
/// <param name="Index">The example's number in its split or file.</param>
public abstract record Prediction(long Index);

/// <summary>Answers that are classes.</summary>
/// <param name="Index">The example's number in its split or file.</param>
/// <param name="Classes">The answers, P of them, or one for each token.</param>
/// <param name="Probabilities">Of each answer: the probability of every class.</param>
/// <param name="Targets">The right answers, -100 where none counts; null when they are not known.</param>
/// <param name="Labels">The classes' names; empty when they are just numbers.</param>
public sealed record ClassPrediction(
    long Index, IReadOnlyList<long> Classes, IReadOnlyList<float[]> Probabilities, IReadOnlyList<long>? Targets, IReadOnlyList<string> Labels) : Prediction(Index)
{
    /// <summary>The name of the first answer, which is the only one in classification.</summary>
    public string Label => NameOf(Classes[0]);

    /// <summary>The probability of <see cref="Label"/>, from 0 to 1.</summary>
    public float Probability => Probabilities[0][Classes[0]];

    /// <summary>A class's name; its number where it has none.</summary>
    public string NameOf(long number) => Labels.Count > 0 ? Labels[(int)number] : FormattableString.Invariant($"{number}");

    /// <inheritdoc/>
    public override string ToString() => FormattableString.Invariant($"{Label} ({Probability:P1})");
}

/// <summary>An answer of any number of labels.</summary>
/// <param name="Index">The example's number in its split or file.</param>
/// <param name="Given">The labels' numbers, in order: those whose probability is above one half.</param>
/// <param name="Probabilities">Of every label, each by itself: they need not add up to 1.</param>
/// <param name="Targets">The right labels' numbers; null when they are not known.</param>
/// <param name="Labels">The labels' names; empty when they are just numbers.</param>
public sealed record LabelsPrediction(
    long Index, IReadOnlyList<long> Given, IReadOnlyList<float> Probabilities, IReadOnlyList<long>? Targets, IReadOnlyList<string> Labels) : Prediction(Index)
{
    /// <summary>A label's name; its number where it has none.</summary>
    public string NameOf(long number) => Labels.Count > 0 ? Labels[(int)number] : FormattableString.Invariant($"{number}");

    /// <inheritdoc/>
    public override string ToString() => string.Join(", ", Given.Select(NameOf));
}

/// <summary>An answer that is a sequence.</summary>
/// <param name="Index">The example's number in its split or file.</param>
/// <param name="Tokens">The tokens that were generated, without the end.</param>
/// <param name="Ended">Whether the end came within the longest answer.</param>
/// <param name="Targets">The right tokens, without the end; null when they are not known.</param>
/// <param name="Names">The names of tokens; empty when they are just numbers.</param>
public sealed record SequencePrediction(long Index, IReadOnlyList<long> Tokens, bool Ended, IReadOnlyList<long>? Targets, IReadOnlyList<string> Names) : Prediction(Index)
{
    /// <summary>The label that was written, where answers are labels; null where it is none of them, or answers are no labels.</summary>
    public string? Label { get; init; }

    /// <summary>The right label, where answers are labels; null where it is not known.</summary>
    public string? TargetLabel { get; init; }

    /// <summary>The label, or the tokens' names, or numbers, with blanks between.</summary>
    public override string ToString() => Label ?? string.Join(' ', Tokens.Select(token => Names.Count > 0 ? Names[(int)token] : FormattableString.Invariant($"{token}")));
}

/// <summary>Answers that are numbers.</summary>
/// <param name="Index">The example's number in its split or file.</param>
/// <param name="Numbers">The answers, P of them.</param>
/// <param name="Targets">The right answers, NaN where none counts; null when they are not known.</param>
public sealed record NumberPrediction(long Index, IReadOnlyList<float> Numbers, IReadOnlyList<float>? Targets) : Prediction(Index);
