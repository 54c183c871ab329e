using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tuning;

namespace Permafrost.Training;

/// <summary>
/// The hidden states that a run's output layer reads, where they are the same at every step: computed once for each finite split, in batches of their own so
/// that they depend on nothing but data and body, and kept in memory and in the <see cref="FeatureCache"/>.
/// </summary>
internal sealed class FeatureStore(FinetuneRun run) : IDisposable
{
    /// <summary>A split whose features need more bytes is computed at every step.</summary>
    public const long MaxSplitBytes = 2L << 30;

    /// <summary>Examples that are computed together. Part of what features are: other batches, other rounding.</summary>
    public const int BatchSize = 64;

    private const int Version = 2;

    private readonly Dictionary<string, Features> kept = [];
    private readonly Lazy<string> body = new(() => run.Model.FrozenSha256());
    private readonly Dictionary<IExamples, string> hashes = new(ReferenceEqualityComparer.Instance);
    private bool told;

    /// <summary>Whether the run uses features.</summary>
    public bool Active => run.Options.FeatureCache != "none" && run.Model.ReadsConstants;

    /// <summary>Seconds spent on computing, or reading, them.</summary>
    public double Seconds { get; private set; }

    /// <summary>Bytes that a split's features will take; 0 where there are none.</summary>
    public long Bytes(IExamples? examples) => examples is not null && BytesOf(examples) is <= MaxSplitBytes and var bytes ? bytes : 0;

    /// <summary>A split's features; the examples as they are where there are none.</summary>
    public IExamples Of(string split, IExamples examples, ITrainingObserver? observer, CancellationToken cancellation)
    {
        if (kept.TryGetValue(split, out Features? known)) return known;
        long bytes = BytesOf(examples);
        if (bytes is 0 or > MaxSplitBytes)
        {
            if (bytes > 0) observer?.Note($"features of the {split} split would take {Megabytes(bytes)}, more than {Megabytes(MaxSplitBytes)}: they are computed at every step");
            return examples;
        }
        long started = Stopwatch.GetTimestamp();
        string? key = run.Options.FeatureCache == "disk" ? Key(split, examples, cancellation) : null;
        Features features = key is not null && FeatureCache.Load(key) is { } found && Fits(found.Tensors, examples) ? new Features(found.Tensors, found.Tokens) : Compute(split, examples, key, observer, cancellation);
        Seconds += Stopwatch.GetElapsedTime(started).TotalSeconds;
        if (key is not null && !told && File.Exists(Path.Combine(FeatureCache.Folder, key + ".safetensors")))
        {
            (int files, long total) = FeatureCache.Size;
            observer?.Note($"features of the {split} split ({Megabytes(bytes)}) are kept in {FeatureCache.Folder}: {files} file(s) of {Megabytes(total)} there now, at most {Megabytes(FeatureCache.MaxBytes)}; --feature-cache memory keeps none");
            told = true;
        }
        return kept[split] = features;
    }

    public void Dispose()
    {
        foreach (Features features in kept.Values) features.Dispose();
        kept.Clear();
    }

    private long BytesOf(IExamples examples) => Active && examples.Count is { } count ? checked(count * run.Model.Readout.Count * run.Model.Backbone.Width * sizeof(float)) : 0;

    private Features Compute(string split, IExamples examples, string? key, ITrainingObserver? observer, CancellationToken cancellation)
    {
        observer?.Phase($"computing features of the {split} split");
        long count = examples.Count!.Value;
        long tokens = 0;
        var tensors = new Dictionary<string, Tensor>();
        TunedModel model = run.Model;
        bool training = model.Training;
        model.Train(false);
        try
        {
            using var noGrad = torch.no_grad();
            long done = 0;
            foreach (long[] part in DataOrder.Once(examples, BatchSize))
            {
                cancellation.ThrowIfCancellationRequested();
                using var scope = torch.NewDisposeScope();
                Batch batch = examples.Get(part);
                tokens += batch.Tokens;
                Batch there = batch.To(run.Device);
                Put("features", model.Read(there.Inputs, there.Mask).to(torch.CPU), part);
                Put("targets", batch.Targets, part);
                if (batch.Hard is not null) Put("hard", batch.Hard, part);
                observer?.Progress("computing features", (double)(done += part.Length) / count);
            }
            if (key is not null) Keep(key, tensors, tokens, observer);
            return new Features(tensors, tokens);
        }
        catch
        {
            foreach (Tensor tensor in tensors.Values) tensor.Dispose();
            throw;
        }
        finally
        {
            model.Train(training);
        }

        void Put(string name, Tensor rows, long[] part)
        {
            if (!tensors.TryGetValue(name, out Tensor? all)) tensors[name] = all = torch.empty([count, .. rows.shape[1..]], rows.dtype).DetachFromDisposeScope();
            all.index_copy_(0, Tensors.From(part, [part.Length]), rows);
        }
    }

    // A full disk costs the next run its time, not this one its end.
    private static void Keep(string key, Dictionary<string, Tensor> tensors, long tokens, ITrainingObserver? observer)
    {
        try
        {
            FeatureCache.Store(key, tensors, tokens);
        }
        catch (PermafrostException error)
        {
            observer?.Note($"features are kept in memory only: {error.Message}");
        }
    }

