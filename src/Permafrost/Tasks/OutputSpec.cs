using Permafrost.Tasks.Metrics;

namespace Permafrost.Tasks;

/// <summary>The kind of answers that a task asks a model for, and how many.</summary>
public abstract record OutputSpec
{
    /// <summary>P, the number of answers for an example; 0 where there is one for each token, or a sequence.</summary>
    public abstract int Answers { get; }

    /// <summary>The metrics that score the answers; choices are made by the first.</summary>
    public abstract IReadOnlyList<MetricInfo> Metrics { get; }
}

/// <summary>One of several classes, P times. Targets are (B, P) int64; -100 does not count.</summary>
/// <param name="Classes">C, the number of classes.</param>
public sealed record ClassOutput(int Classes) : OutputSpec
{
    /// <summary>The classes' names; empty when they are just numbers.</summary>
    public IReadOnlyList<string> Labels { get; init; } = [];

    /// <summary>P, the number of answers for an example.</summary>
    public int Count { get; init; } = 1;

    /// <inheritdoc/>
    public override int Answers => Count;

    /// <inheritdoc/>
    public override IReadOnlyList<MetricInfo> Metrics => [MetricInfo.Accuracy];
}

/// <summary>Any number of several labels. Targets are (B, C) int64, 1 for a label that an example has and 0 for another; -100 does not count.</summary>
/// <param name="Classes">C, the number of labels.</param>
public sealed record MultiLabelOutput(int Classes) : OutputSpec
{
    /// <summary>The labels' names; empty when they are just numbers.</summary>
    public IReadOnlyList<string> Labels { get; init; } = [];

    /// <inheritdoc/>
    public override int Answers => Classes;

    /// <inheritdoc/>
    public override IReadOnlyList<MetricInfo> Metrics => [MetricInfo.MicroF1, MetricInfo.MacroF1, MetricInfo.ExactMatch];
}

/// <summary>One of several classes for each token. Targets are (B, T) int64; -100 does not count, and stands at every token that is padding.</summary>
/// <param name="Classes">C, the number of classes.</param>
public sealed record TokenClassOutput(int Classes) : OutputSpec
{
    /// <summary>The classes' names; empty when they are just numbers.</summary>
    public IReadOnlyList<string> Labels { get; init; } = [];

    /// <inheritdoc/>
    public override int Answers => 0;

    /// <inheritdoc/>
    public override IReadOnlyList<MetricInfo> Metrics => [MetricInfo.Accuracy];
}

/// <summary>
/// A sequence, which an encoder-decoder generates token by token. Targets are (B, S) int64, S at most <see cref="Length"/>: each ends with <see cref="End"/>, and -100 stands
/// behind it.
/// </summary>
/// <param name="Vocabulary">V, the number of tokens that answers are made of.</param>
/// <param name="Length">The most tokens of an answer, the end among them.</param>
/// <param name="End">The token that ends an answer.</param>
public sealed record SequenceOutput(int Vocabulary, int Length, int End) : OutputSpec
{
    /// <summary>The tokens' names; empty when they are just numbers.</summary>
    public IReadOnlyList<string> Tokens { get; init; } = [];

    /// <summary>The answers that can be right, in the order of their classes, where answers are labels that the body writes with its own tokens; else empty.</summary>
    public IReadOnlyList<WrittenLabel> Labels { get; init; } = [];

    /// <inheritdoc/>
    public override int Answers => 0;

    /// <inheritdoc/>
    public override IReadOnlyList<MetricInfo> Metrics => [MetricInfo.ExactMatch, MetricInfo.Accuracy with { Name = "token_accuracy" }];
}

/// <summary>A label as a decoder writes it.</summary>
/// <param name="Text">The label.</param>
/// <param name="Tokens">Its tokens, without the end.</param>
public sealed record WrittenLabel(string Text, IReadOnlyList<long> Tokens);

/// <summary>Real numbers (regression). Targets are (B, P) float32; NaN does not count.</summary>
/// <param name="Count">P, the number of numbers for an example.</param>
public sealed record NumberOutput(int Count = 1) : OutputSpec
{
    /// <inheritdoc/>
    public override int Answers => Count;

    /// <inheritdoc/>
    public override IReadOnlyList<MetricInfo> Metrics => [MetricInfo.RootMeanSquaredError, MetricInfo.MeanAbsoluteError, MetricInfo.R2];
}
