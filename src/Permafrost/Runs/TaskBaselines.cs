using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;
using Permafrost.Tasks.Metrics;
using Permafrost.Tokenizers;

namespace Permafrost.Runs;

/// <summary>What the scores on a task's data must beat, measured without any body.</summary>
/// <param name="Task">The task's name, with its reading.</param>
/// <param name="TaskVersion">The task's version.</param>
/// <param name="Metric">What is measured.</param>
/// <param name="Trivial">Scores of trivial rules by name, on the test split, or on validation where there is none.</param>
/// <param name="Strong">What the strong baselines came to; those that do not apply are not among them.</param>
public sealed record TaskBaselines(string Task, int TaskVersion, MetricInfo Metric, IReadOnlyDictionary<string, double> Trivial, IReadOnlyList<BaselineScore> Strong)
{
    // Baselines read the texts themselves, so that one that knows no word will do.
    private static readonly string[] NoWords = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

    /// <summary>Measures.</summary>
    /// <param name="options">The task and its data.</param>
    /// <param name="strong">The strong baselines to measure, where they apply.</param>
    /// <param name="seed">Of generated training examples, and of what a baseline draws.</param>
    /// <param name="split">The split that is scored: <c>test</c>, or <c>validation</c>, by which nothing is chosen then.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <exception cref="PermafrostException">The data is missing or damaged.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static TaskBaselines Measure(
        DataOptions options, IReadOnlyList<IStrongBaseline> strong, long seed = 0, string split = "test", CancellationToken cancellation = default)
    {
        options = options.Told();
        options.Validate();
        (TaskDefinition task, string reading) = TaskRegistry.Find(options.Task);
        TaskOptions how = options.ForTask(reading, seed, held: 0.1) with { Tokenizer = () => new WordPiece(NoWords) };
        how.CheckTables(task);
        using TaskData loaded = task.Load(how);
        TaskData data = loaded;
        if (options.TrainPerClass is { } perClass) data = FewExamples.Draw(loaded, perClass, seed) with { Validation = null, Test = loaded.Test ?? loaded.Validation };
        if (split == "validation")
            data = data with { Validation = null, Test = loaded.Validation ?? throw new UsageException($"the data of {options.Task} has no validation split to score") };
        IReadOnlyDictionary<string, double> trivial = TrivialBaselines.Measure(data, task);
        BaselineScore?[] scores = [.. strong.Where(baseline => baseline.AppliesTo(data.Spec)).Select(baseline => baseline.Score(data, seed, cancellation))];
        return new TaskBaselines(options.Task, task.Version, data.Spec.Metrics[0], trivial, [.. scores.OfType<BaselineScore>()]);
    }
}
