using Permafrost.Tuning;

namespace Permafrost.Training;

/// <summary>What a training will need at its peak, told before its first step: weights and data as they lie in memory now, and what the steps add.</summary>
/// <param name="Loaded">Bytes resident after loading: program, libtorch, weights, data.</param>
/// <param name="Gradients">Bytes of the trained parameters' gradients.</param>
/// <param name="Optimizer">Bytes of the optimiser's state.</param>
/// <param name="Activations">Bytes that one micro-batch keeps for its gradient, or that one validation batch takes, whichever is more; and the features that are computed once.</param>
/// <param name="Peak">The most that was resident while loading.</param>
public sealed record MemoryEstimate(long Loaded, long Gradients, long Optimizer, long Activations, long Peak)
{
    // What the program itself grows by once it trains: compiled methods, allocator slack, thread stacks.
    private const long Growth = 40L << 20;

    // And more, as measured, where the products are libtorch's own: their buffers, and more slack.
    private const long PlainProducts = 32L << 20;

    /// <summary>The predicted peak in bytes.</summary>
    public long Total => Math.Max(Peak, Loaded + Gradients + Optimizer + Activations + Growth);

    /// <summary>Estimates for a run as it is loaded, on the CPU.</summary>
    public static MemoryEstimate Of(FinetuneRun run)
    {
        RunOptions options = run.Options;
        TunedModel model = run.Model;
        long trained = 4 * model.Counts.Trained;
        long state = options.Optim == "sgd" ? options.Momentum > 0 ? trained : 0 : 2 * trained;
        long training = TrainingBytes(run, run.MicroBatchSize);
        long validation = ScoringBytes(run, ScoresFeatures(run) ? FeatureStore.BatchSize : run.EvalBatchSize);
        long features = run.FeatureBytes(run.Data?.Train) + run.FeatureBytes(run.Data?.Validation) + run.FeatureBytes(run.Data?.Test);
        if (run.FeatureBytes(run.Data?.Train) > 0) training = validation = model.Backbone.ForwardBytes(Math.Min(FeatureStore.BatchSize, run.Data!.Train.Count!.Value), model.Shape.SequenceLength);
        long products = run.FrozenType == ScalarType.Float32 ? PlainProducts : 0;
        return new MemoryEstimate(EnvironmentInfo.ResidentMemoryBytes, trained, state, Math.Max(training, validation) + features + products, EnvironmentInfo.PeakMemoryBytes);
    }

    /// <summary>
    /// How many examples to take at a time so that the prediction stays below nine tenths of what is free: whole batches, or halved until they fit.
    /// A training batch's parts' gradients are added up, each weighted by its answers.
    /// </summary>
    /// <param name="run">The run as it is loaded.</param>
    /// <param name="available">Bytes that are still free.</param>
    /// <returns>For training and for scoring, each 1 to the batch's size; 1 also where not even that fits.</returns>
    public static (int Train, int Eval) Fit(FinetuneRun run, long available)
    {
        MemoryEstimate estimate = Of(run);
        double room = 0.9 * available - estimate.Gradients - estimate.Optimizer;
        int Halved(int batch, Func<int, long> bytes)
        {
            while (batch > 1 && bytes(batch) > Math.Max(0, room)) batch = (batch + 1) / 2;
            return batch;
        }
        // Steps on features compute the output layer alone.
        int train = run.FeatureBytes(run.Data?.Train) > 0 ? run.Options.PerDeviceTrainBatchSize : Halved(run.Options.PerDeviceTrainBatchSize, part => TrainingBytes(run, part));
        int eval = run.Options.PerDeviceEvalBatchSize;
        return (train, ScoresFeatures(run) ? eval : Halved(eval, part => ScoringBytes(run, part)));
    }

    /// <summary>How many examples to score at a time with a finished run's model: those wanted, or halved until a batch takes less than nine tenths of what is free.</summary>
    /// <param name="run">The run as it is loaded.</param>
    /// <param name="wanted">At most so many.</param>
    /// <param name="available">Bytes that are still free.</param>
    public static int FitScoring(FinetuneRun run, int wanted, long available)
    {
        if (run.Device.type != DeviceType.CPU || ScoresFeatures(run)) return wanted;
        while (wanted > 1 && run.Model.Backbone.ForwardBytes(wanted, run.Model.Shape.SequenceLength) > 0.9 * available) wanted = (wanted + 1) / 2;
        return wanted;
    }

    // Whether what is scored was computed once before.
    private static bool ScoresFeatures(FinetuneRun run) =>
        new[] { run.Data?.Validation, run.Data?.Test }.Where(split => split is not null).Select(run.FeatureBytes).DefaultIfEmpty(0).Min() > 0;

    private static long ScoringBytes(FinetuneRun run, long batch)
    {
        long count = Math.Max(run.Data?.Validation?.Count ?? 0, run.Data?.Test?.Count ?? 0);
        return run.Model.Backbone.ForwardBytes(Math.Min(batch, count), run.Model.Shape.SequenceLength);
    }

    private static long TrainingBytes(FinetuneRun run, long batch)
    {
        TunedModel model = run.Model;
        // Gradients go down to the lowest trained parameter; what is outside the layers lies below them, but for the output layer and the last norm.
        int first = model.Trained.Where(p => p.Group != Models.GroupName.Output).Select(p => p.Layer >= 0 ? p.Layer : p.Group == Models.GroupName.Ln ? model.Backbone.Layers : 0).DefaultIfEmpty(model.Backbone.Layers).Min();
        long tokens = model.Shape.SequenceLength, read = model.Readout.Kind == ReadoutKind.Mean ? tokens : model.Readout.Count;
        return model.Backbone.TrainingBytes(Math.Min(batch, run.Data?.Train.Count ?? batch), tokens, first, read);
    }
}
