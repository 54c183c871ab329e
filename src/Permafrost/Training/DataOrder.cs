using Permafrost.Tasks;

namespace Permafrost.Training;

/// <summary>
/// Which examples each step sees, as a function of the step alone: a run that stops and goes on sees what it would have seen. Finite data is
/// permuted anew every epoch, and an epoch's last batch may be smaller; endless data is taken in order.
/// </summary>
public sealed class DataOrder(long? count, int batchSize, bool shuffle, long seed)
{
    private long cachedEpoch = -1;
    private long[] cachedOrder = [];

    /// <summary>Steps of one pass; null for endless data.</summary>
    public long? StepsPerEpoch => count is { } n ? (n + batchSize - 1) / batchSize : null;

    /// <summary>The example numbers of a step, counted from 0.</summary>
    public long[] Step(long step)
    {
        if (StepsPerEpoch is not { } steps) return Range(step * batchSize, batchSize);
        (long epoch, long within) = Math.DivRem(step, steps);
        int size = (int)Math.Min(batchSize, count!.Value - within * batchSize);
        if (!shuffle) return Range(within * batchSize, size);
        if (epoch != cachedEpoch) (cachedEpoch, cachedOrder) = (epoch, new CounterRandom("order", seed, epoch).Permutation(count.Value));
        return cachedOrder.AsSpan((int)(within * batchSize), size).ToArray();
    }

    private static long[] Range(long start, int length)
    {
        var range = new long[length];
        for (int i = 0; i < length; i++) range[i] = start + i;
        return range;
    }
}
