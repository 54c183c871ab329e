using Permafrost.Tasks.Metrics;

namespace Permafrost.Tasks;

/// <summary>What a task feeds and asks for: all that a model around a backbone needs to know.</summary>
/// <param name="Input">The kind and size of the inputs.</param>
/// <param name="Output">The kind and number of the answers.</param>
public sealed record TaskSpec(InputSpec Input, OutputSpec Output)
{
    private readonly IReadOnlyList<MetricInfo>? metrics;

    /// <summary>Where the answers are read: <c>last</c>, <c>first</c>, <c>mean</c>, <c>last:K</c>, <c>all</c> where each token has an answer, or <c>decoder</c>.</summary>
    public string Readout { get; init; } = Output switch { TokenClassOutput => "all", SequenceOutput => "decoder", _ => "last" };

    /// <summary>The metrics that score the answers; choices are made by the first. Where none are given, those of <see cref="Output"/>.</summary>
    public IReadOnlyList<MetricInfo> Metrics
    {
        get => metrics ?? Output.Metrics;
        init => metrics = value;
    }

    /// <summary>What the task itself feeds and asks for, where a run writes its examples as texts or its classes as labels; else null.</summary>
    public TaskSpec? Source { get; init; }

    /// <summary>How raw inputs become tokens, for whoever feeds the adapter from other software; written into its configuration.</summary>
    public IReadOnlyDictionary<string, string> Preprocessing { get; init; } = new Dictionary<string, string>();

    /// <summary>Whether data of this kind can be fed to, and scored with, a model that was made for another.</summary>
    /// <param name="model">The specification that the model was made for.</param>
    public bool FitsModelOf(TaskSpec model)
    {
        bool input = (Input, model.Input) switch
        {
            (VectorInput own, VectorInput other) => own.Size == other.Size,
            (IdInput own, IdInput other) => own.Vocabulary <= other.Vocabulary,
            (TextInput own, TextInput other) => own.Vocabulary == other.Vocabulary,
            (PixelInput own, PixelInput other) => own == other,
            _ => false,
        };
        bool output = (Output, model.Output) switch
        {
            (ClassOutput own, ClassOutput other) => own.Count == other.Count && own.Classes <= other.Classes,
            (TokenClassOutput own, TokenClassOutput other) => own.Classes <= other.Classes,
            (MultiLabelOutput own, MultiLabelOutput other) => own.Classes == other.Classes,
            (NumberOutput own, NumberOutput other) => own.Count == other.Count,
            (SequenceOutput own, SequenceOutput other) => own.Vocabulary == other.Vocabulary && own.End == other.End,
            _ => false,
        };
        return input && output;
    }
}
