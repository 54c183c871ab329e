using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Tasks.Metrics;
using Permafrost.Training.Optimizers;
using Permafrost.Training.Options;

namespace Permafrost.Training;

/// <summary>What a training is fed.</summary>
/// <param name="Train">For training.</param>
/// <param name="Validation">For every choice made on the way; null when there is none.</param>
public sealed record TrainingData(IDataset Train, IDataset? Validation = null);

/// <summary>What a training came to. The model holds the weights of <see cref="ScoredStep"/>.</summary>
/// <param name="State">Where it ended.</param>
/// <param name="ScoredStep">The step whose weights the model holds: the best validation's, or the last.</param>
/// <param name="FeatureSeconds">Seconds spent on hidden states that are computed once; null where none are.</param>
public sealed record TrainingOutcome(TrainerState State, long ScoredStep, double? FeatureSeconds = null);

/// <summary>A training stopped because <see cref="CheckpointOptions.MaxTime"/> has passed, with a checkpoint.</summary>
/// <param name="message">Where it stopped.</param>
public sealed class OutOfTimeException(string message) : OperationCanceledException(message);

/// <summary>
/// Trains an adapted model: update, report, validate, save, in this order after every step. It computes, and knows no folder and no console.
/// Everything that it carries from step to step is in weights, optimiser and <see cref="TrainerState"/>, so that a checkpoint holds all of it.
/// </summary>
public sealed class Trainer : IDisposable
{
    // Adam moves a weight by about the rate each step; below this sum a weight near 1 may not move at all in float32.
    private const double Noticeable = 3e-5;

    // Behind trained weights that start at zero (an output layer, a residual projection) gradients are zero until those have moved, one after the other.
    private const long BehindZeros = 10;

    private readonly AdaptedModel model;
    private readonly TrainingData data;
    private readonly TrainerOptions options;
    private readonly ICheckpointStore checkpoints;
    private readonly IProgress<TrainingEvent>? progress;
    private readonly CancellationToken cancellation;
    private readonly TimeProvider clock;
    private readonly Optimizer optimizer;
    private readonly Sampler sampler;
    private readonly Device device;
    private readonly Dictionary<string, string> startHashes;
    private readonly TrainerState state;
    private readonly FrozenFeatures features;
    private readonly long steps;
    private readonly long warmup;
    private readonly long movesUntilNoticed;
    private readonly int microBatch;
    private long savedAt;
    private bool gradientsChecked;

    private Trainer(
        AdaptedModel model, TrainingData data, TrainerOptions options, ICheckpointStore checkpoints,
        IProgress<TrainingEvent>? progress, TimeProvider clock, CancellationToken cancellation)
    {
        this.model = model;
        this.options = options;
        this.checkpoints = checkpoints;
        this.progress = progress;
        this.clock = clock;
        this.cancellation = cancellation;
        this.data = data;
        device = options.Device ?? torch.CPU;
        savedAt = clock.GetTimestamp();
        ScheduleOptions schedule = options.Schedule;
        steps = schedule.Steps(data.Train.Count);
        warmup = schedule.WarmupSteps > 0 ? schedule.WarmupSteps : (long)Math.Ceiling((decimal)schedule.WarmupRatio * steps);
        sampler = CreateSampler(options, data.Train);
        startHashes = model.Learning.ToDictionary(p => p.Name, Hash);
        movesUntilNoticed = model.Learning.Any(p => p.Parameter.Shape.Length > 1 && IsZero(p.Parameter.Value)) ? BehindZeros : 1;
        microBatch = options.MicroBatchSize ?? FitBatch(model, data.Train, options, device);
        (model.DropoutKeys.Seed, model.DropoutKeys.CountsForwards) = (options.Seed, false);
        features = options.Features ?? new FrozenFeatures(model, device);
        optimizer = options.CreateOptimizer(model);
        try
        {
            state = checkpoints.Restore(model, optimizer) ?? new TrainerState();
            if (options.Optimizer.ClassWeights == "balanced") model.Head.ClassWeights = ClassWeights.Balanced(model.Spec.Output, data.Train, device, cancellation);
        }
        catch
        {
            Dispose();
            throw;
        }
        model.DropoutKeys.Step = state.Step;
    }

