namespace Permafrost.Training.Options;

/// <summary>What is scored, and what follows from it.</summary>
public sealed record EvaluationOptions
{
    /// <summary>Examples scored at a time.</summary>
    [Option("examples a batch when evaluating", Affects.Nothing)]
    public int PerDeviceEvalBatchSize { get; init; } = 64;

    /// <summary>Steps between validations; 0 for one at the end.</summary>
    [Option("validate every so many steps; 0 only at the end")]
    public int EvalSteps { get; init; } = 500;

    /// <summary>Whether the weights of the best validation are kept, not the last ones.</summary>
    [Option("score and keep the weights of the best validation (task's first metric, then loss), not the last")]
    public bool LoadBestModelAtEnd { get; init; } = true;

    /// <summary>Validations without a better one after which it stops; 0 for never.</summary>
    [Option("stop after so many validations without a better one; 0 never")]
    public int EarlyStoppingPatience { get; init; }

    /// <summary>Stops at the first validation whose score is this good; null for never.</summary>
    [Option("stop at the first validation on which the task's first metric is this good, such as 1 for all answers right")]
    public double? StopAtScore { get; init; }

    /// <summary>Whether the test split is scored at the end.</summary>
    [Option("score the test split at the end; without it the split stays untouched while settings are still being chosen", Affects.Nothing)]
    public bool ScoreTest { get; init; } = true;

    /// <summary>Whether baselines are scored beside the model.</summary>
    [Option("measure baselines beside the score: trivial rules, and for texts a linear probe of the same body", Affects.Nothing)]
    public bool Baselines { get; init; } = true;

    /// <summary>Refuses values that cannot be.</summary>
    /// <exception cref="UsageException">One is out of range.</exception>
    public void Validate()
    {
        OptionCheck.Between("per_device_eval_batch_size", PerDeviceEvalBatchSize, 1, 1 << 20);
        OptionCheck.Between("eval_steps", EvalSteps, 0, int.MaxValue);
        if (StopAtScore is { } score && !double.IsFinite(score)) throw new UsageException($"`stop_at_score` is {score}; it must be a number");
        OptionCheck.Between("early_stopping_patience", EarlyStoppingPatience, 0, int.MaxValue);
    }
}
