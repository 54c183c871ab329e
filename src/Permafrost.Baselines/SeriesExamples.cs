using System.Globalization;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;

namespace Permafrost.Baselines;

/// <summary>A series of any number of steps, step by step.</summary>
internal sealed record Steps(float[] Values, int Channels)
{
    public int Count => Values.Length / Channels;
}

/// <summary>Reads splits of series, as tasks on series encode them: scaled by channel, several steps in a token where they are long, shorter ones masked.</summary>
internal static class SeriesExamples
{
    private const int BatchSize = 256;

    /// <summary>Whether a task's vectors are steps of a series: what it says of its encoding tells.</summary>
    public static bool Are(TaskSpec spec) => spec.Input is VectorInput vectors && StepsPerToken(spec) is > 0 and { } chunk && vectors.Size % chunk == 0;

    /// <summary>The first examples of a split in an order of its own; null where there are none with an answer.</summary>
    /// <param name="split">The split; null for none.</param>
    /// <param name="spec">What the task feeds.</param>
    /// <param name="most">The most examples.</param>
    /// <param name="cancellation">Ends it.</param>
    public static Answered<Steps>? Of(IDataset? split, TaskSpec spec, int most, CancellationToken cancellation)
    {
        if (split?.Count is not { } count) return null;
        int size = ((VectorInput)spec.Input).Size, channels = size / StepsPerToken(spec);
        (var examples, var targets) = (new List<Steps>(), new List<float>());
        IEnumerable<long> order = count <= most ? Enumerable.Range(0, (int)count).Select(i => (long)i) : new CounterRandom("series", 0, 0).Permutation(count).Take(most);
        foreach (long[] indices in order.Chunk(BatchSize))
        {
            cancellation.ThrowIfCancellationRequested();
            using DisposeScope scope = torch.NewDisposeScope();
            Batch batch = split.Get(indices);
            int row = (int)batch.Inputs.size(1) * size;
            float[] numbers = batch.Inputs.ToArray<float>();
            long[]? lengths = batch.Mask?.sum(1).ToArray<long>();
            float[] answers = batch.Targets.dtype == ScalarType.Float32 ? batch.Targets.ToArray<float>()
                : [.. batch.Targets.ToArray<long>().Select(target => target < 0 ? float.NaN : target)];
            for (int i = 0; i < answers.Length; i++)
            {
                if (float.IsNaN(answers[i])) continue;
                examples.Add(new Steps(numbers[(i * row)..(i * row + (lengths is null ? row : (int)lengths[i] * size))], channels));
                targets.Add(answers[i]);
            }
        }
        return examples.Count == 0 ? null : new Answered<Steps>(examples, targets);
    }

    private static int StepsPerToken(TaskSpec spec) =>
        int.TryParse(spec.Preprocessing.GetValueOrDefault("steps_per_token"), NumberStyles.None, CultureInfo.InvariantCulture, out int steps) ? steps : 0;
}
