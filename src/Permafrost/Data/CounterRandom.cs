namespace Permafrost.Data;

/// <summary>
/// Random numbers addressed by a seed and a counter (SplitMix64, Steele et al. 2014): example 1,000,000 can be made without the ones before it,
/// so a resumed run sees the same data. The same on every machine and version.
/// </summary>
public struct CounterRandom
{
    private ulong state;

    /// <summary>The stream of one example.</summary>
    /// <param name="stream">The name of the stream, such as the split; different names give unrelated streams.</param>
    /// <param name="seed">The seed, such as the run's.</param>
    /// <param name="index">The example's number.</param>
    public CounterRandom(string stream, long seed, long index)
    {
        state = 0xcbf29ce484222325;
        foreach (char c in stream) state = (state ^ c) * 0x100000001b3;
        state = Mix(state ^ Mix((ulong)seed));
        state = Mix(state + Mix((ulong)index));
    }

    /// <summary>64 random bits.</summary>
    public ulong Next()
    {
        state += 0x9e3779b97f4a7c15;
        return Mix(state);
    }

    /// <summary>0, ..., bound - 1, each equally likely.</summary>
    public int Next(int bound) => (int)(((UInt128)Next() * (ulong)bound) >> 64);

    /// <summary>Uniform on [0, 1).</summary>
    public double NextDouble() => (Next() >> 11) * (1.0 / (1UL << 53));

    /// <summary>A random order of 0, ..., count - 1.</summary>
    public long[] Permutation(long count)
    {
        var order = new long[count];
        for (long i = 0; i < count; i++)
        {
            long j = (long)(((UInt128)Next() * (ulong)(i + 1)) >> 64);
            order[i] = order[j];
            order[j] = i;
        }
        return order;
    }

    private static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
}
