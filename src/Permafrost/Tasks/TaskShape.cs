namespace Permafrost.Tasks;

/// <summary>What a task feeds and asks for: all that a model around a backbone needs to know.</summary>
public sealed record TaskShape
{
    /// <summary>D, the size of an input vector; null when the task feeds ids.</summary>
    public int? VectorSize { get; init; }

    /// <summary>V, the number of input ids; null when the task feeds vectors.</summary>
    public int? Vocabulary { get; init; }

    /// <summary>T, the longest sequence.</summary>
    public required int SequenceLength { get; init; }

    /// <summary>P, how many answers an example has.</summary>
    public int Targets { get; init; } = 1;

    /// <summary>C, among how many classes each answer is chosen.</summary>
    public required int Classes { get; init; }

    /// <summary>Where the answers are read: <c>last</c>, <c>first</c>, <c>mean</c> or <c>last:K</c>.</summary>
    public string Readout { get; init; } = "last";

    /// <summary>The classes' names; empty when they are just numbers.</summary>
    public IReadOnlyList<string> Labels { get; init; } = [];

    /// <summary>How raw inputs become tokens, for whoever feeds the adapter from other software; written into its configuration.</summary>
    public IReadOnlyDictionary<string, string> Preprocessing { get; init; } = new Dictionary<string, string>();

    /// <summary>Name of the accuracy over <see cref="Batch.Hard"/> answers; null when the task has none.</summary>
    public string? HardMetric { get; init; }

    /// <summary>Whether the task feeds vectors.</summary>
    public bool FeedsVectors => VectorSize is not null;
}
