using Permafrost.Adaptation;
using Permafrost.Models;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;
using Permafrost.Training;

namespace Permafrost.Runs;

/// <summary>What a score must beat, by name, in the task's first metric, over the same test examples (those of validation where there is no test split).</summary>
/// <param name="Trivial">Rules such as the majority class or a linear map of the inputs.</param>
/// <param name="Strong">What a user would try first, such as boosted trees.</param>
public sealed record RunBaselines(IReadOnlyDictionary<string, double> Trivial, IReadOnlyDictionary<string, double> Strong)
{
    /// <summary>None.</summary>
    public static RunBaselines None { get; } = new(new Dictionary<string, double>(), new Dictionary<string, double>());

    /// <summary>Trivial ones alone.</summary>
    public static RunBaselines Of(IReadOnlyDictionary<string, double> trivial) => None with { Trivial = trivial };

    /// <summary>Measures trivial rules, the strong baselines that were brought, and, for texts, the linear probe of the model's body.</summary>
    internal static RunBaselines Measure(
        AdaptedModel model, TaskData data, TaskDefinition? task, IReadOnlyList<IStrongBaseline> brought, TrainerOptions options, IProgress<TrainingEvent>? progress,
        CancellationToken cancellation)
    {
        progress?.Report(new PhaseStarted("measuring baselines"));
        RunBaselines baselines = Of(TrivialBaselines.Measure(data, task));
        var strong = new OrderedDictionary<string, double>();
        IEnumerable<IStrongBaseline> own = IsLinearProbe(model) ? [] : [new LinearProbe(model.Weights, options.Device, model.FrozenType, progress)];
        foreach (IStrongBaseline baseline in brought.Concat(own).Where(baseline => baseline.AppliesTo(data.Spec)))
        {
            cancellation.ThrowIfCancellationRequested();
            progress?.Report(new PhaseStarted($"measuring the baseline {baseline.Name}"));
            if (baseline.Score(data, options.Seed, cancellation)?.Shown is { } score) strong[baseline.Name] = score;
        }
        return baselines with { Strong = strong };
    }

    // Such a run is the linear probe, at the rate that it was given.
    private static bool IsLinearProbe(AdaptedModel model) =>
        model.ReadsConstants && model.Trained.All(parameter => parameter.Group == GroupName.Output)
        && model.Readout.Kind == ReadoutKind.Mean && model.Parameters.All(parameter => parameter.Group != GroupName.Input);
}