    /// <summary>Trains a model to the end, or until it is cancelled.</summary>
    /// <param name="model">The model; afterwards it holds the best validation's weights, or the last ones where there is no validation or those were asked for.</param>
    /// <param name="data">What it is fed.</param>
    /// <param name="options">How; null for the defaults.</param>
    /// <param name="checkpoints">Keeps what a training can go on from; null for nowhere.</param>
    /// <param name="progress">Told of what happens, from the thread that trains; null for nobody.</param>
    /// <param name="clock">Tells how long things take; null for the system's.</param>
    /// <param name="cancellation">Ends it after the present step, with a checkpoint.</param>
    /// <exception cref="OperationCanceledException">It was cancelled, or its time has passed (<see cref="OutOfTimeException"/>), and has saved a checkpoint.</exception>
    /// <exception cref="DivergedException">The loss or the gradients are not finite.</exception>
    /// <exception cref="UsageException">An option is out of range, or does not fit model or data.</exception>
    /// <exception cref="PermafrostException">A trained parameter gets no gradient or does not move.</exception>
    /// <exception cref="InvalidOperationException">Another thread is training the model.</exception>
    /// <exception cref="ObjectDisposedException">The model was disposed of.</exception>
    public static TrainingOutcome Fit(
        AdaptedModel model, TrainingData data, TrainerOptions? options = null, ICheckpointStore? checkpoints = null,
        IProgress<TrainingEvent>? progress = null, TimeProvider? clock = null, CancellationToken cancellation = default)
    {
        options ??= new TrainerOptions();
        options.Validate(model);
        CheckEarlyStopping(options, data.Validation is not null);
        if (data.Train.Count == 0) throw new PermafrostException("there is no example to train on");
        using IDisposable turn = model.BeginTraining();
        using MemoryCheckpoints? own = checkpoints is null ? new MemoryCheckpoints() : null;
        using var trainer = new Trainer(model, data, options, checkpoints ?? own!, progress, clock ?? TimeProvider.System, cancellation);
        return trainer.Run();
    }

    /// <summary>How many examples of a training batch are computed at a time: all, or parts where memory is short for them beside gradients and optimiser state.</summary>
    public static int FitBatch(AdaptedModel model, IDataset train, TrainerOptions options, Device device) => FitBatch(model, train, options, device, ProcessMemory.Available);

    internal static int FitBatch(AdaptedModel model, IDataset train, TrainerOptions options, Device device, long available)
    {
        int batch = options.Schedule.PerDeviceTrainBatchSize;
        if (!device.IsCpu() || batch == 1 || (options.Features?.Active ?? model.ReadsConstants)) return batch;
        return available == long.MaxValue ? batch : MemoryTrial.Measure(model, train, device, options.OptimizerSlots).FitTraining(batch, available);
    }

    /// <summary>Refuses to wait for better validations where there are none.</summary>
    /// <exception cref="UsageException">Early stopping was asked for, without validations.</exception>
    public static void CheckEarlyStopping(TrainerOptions options, bool hasValidation)
    {
        int patience = options.Evaluation.EarlyStoppingPatience;
        if (patience > 0 && options.Evaluation.EvalSteps == 0)
            throw new UsageException($"`early_stopping_patience` {patience} counts validations on the way, and `eval_steps` 0 has none; give `eval_steps`");
        if (patience > 0 && !hasValidation)
            throw new UsageException($"`early_stopping_patience` {patience} watches the validation split, and there is none here; give `validation_fraction`, or leave it out");
        if (options.Evaluation.StopAtScore is { } score && !hasValidation)
            throw new UsageException($"`stop_at_score` {score} is a score on the validation split, and there is none here; give `validation_fraction`, or leave it out");
    }

    /// <summary>Which examples each step sees.</summary>
    /// <exception cref="UsageException">They are to be grouped by length, and have none or all the same.</exception>
    public static Sampler CreateSampler(TrainerOptions options, IDataset train)
    {
        ScheduleOptions schedule = options.Schedule;
        if (!schedule.GroupByLength) return new Sampler(train.Count, schedule.GlobalBatchSize, schedule.Shuffle, options.Seed);
        if (train.Count is null) throw new UsageException("`group_by_length`: the task generates examples without end, which cannot be sorted; leave it out");
        IReadOnlyList<int>? lengths = train.Lengths;
        if (lengths is null || !lengths.Distinct().Skip(1).Any()) throw new UsageException("`group_by_length`: the training examples all have the same length; leave it out");
        return new Sampler(train.Count, schedule.GlobalBatchSize, schedule.Shuffle, options.Seed, lengths);
    }

    /// <summary>Frees optimiser and features.</summary>
    public void Dispose()
    {
        model.Head.ClassWeights?.Dispose();
        model.Head.ClassWeights = null;
        // A loop of one's own that follows counts its forward passes again.
        model.DropoutKeys.CountsForwards = true;
        optimizer.Dispose();
        if (options.Features is null) features.Dispose();
    }