    private bool Fits(IReadOnlyDictionary<string, Tensor> tensors, IExamples examples)
    {
        bool fits = tensors.GetValueOrDefault("features") is { dtype: ScalarType.Float32 } features && features.shape.AsSpan().SequenceEqual([examples.Count!.Value, run.Model.Readout.Count, run.Model.Backbone.Width])
            && tensors.GetValueOrDefault("targets") is { dtype: ScalarType.Int64 } targets && targets.shape.AsSpan().SequenceEqual([examples.Count.Value, run.Model.Shape.Targets]);
        if (!fits) foreach (Tensor tensor in tensors.Values) tensor.Dispose();
        return fits;
    }

    // Everything the features follow from; a hash of it is their name. The build of this program stands for its code, the frozen weights for backbone, init and input layer.
    private string Key(string split, IExamples examples, CancellationToken cancellation)
    {
        JsonObject environment = EnvironmentInfo.Collect();
        var what = new JsonObject
        {
            ["features"] = Version,
            ["batch"] = BatchSize,
            ["code"] = new JsonArray(typeof(FeatureStore).Module.ModuleVersionId, typeof(Tensor).Module.ModuleVersionId),
            ["native"] = KernelSet.LibraryPath is { } library ? Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(library))) : null,
            ["kernels"] = KernelSet.Name,
            ["device"] = run.Device.ToString(),
            ["frozen_type"] = run.FrozenType.ToString(),
            ["frozen_sha256"] = body.Value,
            ["backbone_sha256"] = run.BackboneSha256,
            ["init"] = run.Options.Init,
            ["config"] = run.Model.Backbone.Config.ToJson(),
            ["input_layer"] = run.Options.InputLayer,
            ["readout"] = run.Model.Readout.ToString(),
            ["task"] = run.Options.Task,
            ["task_version"] = run.Task.Version,
            ["task_options"] = new JsonArray([.. (run.TaskOptions.Settings ?? new Dictionary<string, string>()).OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => (JsonNode)$"{pair.Key}={pair.Value}")]),
            ["seed"] = run.TaskOptions.Seed,
            ["fractions"] = new JsonArray(run.TaskOptions.ValidationFraction, run.TaskOptions.TestFraction),
            ["classes"] = run.Model.Shape.Classes,
            ["split"] = split,
            ["count"] = examples.Count,
            ["data"] = run.Task.IsGenerated ? null : DataSha256(examples, cancellation),
        };
        foreach (string fact in new[] { "architecture", "libtorch", "cpu", "cpu_features", "threads" }) what[fact] = environment[fact]?.DeepClone();
        what["variables"] = new JsonArray([.. environment["variables"]!.AsObject().Where(pair => !pair.Key.StartsWith("PERMAFROST_", StringComparison.Ordinal) && !pair.Key.StartsWith("HF_", StringComparison.Ordinal)).Select(pair => (JsonNode)$"{pair.Key}={pair.Value}")]);
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(what.ToJsonString())));
    }

    /// <summary>SHA-256 of all examples of a split, as lower-case hex; computed once. Files may change under the same name.</summary>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public string DataSha256(IExamples examples, CancellationToken cancellation)
    {
        if (hashes.TryGetValue(examples, out string? known)) return known;
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (long[] part in DataOrder.Once(examples, BatchSize))
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = torch.NewDisposeScope();
            Batch batch = examples.Get(part);
            hash.AppendData(MemoryMarshal.AsBytes<long>(part));  // taken by length, but other places are other data
            foreach (Tensor? tensor in new[] { batch.Inputs, batch.Targets, batch.Mask, batch.Hard })
            {
                hash.AppendData(Encoding.UTF8.GetBytes($"{tensor?.Describe()}\0"));
                tensor?.ReadBytes(bytes => hash.AppendData(bytes));
            }
        }
        return hashes[examples] = Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private static string Megabytes(long bytes) => bytes >= 1L << 30 ? FormattableString.Invariant($"{bytes / (double)(1L << 30):F1} GiB") : FormattableString.Invariant($"{bytes / (double)(1L << 20):F1} MiB");

    // A split whose inputs are what the body made of it.
    private sealed class Features(IReadOnlyDictionary<string, Tensor> tensors, long tokens) : IExamples, IDisposable
    {
        private readonly Tensor features = tensors["features"];
        private readonly Tensor targets = tensors["targets"];
        private readonly Tensor? hard = tensors.GetValueOrDefault("hard");

        public long? Count => features.size(0);

        public Batch Get(ReadOnlySpan<long> indices)
        {
            using var scope = torch.NewDisposeScope();
            Tensor rows = Tensors.From(indices, [indices.Length]);
            return new Batch(scope.MoveToOuter(features.index_select(0, rows)), scope.MoveToOuter(targets.index_select(0, rows)), Hard: hard is null ? null : scope.MoveToOuter(hard.index_select(0, rows)))
            {
                ReadFrom = (long)Math.Round((double)tokens * indices.Length / features.size(0)),
            };
        }

        public void Dispose()
        {
            foreach (Tensor tensor in tensors.Values) tensor.Dispose();
        }
    }
}
