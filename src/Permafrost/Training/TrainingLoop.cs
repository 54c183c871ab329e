using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Tasks;
using Permafrost.Training.Optimizers;
using Permafrost.Tuning;

namespace Permafrost.Training;

/// <summary>
/// The loop: update, report, validate, save, in this order after every step. Everything it knows is in weights, optimiser, random state and
/// <see cref="TrainerState"/>, so that a checkpoint holds all of it.
/// </summary>
internal sealed class TrainingLoop : IDisposable
{
    // Adam moves a weight by about the rate each step; below this sum a weight near 1 may not move at all in float32.
    private const double Noticeable = 3e-5;

    // Behind trained weights that start at zero (an output layer, a residual projection) gradients are zero until those have moved, one after the other.
    private const long BehindZeros = 10;

    private readonly FinetuneRun run;
    private readonly RunFolder folder;
    private readonly ITrainingObserver observer;
    private readonly StopRequest stop;
    private readonly RunOptions options;
    private readonly TunedModel model;
    private readonly TaskData data;
    private readonly Optimizer optimizer;
    private readonly DataOrder order;
    private readonly Dictionary<string, string> startHashes;
    private readonly long steps;
    private readonly long warmup;
    private readonly long patience;
    private readonly TimeProvider clock;
    private long savedAt;
    private long savedStep = -1;
    private IExamples train;

    /// <summary>Prepares a training from the start, or from a verified checkpoint.</summary>
    public TrainingLoop(FinetuneRun run, RunFolder folder, ITrainingObserver observer, StopRequest stop, string? checkpoint, TimeProvider clock)
    {
        (this.run, this.folder, this.observer, this.stop, this.clock) = (run, folder, observer, stop, clock);
        savedAt = clock.GetTimestamp();
        (options, model, data, steps) = (run.Options, run.Model, run.Data!, run.Steps);
        warmup = options.WarmupSteps > 0 ? options.WarmupSteps : (long)Math.Ceiling(options.WarmupRatio * steps);
        (order, train) = (run.Order, data.Train);
        startHashes = model.Trained.ToDictionary(p => p.Name, Hash);
        patience = model.Trained.Any(p => p.Parameter.Shape.Length > 1 && IsZero(p.Parameter.Value)) ? BehindZeros : 1;
        optimizer = MakeOptimizer();
        torch.manual_seed(options.Seed);
        (model.DropoutKeys.Seed, model.DropoutKeys.CountsForwards) = (options.Seed, false);
        if (checkpoint is null) return;
        State = Checkpoint.Restore(checkpoint, model, optimizer, run.Device);
        if (State.Step > steps) throw new UsageException($"{checkpoint} has done {State.Step} steps, more than --max-steps or --num-train-epochs ask for ({steps}); ask for at least as many");
        if (options.LoadBestModelAtEnd && State.BestStep >= 0) Checkpoint.RestoreBest(checkpoint, folder, State, run.AdapterConfig(State.BestStep));
        savedStep = State.Step;
        model.DropoutKeys.Step = State.Step;
        Checkpoint.Leave(folder, State.Step);
    }

    /// <summary>Writes the checkpoint that the run goes on from once more, as that of a run with other options; the old one stays until the new one is whole.</summary>
    public void SaveAgain() => Checkpoint.Write(folder, State, model, optimizer, run.Identity(), run.Device, options.LoadBestModelAtEnd);

    /// <summary>Whether there are steps left to do.</summary>
    public bool GoesOn => State.Step < steps && !StoppedEarly;

    /// <summary>Where the training is.</summary>
    public TrainerState State { get; } = new();