    private TrainingOutcome Run()
    {
        if (state.Step > steps)
            throw new UsageException($"the checkpoint has done {state.Step} steps, more than `max_steps` or `num_train_epochs` ask for ({steps}); ask for at least as many");
        progress?.Report(new TrainingStarted(state.Step, steps));
        string frozen = model.FrozenSha256();
        model.train();
        try
        {
            Train();
        }
        finally
        {
            model.eval();
        }
        if (model.FrozenSha256() != frozen) throw new PermafrostException("frozen weights changed during training; this is a defect of permafrost: please report it");
        bool best = options.Evaluation.LoadBestModelAtEnd && state.BestStep >= 0 && state.BestStep < state.Step;
        if (best) checkpoints.RestoreBest(model);
        return new TrainingOutcome(state, best ? state.BestStep : state.Step, features.Active ? features.Seconds : null);
    }

    private void Train()
    {
        long began = clock.GetTimestamp();
        IDataset train = Features("train", data.Train);
        ValidateIfDue();  // a stop may have come between a step and its validation
        (double reportedSeconds, long reportedTokens, double waited) = (state.Seconds, state.Tokens, 0);
        while (state.Step < steps && !StoppedEarly)
        {
            if (cancellation.IsCancellationRequested) throw Stop();
            if (clock.GetElapsedTime(began) > options.Checkpoints.MaxDuration) throw Stop(timedOut: true);
            long started = clock.GetTimestamp();
            double factor = LearningRateSchedule.Factor(options.Schedule.LrSchedulerType, state.Step, warmup, steps);
            waited += Step(train, factor);
            state.Seconds += clock.GetElapsedTime(started).TotalSeconds;
            bool logged = state.Step % options.Checkpoints.LoggingSteps == 0 || state.Step == steps;
            if (logged) Report();
            ValidateIfDue();
            if (!logged && StoppedEarly) Report();

            void Report()
            {
                double speed = (state.Tokens - reportedTokens) / Math.Max(1e-9, state.Seconds - reportedSeconds);
                ReportSteps(options.Optimizer.LearningRate * factor, speed, waited);
                (reportedSeconds, reportedTokens, waited) = (state.Seconds, state.Tokens, 0);
            }
            CheckpointOptions due = options.Checkpoints;
            bool saves = (due.SaveSteps > 0 && state.Step % due.SaveSteps == 0) || (due.SaveMinutes > 0 && clock.GetElapsedTime(savedAt).TotalMinutes >= due.SaveMinutes);
            if (saves && state.Step < steps) Save();
        }
        // A training that went on between a step and its validation, and stops by that one, has losses that no step reports any more.
        double last = LearningRateSchedule.Factor(options.Schedule.LrSchedulerType, Math.Max(0, state.Step - 1), warmup, steps);
        if (state.Pending > 0) ReportSteps(options.Optimizer.LearningRate * last, state.Tokens / Math.Max(1e-9, state.Seconds), waited);
        Save();
        CheckMoved();
    }

    private bool StoppedEarly => Ends(options.Evaluation, state, model.Spec.Metrics[0]);

    /// <summary>Whether a training ends before its last step, for want of better validations or because one was good enough.</summary>
    internal static bool Ends(EvaluationOptions evaluation, TrainerState state, MetricInfo metric) =>
        (evaluation.EarlyStoppingPatience > 0 && state.SinceBest >= evaluation.EarlyStoppingPatience)
        || (evaluation.StopAtScore is { } enough && state.BestStep >= 0 && !metric.IsBetter(enough, state.BestMetric));

    // Means over the steps since the last report that had answers; a step without any has no loss.
    private void ReportSteps(double rate, double speed, double waited)
    {
        (double loss, double norm) = state.Pending == 0 ? (double.NaN, double.NaN) : (state.LossSum / state.Pending, state.NormSum / state.Pending);
        progress?.Report(new StepReport(state.Step, steps, loss, norm, rate, speed, waited));
        (state.LossSum, state.NormSum, state.Pending) = (0, 0, 0);
    }

