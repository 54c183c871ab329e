using System.Diagnostics;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Pretraining.Objectives;
using Permafrost.Training.Optimizers;

namespace Permafrost.Pretraining;

/// <summary>Everything that a pretraining carries from step to step beside weights and optimiser.</summary>
/// <param name="Step">Updates done or passed over.</param>
/// <param name="Tokens">Tokens that went through the model.</param>
/// <param name="MeanLoss">Running mean of the loss, for spikes; null before the first.</param>
/// <param name="Skipped">Updates passed over.</param>
/// <param name="Seconds">Seconds of training, evaluations and checkpoints left out.</param>
/// <param name="EvaluatedAt">The step at which held-out text was last scored whole; null before the first time.</param>
public sealed record PretrainingState(long Step = 0, long Tokens = 0, double? MeanLoss = null, long Skipped = 0, double Seconds = 0, long? EvaluatedAt = null)
{
    /// <summary>What has added up since the last report.</summary>
    public PretrainingSums SinceReport { get; init; } = new();
}

/// <summary>What has added up since the last report.</summary>
/// <param name="Step">The last report's step.</param>
/// <param name="Seconds"><see cref="PretrainingState.Seconds"/> then.</param>
/// <param name="Updates">Updates done since, those passed over left out.</param>
/// <param name="Loss">Sum of their losses.</param>
/// <param name="GradientNorm">Sum of their gradients' norms.</param>
/// <param name="DataSeconds">Seconds spent on making batches.</param>
public sealed record PretrainingSums(long Step = 0, double Seconds = 0, long Updates = 0, double Loss = 0, double GradientNorm = 0, double DataSeconds = 0);

/// <summary>What an update came to.</summary>
/// <param name="Loss">Mean loss of its answers, in nats.</param>
/// <param name="GradientNorm">Before clipping.</param>
/// <param name="LearningRate">Of the update.</param>
/// <param name="Skipped">Why it was passed over; null where it was not.</param>
/// <param name="DataSeconds">Seconds spent on making the batch.</param>
public sealed record PretrainingUpdate(double Loss, double GradientNorm, double LearningRate, string? Skipped, double DataSeconds);

/// <summary>Computes updates, each as a function of its number, the weights and the state alone; it knows no folder.</summary>
public sealed class Pretrainer : IDisposable
{
    // Of the running mean: it forgets in about a hundred steps.
    private const double Inertia = 0.98;
    private const long Settled = 50;

    private readonly PretrainingOptions options;
    private readonly LanguageModel model;
    private readonly Objective objective;
    private readonly Packing packing;
    private readonly ProcessGroup group;
    private readonly int firstRow, endRow;

    /// <summary>A pretraining at its beginning.</summary>
    /// <param name="options">How.</param>
    /// <param name="model">What is trained.</param>
    /// <param name="objective">What it learns from.</param>
    /// <param name="train">The text.</param>
    /// <param name="group">The processes that compute each update together, each a share of its sequences; null for this one alone.</param>
    /// <exception cref="PermafrostException">The text does not fill a step.</exception>
    /// <exception cref="UsageException">There are more processes than sequences.</exception>
    public Pretrainer(PretrainingOptions options, LanguageModel model, Objective objective, TokenStream train, ProcessGroup? group = null)
    {
        (this.options, this.model, this.objective, this.group) = (options, model, objective, group ?? ProcessGroup.Alone);
        if (this.group.Size > options.BatchSize)
            throw new UsageException($"`batch_size` {options.BatchSize} leaves nothing to do for some of {this.group.Size} processes; raise it, or start fewer");
        firstRow = (int)((long)options.BatchSize * this.group.Rank / this.group.Size);
        endRow = (int)((long)options.BatchSize * (this.group.Rank + 1) / this.group.Size);
        packing = new Packing(train, objective.Window, options.BatchSize, options.Seed, options.CrossDocuments);
        packing.Check();
        Optimizer = CreateOptimizer();
    }

    /// <summary>The optimiser, whose state belongs to a checkpoint.</summary>
    public Optimizer Optimizer { get; }

    /// <summary>Where it is.</summary>
    public PretrainingState State { get; set; } = new();

    /// <summary>Updates of one pass over the text.</summary>
    public long StepsPerEpoch => packing.StepsPerEpoch;

    /// <summary>How many processes compute each update.</summary>
    public int Processes => group.Size;

