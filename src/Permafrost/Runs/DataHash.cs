using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Training;

namespace Permafrost.Runs;

/// <summary>What data is known by.</summary>
internal static class DataHash
{
    // Of generated data, so many at the beginning and the end.
    private const int Looked = 16;
    private const int Endless = 64;

    /// <summary>
    /// SHA-256 of a task's data, as lower-case hex. Of files every example counts, since they can change under the same name; generated ones follow from the task's version, and
    /// the first and last are enough to notice another.
    /// </summary>
    public static string Of(TaskData data)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes($"{data.Train.Count}|{data.Validation?.Count}|{data.Test?.Count}"));
        if (!data.IsGenerated)
        {
            foreach (IDataset? split in new[] { data.TrainSource ?? data.Train, data.Validation, data.Test })
                if (split is not null) hash.AppendData(Encoding.UTF8.GetBytes(Of(split, CancellationToken.None)));
            return Convert.ToHexStringLower(hash.GetHashAndReset());
        }
        using var scope = torch.NewDisposeScope();
        long count = data.Train.Count ?? Endless;
        foreach (long start in new[] { 0, Math.Max(0, count - Looked) })
        {
            Batch batch = data.Train.Get([.. Enumerable.Range(0, (int)Math.Min(Looked, count)).Select(i => start + i)]);
            batch.Inputs.ReadBytes(bytes => hash.AppendData(bytes));
            batch.Targets.ReadBytes(bytes => hash.AppendData(bytes));
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>SHA-256 of all examples of a split, as lower-case hex.</summary>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static string Of(IDataset data, CancellationToken cancellation)
    {
        if (data is IKnownContent known) return known.ContentSha256;
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (long[] part in Sampler.Once(data, FrozenFeatures.BatchSize))
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = torch.NewDisposeScope();
            Batch batch = data.Get(part);
            hash.AppendData(MemoryMarshal.AsBytes<long>(part));  // taken by length, but other places are other data
            IEnumerable<Tensor?> subsets = batch.Subsets.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => (Tensor?)pair.Value);
            foreach (Tensor? tensor in new[] { batch.Inputs, batch.Targets, batch.Mask }.Concat(subsets.DefaultIfEmpty(null)))
            {
                hash.AppendData(Encoding.UTF8.GetBytes($"{tensor?.Describe()}\0"));
                tensor?.ReadBytes(bytes => hash.AppendData(bytes));
            }
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
