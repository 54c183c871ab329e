using Permafrost.Data;

namespace Permafrost.Tests.Data;

/// <summary>Numbers addressed by seed and counter: the same everywhere and for ever, and random enough.</summary>
public class CounterRandomTests
{
    [Fact]
    public void The_numbers_are_those_of_another_implementation()
    {
        // Computed in Python from the description: FNV-1a over the stream's name, then SplitMix64. Data sets depend on them: they must never change.
        var random = new CounterRandom("bit-xor/train", 0, 0);
        Assert.Equal([0x6356529830987261, 0x4354264316ad3cab, 0x4beef25c6645b129], new[] { random.Next(), random.Next(), random.Next() });
        random = new CounterRandom("order", -7, 1_000_000_007);
        Assert.Equal([0x3bb01747dbaf44eb, 0x70b00b9b6ba7a44a, 0x4d5b92847d1a99bf], new[] { random.Next(), random.Next(), random.Next() });
        Assert.Equal([6, 3, 7, 2, 10, 8, 5, 1, 9, 4, 11, 0], new CounterRandom("mnist/validation", 0, 0).Permutation(12));
    }

    [Fact]
    public void Stream_seed_and_index_each_give_other_numbers()
    {
        ulong[] first = [.. from stream in new[] { "a", "b", "ab", "" } from seed in new long[] { 0, 1, -1, long.MaxValue } from index in new long[] { 0, 1, 2, 1L << 40 }
                            select new CounterRandom(stream, seed, index).Next()];
        Assert.Equal(first.Length, first.Distinct().Count());
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(10)]
    [InlineData(256)]
    public void Every_number_below_the_bound_is_as_likely_as_another(int bound)
    {
        const int Draws = 100_000;
        var counts = new int[bound];
        var random = new CounterRandom("uniform", 0, 0);
        for (int i = 0; i < Draws; i++) counts[random.Next(bound)]++;
        double expected = (double)Draws / bound;
        double chi = counts.Sum(count => (count - expected) * (count - expected) / expected);
        // Chi-squared with bound - 1 degrees: mean bound - 1, deviation sqrt(2 (bound - 1)); 5 deviations.
        Assert.InRange(chi, 0, bound - 1 + 5 * Math.Sqrt(2.0 * (bound - 1)) + 10);
    }

    [Fact]
    public void Examples_next_to_each_other_are_unrelated()
    {
        // First bits of 100,000 streams that differ in the index alone: half are ones, and neighbours agree half of the time.
        bool[] bits = [.. Enumerable.Range(0, 100_000).Select(i => new CounterRandom("x", 0, i).Next(2) == 1)];
        Assert.InRange(bits.Count(bit => bit), 49_200, 50_800);
        Assert.InRange(bits.Zip(bits.Skip(1)).Count(pair => pair.First == pair.Second), 49_200, 50_800);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(1000)]
    public void A_permutation_holds_every_number_once(int count)
    {
        long[] order = new CounterRandom("p", 1, 2).Permutation(count);
        Assert.Equal(Enumerable.Range(0, count).Select(i => (long)i), order.Order());
    }

    [Fact]
    public void Every_order_of_three_is_as_likely_as_another()
    {
        var counts = new Dictionary<string, int>();
        for (int i = 0; i < 60_000; i++)
        {
            string order = string.Join("", new CounterRandom("p", 0, i).Permutation(3));
            counts[order] = counts.GetValueOrDefault(order) + 1;
        }
        Assert.Equal(6, counts.Count);
        Assert.All(counts.Values, count => Assert.InRange(count, 9_540, 10_460));  // 5 deviations of 91
    }
}
