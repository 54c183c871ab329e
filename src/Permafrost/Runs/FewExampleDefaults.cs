using Permafrost.Data;
using Permafrost.Tasks;
using Permafrost.Training.Options;

namespace Permafrost.Runs;

/// <summary>
/// What a run of few training examples does where nothing is said of its length: it ends when repeated stratified validation no longer gets better, or, where the task has
/// validation examples of its own, those.
/// </summary>
internal static class FewExampleDefaults
{
    /// <summary>The most training examples that count as few.</summary>
    public const int Most = 1000;

    /// <summary>Parts of a round: each holds a quarter of the rows out.</summary>
    public const int Parts = 4;

    // With fewer rows a part has one or two, and nothing can be chosen by them.
    private const int Fewest = 12;

    // Of so many rows, one round leaves more to chance than a second one costs.
    private const int ForTwoRounds = 128;

    // Passes over the data after which nothing was ever better, with rates from 0.0003 to 0.003.
    private const int Passes = 40;

    /// <summary>Rounds of folds; one where each of them trains on pairs, which takes longer.</summary>
    public static int Rounds(long rows, bool pairs) => rows <= ForTwoRounds && !pairs ? 2 : 1;

    /// <summary>Whether rows are too few to hold some out.</summary>
    public static bool TooFew(long rows) => rows < Fewest;

    /// <summary>Whether nothing was said of a run's length, and its examples are few.</summary>
    public static bool Apply(RunOptions options, TaskSpec spec, IDataset train) =>
        train.Count <= Most && options.Schedule is { MaxSteps: null, NumTrainEpochs: null, Shuffle: true } && spec.Output is ClassOutput { Count: 1 } or NumberOutput { Count: 1 };

    /// <summary>
    /// Whether a run whose rows are held out in turn trains as long as it was told to, or as its schedule of learning rates goes by: at another length the steps would have other
    /// rates.
    /// </summary>
    /// <exception cref="UsageException">The schedule goes by the length, and validations are to end the training.</exception>
    public static bool KeepLength(RunOptions options)
    {
        bool endsEarlier = options.Evaluation is not { EarlyStoppingPatience: 0, StopAtScore: null };
        if (options.Schedule.RateDependsOnLength && endsEarlier)
        {
            string ends = options.Evaluation.StopAtScore is null ? "early_stopping_patience" : "stop_at_score";
            throw new UsageException(
                $"`{ends}` chooses how long so few examples are trained on, and `lr_scheduler_type` {options.Schedule.LrSchedulerType} with its warm-up goes by that length; " +
                "leave one of them out");
        }
        return options.Schedule.RateDependsOnLength || (options.Schedule is not { MaxSteps: null, NumTrainEpochs: null } && !endsEarlier);
    }

    /// <summary>The options with a length, and validations often enough to end earlier.</summary>
    /// <param name="options">The run's options.</param>
    /// <param name="rows">Training examples.</param>
    /// <param name="outputOnly">Whether the output layer alone learns, which costs next to nothing and takes more updates.</param>
    /// <param name="validates">Whether there are validation examples, by which it ends.</param>
    public static RunOptions Resolve(RunOptions options, long rows, bool outputOnly, bool validates)
    {
        int pass = (int)((rows + options.Schedule.GlobalBatchSize - 1) / options.Schedule.GlobalBatchSize);
        int most = outputOnly ? 1500 : Math.Clamp(Passes * pass, 80, 600);
        var usual = new EvaluationOptions();
        EvaluationOptions own = options.Evaluation;
        return options with
        {
            Schedule = options.Schedule with { MaxSteps = most },
            Evaluation = own with
            {
                EvalSteps = own.EvalSteps == usual.EvalSteps ? (outputOnly ? 50 : Math.Clamp(most / 20, 5, 30)) : own.EvalSteps,
                EarlyStoppingPatience = own.EarlyStoppingPatience == usual.EarlyStoppingPatience && validates && own.EvalSteps > 0 ? 6 : own.EarlyStoppingPatience,
            },
        };
    }

    /// <summary>The rates that are tried.</summary>
    public static double[] Rates(RunOptions options, bool outputOnly)
    {
        if (!options.Optimizer.Tune) return [options.Optimizer.LearningRate];
        double rate = options.Optimizer.LearningRate;
        double[] factors = outputOnly ? [1, 3, 10, 30] : [0.3, 1, 3];
        return [.. factors.Select(factor => Math.Round(rate * factor, 12))];
    }
}
