using System.Diagnostics;
using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Kernels;

namespace Permafrost.Training;

/// <summary>What was computed from a split: tensors by name, and how many tokens they stand for.</summary>
/// <param name="Tensors"><c>features</c> (N, K, C), <c>targets</c>, and a subset each.</param>
/// <param name="Tokens">Tokens of the split.</param>
public sealed record FeatureTensors(IReadOnlyDictionary<string, Tensor> Tensors, long Tokens) : IDisposable
{
    /// <summary>Frees the tensors.</summary>
    public void Dispose()
    {
        foreach (Tensor tensor in Tensors.Values) tensor.Dispose();
    }
}

/// <summary>Keeps features beyond the process.</summary>
public interface IFeatureCache
{
    /// <summary>What was kept of a split; null when there is nothing, or nothing that can be trusted.</summary>
    FeatureTensors? Load(string split, IDataset data, IProgress<TrainingEvent>? progress, CancellationToken cancellation);

    /// <summary>Keeps what was computed from a split.</summary>
    void Store(string split, IDataset data, FeatureTensors features, IProgress<TrainingEvent>? progress);
}

/// <summary>
/// The hidden states that a model's output layer reads, where they are the same at every step (<see cref="AdaptedModel.ReadsConstants"/>): computed once for each finite split, in
/// batches of their own so that they depend on nothing but data and body, and kept in memory.
/// </summary>
/// <param name="model">The model.</param>
/// <param name="device">The model's.</param>
/// <param name="enabled">Whether features are wanted at all.</param>
/// <param name="cache">Keeps them beyond the process; null for nowhere.</param>
public sealed class FrozenFeatures(AdaptedModel model, Device device, bool enabled = true, IFeatureCache? cache = null) : IDisposable
{
    /// <summary>A split whose features need more bytes is computed at every step.</summary>
    public const long MaxSplitBytes = 2L << 30;

    /// <summary>Examples that are computed together. Part of what features are: other batches, other rounding.</summary>
    public const int BatchSize = 64;

    private const string SubsetPrefix = "subset.";

    private readonly Dictionary<IDataset, FeatureDataset> kept = new(ReferenceEqualityComparer.Instance);

    /// <summary>Whether there are features.</summary>
    public bool Active => enabled && model.ReadsConstants;

    /// <summary>Seconds spent on computing, or reading, them.</summary>
    public double Seconds { get; private set; }

    /// <summary>A split's features; the examples as they are where there are none.</summary>
    /// <param name="split">What messages call it.</param>
    /// <param name="data">The split.</param>
    /// <param name="progress">Told of progress; null for nobody.</param>
    /// <param name="cancellation">Ends the computing.</param>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public IDataset Of(string split, IDataset data, IProgress<TrainingEvent>? progress = null, CancellationToken cancellation = default)
    {
        if (!Active || data is FeatureDataset || data.Count is not { } count) return data;
        if (kept.TryGetValue(data, out FeatureDataset? known)) return known;
        long bytes = checked(count * model.Readout.Count * model.Backbone.Traits.Width * sizeof(float));
        if (bytes > MaxSplitBytes)
        {
            progress?.Report(new TrainingNote(
                $"features of the {split} split would take {Megabytes(bytes)}, more than {Megabytes(MaxSplitBytes)}: they are computed at every step"));
            return data;
        }
        long started = Stopwatch.GetTimestamp();
        FeatureTensors? features = cache?.Load(split, data, progress, cancellation);
        if (features is not null && !Fits(features.Tensors, count))
        {
            features.Dispose();
            features = null;
        }
        if (features is null)
        {
            features = Compute(split, data, count, progress, cancellation);
            cache?.Store(split, data, features, progress);
        }
        Seconds += Stopwatch.GetElapsedTime(started).TotalSeconds;
        return kept[data] = new FeatureDataset(features);
    }

    /// <summary>Frees the features.</summary>
    public void Dispose()
    {
        foreach (FeatureDataset features in kept.Values) features.Dispose();
        kept.Clear();
    }

    /// <summary>Bytes for people.</summary>
    internal static string Megabytes(long bytes) =>
        bytes >= 1L << 30 ? FormattableString.Invariant($"{bytes / (double)(1L << 30):F1} GiB") : FormattableString.Invariant($"{bytes / (double)(1L << 20):F1} MiB");

    private FeatureTensors Compute(string split, IDataset data, long count, IProgress<TrainingEvent>? progress, CancellationToken cancellation)
    {
        progress?.Report(new PhaseStarted($"computing features of the {split} split"));
        (long tokens, long done) = (0, 0);
        var tensors = new Dictionary<string, Tensor>();
        bool training = model.training;
        model.eval();
        try
        {
            using var noGrad = torch.no_grad();
            foreach (long[] part in Sampler.Once(data, BatchSize))
            {
                cancellation.ThrowIfCancellationRequested();
                using var scope = torch.NewDisposeScope();
                Batch batch = data.Get(part);
                tokens += model.CountTokens(batch);
                Batch there = batch.To(device);
                Put(tensors, count, "features", model.Read(there.Inputs, there.Mask).cpu(), part);
                Put(tensors, count, "targets", batch.Targets, part);
                foreach ((string name, Tensor subset) in batch.Subsets) Put(tensors, count, SubsetPrefix + name, subset, part);
                progress?.Report(new PhaseProgress("computing features", (double)(done += part.Length) / count));
            }
            return new FeatureTensors(tensors, tokens);
        }
        catch
        {
            foreach (Tensor tensor in tensors.Values) tensor.Dispose();
            throw;
        }
        finally
        {
            model.train(training);
        }
    }

    private static void Put(Dictionary<string, Tensor> tensors, long count, string name, Tensor rows, long[] part)
    {
        if (!tensors.TryGetValue(name, out Tensor? all)) tensors[name] = all = torch.empty([count, .. rows.shape[1..]], rows.dtype).DetachFromDisposeScope();
        all.index_copy_(0, Tensors.From(part, [part.Length]), rows);
    }

    private bool Fits(IReadOnlyDictionary<string, Tensor> tensors, long count) =>
        tensors.GetValueOrDefault("features") is { dtype: ScalarType.Float32 } features && features.HasShape(count, model.Readout.Count, model.Backbone.Traits.Width)
        && tensors.GetValueOrDefault("targets") is { } targets && targets.HasShape(count, model.Spec.Output.Answers);

    // A split whose inputs are what the body made of it.
    private sealed class FeatureDataset(FeatureTensors features) : IDataset, IDisposable
    {
        public long? Count => features.Tensors["features"].size(0);

        public Batch Get(ReadOnlySpan<long> indices)
        {
            using var scope = torch.NewDisposeScope();
            Tensor rows = Tensors.From(indices, [indices.Length]);
            Tensor Take(Tensor all) => scope.MoveToOuter(all.index_select(0, rows));
            return new Batch(Take(features.Tensors["features"]), Take(features.Tensors["targets"]))
            {
                Subsets = features.Tensors.Where(pair => pair.Key.StartsWith(SubsetPrefix, StringComparison.Ordinal))
                    .ToDictionary(pair => pair.Key[SubsetPrefix.Length..], pair => Take(pair.Value)),
                ReadFrom = (long)Math.Round((double)features.Tokens * indices.Length / features.Tensors["features"].size(0)),
            };
        }

        public void Dispose() => features.Dispose();
    }
}