    /// <summary>Trains to the end, or until asked to stop.</summary>
    /// <exception cref="StoppedException">It was asked to stop, and has saved a checkpoint.</exception>
    /// <exception cref="DivergedException">The loss or the gradients are not finite.</exception>
    public void Run(MetricsLog log)
    {
        long began = clock.GetTimestamp();
        // Between steps the clock is asked; features and validations, which may take long, are ended by a timer.
        using ITimer? timer = options.MaxDuration is { } limit && limit < TimeSpan.FromDays(30) ? clock.CreateTimer(_ => stop.Ask(StopReason.OutOfTime), null, limit, Timeout.InfiniteTimeSpan) : null;
        train = Prepared(log);
        ValidateIfDue(log);  // a stop may have come between a step and its validation
        (double reportedSeconds, long reportedTokens, double waited) = (State.Seconds, State.Tokens, 0);
        while (GoesOn)
        {
            if (clock.GetElapsedTime(began) > options.MaxDuration) stop.Ask(StopReason.OutOfTime);
            if (stop.Reason != StopReason.None) throw Stop(log);
            long started = clock.GetTimestamp();
            double factor = LearningRateSchedule.Factor(options.LrSchedulerType, State.Step, warmup, steps);
            waited += Step(factor);
            State.Seconds += clock.GetElapsedTime(started).TotalSeconds;
            bool logged = State.Step % options.LoggingSteps == 0 || State.Step == steps;
            if (logged) Report();
            ValidateIfDue(log);
            if (!logged && StoppedEarly) Report();

            void Report()
            {
                double speed = (State.Tokens - reportedTokens) / Math.Max(1e-9, State.Seconds - reportedSeconds);
                WriteReport(log, options.LearningRate * factor, speed, waited);
                (reportedSeconds, reportedTokens, waited) = (State.Seconds, State.Tokens, 0);
            }
            bool due = (options.SaveSteps > 0 && State.Step % options.SaveSteps == 0) || (options.SaveMinutes > 0 && clock.GetElapsedTime(savedAt).TotalMinutes >= options.SaveMinutes);
            if (due && State.Step < steps) Save(log);
        }
        // A run that went on between a step and its validation, and stops by that one, has losses that no step reports any more.
        double last = LearningRateSchedule.Factor(options.LrSchedulerType, Math.Max(0, State.Step - 1), warmup, steps);
        if (State.Pending > 0) WriteReport(log, options.LearningRate * last, State.Tokens / Math.Max(1e-9, State.Seconds), waited);
        Save(log);
        CheckMoved();
    }

    // Means over the steps since the last report that had answers; a step without any has no loss.
    private void WriteReport(MetricsLog log, double rate, double speed, double waited)
    {
        var report = new StepReport(
            State.Step, steps, State.Pending == 0 ? double.NaN : State.LossSum / State.Pending, State.Pending == 0 ? double.NaN : State.NormSum / State.Pending, rate, speed);
        (string, double)[] means = State.Pending == 0 ? [] : [("train/loss", report.Loss), ("train/grad_norm", report.GradientNorm)];
        log.Write(State.Step, [.. means, ("lr", rate), ("tokens_per_second", Math.Round(speed, 1)), ("data_wait", Math.Round(waited, 4))]);
        observer.Stepped(report);
        (State.LossSum, State.NormSum, State.Pending) = (0, 0, 0);
    }

    public void Dispose() => optimizer.Dispose();

    // Stopped meanwhile, a run begins there again; what was kept on disk by then need not be computed again.
    private IExamples Prepared(MetricsLog log)
    {
        try
        {
            return run.Examples("train", observer, stop.Token)!;
        }
        catch (OperationCanceledException)
        {
            throw Stop(log);
        }
    }

    private bool StoppedEarly => options.EarlyStoppingPatience > 0 && State.SinceBest >= options.EarlyStoppingPatience;

    // One update; returns the seconds spent waiting for data.
    private double Step(double factor)
    {
        using var scope = torch.NewDisposeScope();
        long started = clock.GetTimestamp();
        var batches = new List<Batch>();
        foreach (long[] batch in order.Step(State.Step).Chunk(options.PerDeviceTrainBatchSize))
            foreach (long[] part in batch.Chunk(run.MicroBatchSize)) batches.Add(train.Get(part).To(run.Device));
        double waited = clock.GetElapsedTime(started).TotalSeconds;
        (double loss, double norm, long answers) = TrainStep.Run(model, optimizer, batches, factor, options.MaxGradNorm);
        if (!double.IsFinite(loss)) throw Diverged("loss", loss, factor);
        if (!double.IsFinite(norm)) throw Diverged("gradient norm", norm, factor);
        State.Step++;
        State.LossSum += loss;
        State.NormSum += norm;
        if (answers > 0) State.Pending++;
        State.Tokens += batches.Sum(batch => batch.Tokens);
        if (norm == 0) return waited;  // no answer counted, or none depends on anything yet
        bool before = ShouldHaveMoved;
        State.Moves++;
        State.RateSum += factor * model.Trained.Max(parameter => options.RateOf(parameter.Group));
        if (options.Optim != "sgd" && !before) CheckMoved();
        return waited;
    }