    // One update; returns the seconds spent waiting for data.
    private double Step(IDataset train, double factor)
    {
        using var scope = torch.NewDisposeScope();
        long started = clock.GetTimestamp();
        var batches = new List<Batch>();
        foreach (long[] batch in sampler.Step(state.Step).Chunk(options.Schedule.PerDeviceTrainBatchSize))
            foreach (long[] part in batch.Chunk(microBatch)) batches.Add(train.Get(part).To(device));
        double waited = clock.GetElapsedTime(started).TotalSeconds;
        StepResult result = TrainStep.Run(model, optimizer, batches, factor, options.Optimizer.MaxGradNorm, checkGradients: !gradientsChecked);
        if (!double.IsFinite(result.Loss)) throw Diverged("loss", result.Loss, factor);
        if (!double.IsFinite(result.GradientNorm)) throw Diverged("gradient norm", result.GradientNorm, factor);
        state.Step++;
        state.LossSum += result.Loss;
        state.NormSum += result.GradientNorm;
        if (result.Answers > 0)
        {
            state.Pending++;
            gradientsChecked = true;
        }
        state.Tokens += batches.Sum(model.CountTokens);
        if (result.GradientNorm == 0) return waited;  // no answer counted, or none depends on anything yet
        state.StepsWithGradient++;
        state.RateSum += factor * model.Learning.Max(parameter => options.Optimizer.RateOf(parameter.Group));
        return waited;
    }

    private void ValidateIfDue()
    {
        int every = options.Evaluation.EvalSteps;
        bool due = (every > 0 && state.Step > 0 && state.Step % every == 0) || state.Step == steps;
        if (!due || data.Validation is null || state.EvaluatedStep == state.Step) return;
        Scores scores;
        try
        {
            scores = Evaluator.Evaluate(model, Features("validation", data.Validation), options.Evaluation.PerDeviceEvalBatchSize, device, cancellation: cancellation);
        }
        catch (OperationCanceledException)
        {
            throw Stop();  // the validation is done again when the training goes on
        }
        progress?.Report(new SplitScored("validation", state.Step, scores));
        state.EvaluatedStep = state.Step;
        MetricInfo metric = model.Spec.Metrics[0];
        double value = scores[metric.Name];
        bool better = state.BestStep < 0 || metric.IsBetter(value, state.BestMetric) || (value == state.BestMetric && scores.Loss < state.BestLoss);
        state.SinceBest = better ? 0 : state.SinceBest + 1;
        if (!better) return;
        (state.BestStep, state.BestMetric, state.BestLoss) = (state.Step, value, scores.Loss);
        if (options.Evaluation.LoadBestModelAtEnd) checkpoints.SaveBest(state, model);
    }

    private IDataset Features(string split, IDataset examples)
    {
        try
        {
            return features.Of(split, examples, progress, cancellation);
        }
        catch (OperationCanceledException)
        {
            throw Stop();
        }
    }

    private void Save()
    {
        checkpoints.Save(state, model, optimizer);
        savedAt = clock.GetTimestamp();
    }

    private OperationCanceledException Stop(bool timedOut = false)
    {
        Save();
        string message = $"stopped after step {state.Step} of {steps}";
        return timedOut ? new OutOfTimeException(message) : new OperationCanceledException(message, cancellation);
    }

    // A trained tensor that never moved was not trained, whatever the reason: the result would not be what it says.
    private void CheckMoved()
    {
        bool shouldHave = state.StepsWithGradient >= movesUntilNoticed && state.RateSum >= Noticeable;
        if (!shouldHave && (state.StepsWithGradient > 0 || state.Step < movesUntilNoticed)) return;
        AdaptedParameter? stuck = model.Learning.FirstOrDefault(p => options.Optimizer.RateOf(p.Group) > 0 && Hash(p) == startHashes[p.Name]);
        if (stuck is null) return;
        throw new PermafrostException(
            $"the trained tensor '{stuck.Name}' did not change in {state.Step} updates: nothing the loss reads depends on it, or its learning rate is too small to matter; " +
            $"leave its group out of `policy` {model.Policy}");
    }

    private static bool IsZero(Tensor tensor)
    {
        using var scope = torch.NewDisposeScope();
        return tensor.detach().ne(0.Hold()).sum().Integer() == 0;
    }

    private static string Hash(AdaptedParameter parameter) => WeightHash.Of([(parameter.Name, parameter.Parameter)]);

    private DivergedException Diverged(string what, double value, double factor)
    {
        string became = double.IsNaN(value) ? "NaN" : "infinite";
        return new DivergedException(
            FormattableString.Invariant($"the {what} became {became} at step {state.Step + 1} (learning rate {options.Optimizer.LearningRate * factor:G3}); ") +
            "lower `learning_rate`, or look for bad values in the data");
    }
}
