using Microsoft.ML.Transforms.Text;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;

namespace Permafrost.Baselines;

/// <summary>
/// A linear model of k-mers: how often an id, a pair and (where that scores better) three neighbours occur, each sequence's counts scaled to length 1; trained as
/// <see cref="NGramBaseline"/> is. For sequences of ids, such as proteins, whose positions tell less than what stands side by side.
/// </summary>
public sealed class KMerBaseline : IStrongBaseline
{
    private const int MostTrain = 20_000;
    private const int MostAsked = 60_000;
    private const int MostKMers = 200_000;
    private const int BatchSize = 256;

    // With more classes than this one setting takes as long as others do with all.
    private const int ManyClasses = 100;

    /// <inheritdoc/>
    public string Name => "kmer-linear";

    /// <inheritdoc/>
    public bool AppliesTo(TaskSpec spec) => spec is { Input: IdInput, Output: ClassOutput { Count: 1 } } && spec.Metrics[0].Over is null;

    /// <inheritdoc/>
    public BaselineScore? Score(TaskData data, long seed, CancellationToken cancellation)
    {
        if (data.Spec.Output is not ClassOutput { Count: 1 } output) return null;
        if (Of(data.Train, MostTrain, cancellation) is not { } train || train.Targets.Distinct().Count() < 2) return null;
        IEnumerable<Candidate<string>> candidates = new[] { 3, 2 }.SelectMany(k => NGramBaseline.Models(train, output.Classes, $"k-mers 1-{k}", Features(k), seed));
        return Candidates.Choose(
            Name, data.Spec, [.. output.Classes > ManyClasses ? candidates.Take(1) : candidates],
            Of(data.Validation, MostAsked, cancellation), Of(data.Test, MostAsked, cancellation), cancellation);
    }

    private static TextFeaturizingEstimator.Options Features(int k) => new()
    {
        KeepNumbers = true,
        // Without the weight by rareness: what every sequence has tells by how often.
        WordFeatureExtractor = new WordBagEstimator.Options
        {
            NgramLength = k,
            UseAllLengths = true,
            Weighting = NgramExtractingEstimator.WeightingCriteria.Tf,
            MaximumNgramsCount = [.. Enumerable.Repeat(MostKMers, k)],
        },
        CharFeatureExtractor = null,
        Norm = TextFeaturizingEstimator.NormFunction.L2,
    };

    // Ids as words of a text.
    private static Answered<string>? Of(IDataset? split, int most, CancellationToken cancellation)
    {
        if (split is null) return null;
        (var examples, var targets) = (new List<string>(), new List<float>());
        long count = split.Count ?? most;
        IEnumerable<long> order = count <= most ? Enumerable.Range(0, (int)count).Select(i => (long)i) : new CounterRandom("kmer-linear", 0, 0).Permutation(count).Take(most);
        foreach (long[] indices in order.Chunk(BatchSize))
        {
            cancellation.ThrowIfCancellationRequested();
            using DisposeScope scope = torch.NewDisposeScope();
            Batch batch = split.Get(indices);
            int T = (int)batch.Inputs.size(1);
            (long[] ids, long[]? mask, long[] answers) = (batch.Inputs.ToArray<long>(), batch.Mask?.ToArray<long>(), batch.Targets.ToArray<long>());
            for (int row = 0; row < answers.Length; row++)
            {
                if (answers[row] < 0) continue;
                int start = row * T;
                examples.Add(string.Join(' ', Enumerable.Range(start, T).Where(at => mask is null || mask[at] != 0).Select(at => ids[at])));
                targets.Add(answers[row]);
            }
        }
        return examples.Count == 0 ? null : new Answered<string>(examples, targets);
    }
}
