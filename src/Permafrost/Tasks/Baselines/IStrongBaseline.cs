namespace Permafrost.Tasks.Baselines;

/// <summary>What a baseline came to, in the task's first metric.</summary>
/// <param name="Name">The baseline's name, as <c>results.json</c> has it.</param>
/// <param name="Validation">Its score on the validation split, by which its settings were chosen; null where there is no such split.</param>
/// <param name="Test">Its score on the test split; null where there is no such split.</param>
/// <param name="Settings">The settings that were chosen, in words.</param>
public sealed record BaselineScore(string Name, double? Validation, double? Test, string Settings)
{
    /// <summary>The score to show beside a result: the test's, or the validation's where there is no test split; null where there is neither.</summary>
    public double? Shown => Test ?? Validation;
}

/// <summary>
/// Something that a user would try before a frozen body, such as boosted trees or a linear model of n-grams. The library declares it and shows its score beside a run's; programs
/// bring implementations, such as those of the package Permafrost.Baselines.
/// </summary>
public interface IStrongBaseline
{
    /// <summary>The name in <c>results.json</c>, such as <c>ngram-linear</c>.</summary>
    string Name { get; }

    /// <summary>Whether it can be trained on such data.</summary>
    bool AppliesTo(TaskSpec spec);

    /// <summary>Trains on the training split, chooses settings on the validation split, and scores the test split once.</summary>
    /// <param name="data">The data; its specification is one that <see cref="AppliesTo"/> accepts.</param>
    /// <param name="seed">Of whatever it draws: the same seed gives the same scores.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <returns>Null where the examples turn out not to do, such as sequences of several lengths.</returns>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    BaselineScore? Score(TaskData data, long seed, CancellationToken cancellation);
}