    /// <summary>Computes the next update.</summary>
    /// <exception cref="DivergedException">Loss or gradient are not finite, or the loss is a spike, and that is to stop it.</exception>
    public PretrainingUpdate Step()
    {
        using DisposeScope scope = torch.NewDisposeScope();
        long began = Stopwatch.GetTimestamp(), step = State.Step;
        LanguageExample[] parts = Parts(step);
        double waited = Stopwatch.GetElapsedTime(began).TotalSeconds, rate = options.RateAt(step), loss = 0;
        long[] answers = [.. parts.Select(part => part.Answers.Sum(row => row.LongCount(id => id >= 0)))];
        long all = Math.Max(1, group.Gather(answers.Sum()).Sum()), row = firstRow;
        model.Step = step;
        for (int i = 0; i < parts.Length; i++)
        {
            if (answers[i] > 0) loss += model.AddGradients(parts[i], (double)answers[i] / all, row);
            row += parts[i].Inputs.Length;
            if (!double.IsFinite(loss)) break;
        }
        // From here on every process has the same numbers, and decides the same.
        loss = group.Gather(loss).Sum();
        string? skipped = null;
        double norm = 0;
        if (!double.IsFinite(loss)) skipped = Refuse(options.OnNonFinite == "stop", FormattableString.Invariant($"the loss of step {step + 1} is not finite"));
        else if (options.OnSpike != "keep" && step >= Settled && loss > State.MeanLoss + options.SpikeNats)
            skipped = Refuse(options.OnSpike == "stop", FormattableString.Invariant($"the loss of step {step + 1} is {loss:F3}, and the mean of those before {State.MeanLoss:F3}"));
        if (skipped is null)
        {
            group.SumGradients([.. Optimizer.Parameters.Select(pair => pair.Tensor)]);
            norm = GradientClipping.ClipNorm(Optimizer.Parameters.Select(pair => pair.Tensor), options.MaxGradNorm > 0 ? options.MaxGradNorm : double.PositiveInfinity);
            if (double.IsFinite(norm)) Optimizer.Step(rate);
            else skipped = Refuse(options.OnNonFinite == "stop", FormattableString.Invariant($"the gradient of step {step + 1} is not finite"));
        }
        Optimizer.ZeroGrad();
        PretrainingSums sums = State.SinceReport with { DataSeconds = State.SinceReport.DataSeconds + waited };
        State = State with
        {
            Step = step + 1,
            Tokens = State.Tokens + (long)options.BatchSize * objective.TokensPerWindow,
            MeanLoss = skipped is not null ? State.MeanLoss : State.MeanLoss is { } mean ? Inertia * mean + (1 - Inertia) * loss : loss,
            Skipped = State.Skipped + (skipped is null ? 0 : 1),
            Seconds = State.Seconds + Stopwatch.GetElapsedTime(began).TotalSeconds,
            SinceReport = skipped is not null ? sums : sums with { Updates = sums.Updates + 1, Loss = sums.Loss + loss, GradientNorm = sums.GradientNorm + norm },
        };
        return new PretrainingUpdate(loss, norm, rate, skipped, waited);
    }

    /// <summary>Frees the optimiser.</summary>
    public void Dispose() => Optimizer.Dispose();

    private LanguageExample[] Parts(long step)
    {
        long first = step * options.BatchSize + firstRow;
        return [.. packing.Step(step)[firstRow..endRow].Chunk(options.MicroBatch).Select((windows, part) =>
            objective.Make(windows, row => new CounterRandom("objective", options.Seed, first + (long)part * options.MicroBatch + row)))];
    }

    private string Refuse(bool stops, string what)
    {
        if (!stops) return what;
        Optimizer.ZeroGrad();
        throw new DivergedException($"{what}; pass over such updates with `on_non_finite` or `on_spike` skip, or begin again with a lower `learning_rate` or `max_grad_norm`");
    }

    private Optimizer CreateOptimizer()
    {
        IReadOnlyList<(string Name, Tensor Tensor)> all = model.Parameters;
        ParameterGroup[] groups =
        [
            new([.. all.Where(pair => pair.Tensor.dim() > 1)]),
            new([.. all.Where(pair => pair.Tensor.dim() <= 1)], WeightDecay: 0),
        ];
        // T5's own: the schedule's rate in units of each parameter's size.
        if (options.Optim == "adafactor") return new Adafactor(groups, AdafactorSettings.Mesh with { WeightDecay = options.WeightDecay });
        return new Adam(groups, options.AdamBeta1, options.AdamBeta2, 1e-8, options.WeightDecay, decoupled: options.Optim == "adamw");
    }
}