    private bool ShouldHaveMoved => State.Moves >= patience && State.RateSum >= Noticeable;

    private void ValidateIfDue(MetricsLog log)
    {
        bool due = (options.EvalSteps > 0 && State.Step > 0 && State.Step % options.EvalSteps == 0) || State.Step == steps;
        if (!due || data.Validation is null || State.EvaluatedStep == State.Step) return;
        try
        {
            Metrics metrics = Evaluator.Evaluate(model, run.Examples("validation", observer, stop.Token)!, run.EvalBatchSize, run.Device, cancellation: stop.Token);
            log.Write(State.Step, metrics.ToLog("eval"));
            observer.Evaluated("validation", State.Step, metrics);
            State.EvaluatedStep = State.Step;
            bool better = State.BestStep < 0 || metrics.Accuracy > State.BestAccuracy || (metrics.Accuracy == State.BestAccuracy && metrics.Loss < State.BestLoss);
            State.SinceBest = better ? 0 : State.SinceBest + 1;
            if (!better) return;
            (State.BestStep, State.BestAccuracy, State.BestLoss) = (State.Step, metrics.Accuracy, metrics.Loss);
            if (!options.LoadBestModelAtEnd) return;
            folder.CheckStillThere();
            AdapterFolder.Write(folder.Best, run.AdapterConfig(State.Step), model.Adapter());
        }
        catch (OperationCanceledException)
        {
            throw Stop(log);  // the validation is done again when the run goes on
        }
    }

    private void Save(MetricsLog log)
    {
        if (savedStep == State.Step && State.LogBytes == log.Length) return;
        folder.CheckStillThere();
        State.LogBytes = log.Length;
        Checkpoint.Write(folder, State, model, optimizer, run.Identity(), run.Device, options.LoadBestModelAtEnd);
        Checkpoint.Prune(folder, options.SaveTotalLimit);
        savedStep = State.Step;
        savedAt = clock.GetTimestamp();
    }

    private StoppedException Stop(MetricsLog log)
    {
        string why = stop.Reason switch { StopReason.Interrupt => "Ctrl-C", StopReason.OutOfTime => "--max-time", _ => "a signal" };
        Save(log);
        return new StoppedException($"stopped by {why} after step {State.Step} of {steps}; go on with: permafrost finetune --resume-from-checkpoint {ShellWord.Quoted(folder.Path)}", stop.Reason);
    }

    // Groups with a rate of their own are scaled relative to a step rate of 1.
    private Optimizer MakeOptimizer()
    {
        ParameterGroup[] groups = [.. model.Trained.GroupBy(p => p.Group).Select(group => new ParameterGroup([.. group.Select(p => (p.Name, p.Parameter.Value))], options.RateOf(group.Key)))];
        return options.Optim == "sgd"
            ? new Sgd(groups, options.Momentum, weightDecay: options.WeightDecay)
            : new Adam(groups, options.AdamBeta1, options.AdamBeta2, options.AdamEpsilon, options.WeightDecay, decoupled: options.Optim == "adamw");
    }

    // A trained tensor that never moves is not connected to the loss, or the optimiser does not know it: either way the run is not what it says.
    private void CheckMoved()
    {
        if (!ShouldHaveMoved && (State.Moves > 0 || State.Step < patience)) return;
        TunedParameter? stuck = model.Trained.FirstOrDefault(p => options.RateOf(p.Group) > 0 && Hash(p) == startHashes[p.Name]);
        if (stuck is not null)
            throw new PermafrostException(
                $"the trained tensor '{stuck.Name}' did not change in {State.Step} updates: nothing the loss reads depends on it, or its learning rate is too small to matter; leave its group out of --policy {options.Policy}");
    }

    private static bool IsZero(Tensor tensor)
    {
        using var scope = torch.NewDisposeScope();
        return tensor.detach().ne(0).sum().Integer() == 0;
    }

    private static string Hash(TunedParameter parameter) => BackboneSource.Sha256([(parameter.Name, parameter.Parameter)]);

    private DivergedException Diverged(string what, double value, double factor) => new(FormattableString.Invariant(
        $"the {what} became {(double.IsNaN(value) ? "NaN" : "infinite")} at step {State.Step + 1} (learning rate {options.LearningRate * factor:G3}); lower --learning-rate, or look for bad values in the data"));
}
