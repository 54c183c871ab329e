using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Training;

namespace Permafrost.Runs;

/// <summary>A run's features on disk, under the hash of all that they follow from; a full disk costs the next run its time, not this one its end.</summary>
internal sealed class RunFeatureCache(Finetuning run) : IFeatureCache
{
    private const int Version = 2;

    private readonly Lazy<string> body = new(run.Model.FrozenSha256);
    private readonly Dictionary<IDataset, string> hashes = new(ReferenceEqualityComparer.Instance);
    private bool told;

    public FeatureTensors? Load(string split, IDataset data, IProgress<TrainingEvent>? progress, CancellationToken cancellation)
    {
        if (FeatureCache.Load(Key(split, data, cancellation)) is not { } found) return null;
        var features = new FeatureTensors(found.Tensors, found.Tokens);
        Tell(split, features, progress);
        return features;
    }

    public void Store(string split, IDataset data, FeatureTensors features, IProgress<TrainingEvent>? progress)
    {
        try
        {
            FeatureCache.Store(Key(split, data, CancellationToken.None), features.Tensors, features.Tokens);
        }
        catch (PermafrostException error)
        {
            progress?.Report(new TrainingNote($"features are kept in memory only: {error.Message}"));
            return;
        }
        Tell(split, features, progress);
    }

    private void Tell(string split, FeatureTensors features, IProgress<TrainingEvent>? progress)
    {
        if (told) return;
        told = true;
        (int files, long total) = FeatureCache.Size;
        progress?.Report(new TrainingNote(
            $"features of the {split} split ({FrozenFeatures.Megabytes(features.Tensors["features"].ByteCount())}) are kept in {FeatureCache.Folder}: {files} file(s) of " +
            $"{FrozenFeatures.Megabytes(total)} there now, at most {FrozenFeatures.Megabytes(FeatureCache.MaxBytes)}; `feature_cache` memory keeps none"));
    }

    // The build of this program stands for its code, the frozen weights for backbone, init and input layer.
    private string Key(string split, IDataset data, CancellationToken cancellation)
    {
        JsonObject environment = EnvironmentInfo.Collect();
        IEnumerable<KeyValuePair<string, string>> taskOptions = run.Options.Data.TaskOptions.OrderBy(pair => pair.Key, StringComparer.Ordinal);
        var what = new JsonObject
        {
            ["features"] = Version,
            ["batch"] = FrozenFeatures.BatchSize,
            ["code"] = new JsonArray(typeof(RunFeatureCache).Module.ModuleVersionId, typeof(Tensor).Module.ModuleVersionId),
            ["native"] = KernelSet.LibraryPath is { } library ? Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(library))) : null,
            ["kernels"] = KernelSet.Name,
            ["device"] = run.Device.ToString(),
            ["frozen_type"] = run.Model.FrozenType.ToString(),
            ["frozen_sha256"] = body.Value,
            ["backbone_sha256"] = run.Weights.Sha256,
            ["init"] = run.Options.Model.Init,
            ["config"] = run.Weights.Config.ToJson(),
            ["input_layer"] = run.Options.Model.InputLayer,
            ["readout"] = run.Model.Readout.ToString(),
            ["task"] = run.Options.Data.Task,
            ["task_version"] = run.Task.Version,
            ["task_options"] = new JsonArray([.. taskOptions.Select(pair => (JsonNode)$"{pair.Key}={pair.Value}")]),
            ["seed"] = run.TaskOptions.Seed,
            ["fractions"] = new JsonArray(run.TaskOptions.ValidationFraction, run.TaskOptions.TestFraction),
            ["output"] = run.Model.Spec.Output.ToString(),
            ["split"] = split,
            ["count"] = data.Count,
            ["data"] = run.Data!.IsGenerated ? null : Sha256(data, cancellation),
        };
        foreach (string fact in new[] { "architecture", "libtorch", "cpu", "cpu_features", "threads" }) what[fact] = environment[fact]?.DeepClone();
        IEnumerable<string> variables = environment["variables"]!.AsObject()
            .Where(pair => !pair.Key.StartsWith("PERMAFROST_", StringComparison.Ordinal) && !pair.Key.StartsWith("HF_", StringComparison.Ordinal))
            .Select(pair => $"{pair.Key}={pair.Value}");
        what["variables"] = new JsonArray([.. variables.Select(text => (JsonNode)text)]);
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(what.ToJsonString())));
    }

    private string Sha256(IDataset data, CancellationToken cancellation)
    {
        if (!hashes.TryGetValue(data, out string? known)) hashes[data] = known = DataHash.Of(data, cancellation);
        return known;
    }
}
