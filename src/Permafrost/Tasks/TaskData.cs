using Permafrost.Data;

namespace Permafrost.Tasks;

/// <summary>A task's data, split for training, validation and test.</summary>
/// <param name="Spec">The kind and size of its inputs and answers.</param>
/// <param name="Train">The examples to train on.</param>
/// <param name="Validation">The examples that every choice during training is made by; null when there are none.</param>
/// <param name="Test">The examples that the final score is measured on, once; null when there are none.</param>
public sealed record TaskData(TaskSpec Spec, IDataset Train, IDataset? Validation, IDataset? Test) : IDisposable
{
    /// <summary>Whether the examples follow from the task's version and options alone, without any file: a few of them are then enough to know them by.</summary>
    public bool IsGenerated { get; init; }

    /// <summary>The examples of files that endless training examples are made of, each time otherwise; null where there are none.</summary>
    public IDataset? TrainSource { get; init; }

    /// <summary>What a user should know of the data, a sentence each, such as how many texts were cut.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>A split by name.</summary>
    /// <param name="split"><c>train</c>, <c>validation</c> or <c>test</c>.</param>
    /// <returns>Null when there is none.</returns>
    /// <exception cref="ArgumentException">No split has that name.</exception>
    public IDataset? Split(string split) => split switch
    {
        "train" => Train,
        "validation" => Validation,
        "test" => Test,
        _ => throw new ArgumentException($"there is no split '{split}'", nameof(split)),
    };

    /// <summary>Frees what the splits hold in memory; they may share it.</summary>
    public void Dispose()
    {
        foreach (IDataset? split in new[] { Train, Validation, Test }) (split as IDisposable)?.Dispose();
    }
}
