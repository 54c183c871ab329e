namespace Permafrost.Data;

/// <summary>
/// Which examples each step sees, as a function of the step alone: a run that stops and goes on sees what it would have seen. Finite data is
/// permuted anew every epoch, and an epoch's last batch may be smaller; endless data is taken in order.
/// </summary>
/// <param name="count">The number of examples; null when they are endless.</param>
/// <param name="batchSize">The number of examples in a step.</param>
/// <param name="shuffle">Whether finite data is permuted.</param>
/// <param name="seed">The seed of the permutations.</param>
/// <param name="lengths">The length of each example, by which shuffled data is grouped; null to leave it as it is shuffled.</param>
public sealed class Sampler(long? count, int batchSize, bool shuffle, long seed, IReadOnlyList<int>? lengths = null)
{
    private long cachedEpoch = -1;
    private long[] cachedOrder = [];

    /// <summary>The number of steps in one pass over the data; null for endless data.</summary>
    public long? StepsPerEpoch => count is { } n ? (n + batchSize - 1) / batchSize : null;

    /// <summary>The example numbers of a step, counted from 0.</summary>
    public long[] Step(long step)
    {
        if (StepsPerEpoch is not { } steps) return Range(step * batchSize, batchSize);
        (long epoch, long within) = Math.DivRem(step, steps);
        int size = (int)Math.Min(batchSize, count!.Value - within * batchSize);
        if (!shuffle) return Range(within * batchSize, size);
        if (epoch != cachedEpoch) (cachedEpoch, cachedOrder) = (epoch, Grouped(new CounterRandom("order", seed, epoch).Permutation(count.Value)));
        return cachedOrder.AsSpan((int)(within * batchSize), size).ToArray();
    }

    // Hugging Face's get_length_grouped_indices (transformers 4.30, trainer_pt_utils.py): the shuffled data in pieces of up to 50 batches, each sorted by
    // length, longest first; and the longest example of all at the very beginning, so that examples too long for the memory fail at once.
    private long[] Grouped(long[] order)
    {
        if (lengths is null) return order;
        int piece = batchSize * (int)Math.Clamp(order.Length / (batchSize * 4L), 1, 50);
        long[] grouped = [.. order.Chunk(piece).SelectMany(part => part.OrderByDescending(index => lengths[(int)index]))];
        int longest = Enumerable.Range(0, (order.Length + piece - 1) / piece).Select(number => number * piece).MaxBy(first => lengths[(int)grouped[first]]);
        (grouped[0], grouped[longest]) = (grouped[longest], grouped[0]);
        return grouped;
    }

    /// <summary>
    /// Every example of a finite split once, in batches: in order where all have the same length; otherwise in pieces of 50 batches, each piece sorted by length, longest
    /// first, so that little is padded and nobody waits long for the first results.
    /// </summary>
    /// <exception cref="ArgumentException">The examples have no end.</exception>
    public static IEnumerable<long[]> Once(IDataset examples, int batchSize)
    {
        long count = examples.Count ?? throw new ArgumentException("endless examples cannot be taken as a whole", nameof(examples));
        IReadOnlyList<int>? lengths = examples.Lengths;
        long piece = lengths is null ? batchSize : 50L * batchSize;
        for (long start = 0; start < count; start += piece)
        {
            long[] numbers = Range(start, (int)Math.Min(piece, count - start));
            if (lengths is not null) numbers = [.. numbers.OrderByDescending(index => lengths[checked((int)index)])];
            foreach (long[] batch in numbers.Chunk(batchSize)) yield return batch;
        }
    }

    private static long[] Range(long start, int length)
    {
        var range = new long[length];
        for (int i = 0; i < length; i++) range[i] = start + i;
        return range;
    }
}
