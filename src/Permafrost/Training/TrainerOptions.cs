using Permafrost.Models;
using Permafrost.Training.Optimizers;
using Permafrost.Training.Options;

namespace Permafrost.Training;

/// <summary>How a model is trained.</summary>
public sealed record TrainerOptions
{
    /// <summary>What becomes of gradients.</summary>
    public OptimizerOptions Optimizer { get; init; } = new();

    /// <summary>How long it trains, on what in which order, and how the learning rate goes.</summary>
    public ScheduleOptions Schedule { get; init; } = new();

    /// <summary>What is scored, and what follows from it.</summary>
    public EvaluationOptions Evaluation { get; init; } = new();

    /// <summary>When checkpoints and reports are due.</summary>
    public CheckpointOptions Checkpoints { get; init; } = new();

    /// <summary>Of data order and dropout.</summary>
    public long Seed { get; init; }

    /// <summary>Where the model is; null for the processor.</summary>
    public Device? Device { get; init; }

    /// <summary>Examples computed at a time; null for what <see cref="MemoryTrial"/> finds to fit.</summary>
    public int? MicroBatchSize { get; init; }

    /// <summary>Keeps hidden states where the policy trains only what comes behind them; not owned. Null keeps them in memory while it trains.</summary>
    public FrozenFeatures? Features { get; init; }

    /// <summary>An optimiser of a model's trained parameters; groups with a rate of their own are scaled relative to a step rate of 1.</summary>
    internal Optimizer CreateOptimizer(Adaptation.AdaptedModel model)
    {
        ParameterGroup[] groups =
        [
            .. model.Learning.GroupBy(parameter => parameter.Group)
                .Select(group => new ParameterGroup([.. group.Select(parameter => (parameter.Name, parameter.Parameter.Value))], Optimizer.RateOf(group.Key))),
        ];
        return Optimizer.Optim == "sgd"
            ? new Sgd(groups, Optimizer.Momentum, weightDecay: Optimizer.WeightDecay)
            : new Adam(groups, Optimizer.AdamBeta1, Optimizer.AdamBeta2, Optimizer.AdamEpsilon, Optimizer.WeightDecay, decoupled: Optimizer.Optim == "adamw");
    }

    /// <summary>Numbers of optimiser state for each trained weight.</summary>
    internal int OptimizerSlots => Optimizer.Optim != "sgd" ? 2 : Optimizer.Momentum > 0 ? 1 : 0;

    /// <summary>Refuses values that cannot be, and combinations that do not fit the model.</summary>
    /// <exception cref="UsageException">There is one.</exception>
    public void Validate(Adaptation.AdaptedModel model)
    {
        Optimizer.Validate();
        Schedule.Validate();
        Evaluation.Validate();
        Checkpoints.Validate();
        OptionCheck.Between("micro_batch_size", MicroBatchSize ?? 1, 1, 1 << 20);
        bool IsIdle(string group) => model.Trained.All(p => !p.Group.ToString().Equals(group, StringComparison.OrdinalIgnoreCase));
        IEnumerable<string> groups = Enum.GetValues<GroupName>().Select(group => group.ToString().ToLowerInvariant());
        if (groups.FirstOrDefault(group => Optimizer.LearningRates.ContainsKey(group) && IsIdle(group)) is { } idle)
            throw new UsageException($"learning_rates.{idle}: `policy` {model.Policy} trains nothing of that group; leave it out");
    }
}
