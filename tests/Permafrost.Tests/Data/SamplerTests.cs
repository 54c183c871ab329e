using Permafrost.Data;

namespace Permafrost.Tests.Data;

/// <summary>Which examples each step sees.</summary>
public class SamplerTests
{
    [Theory]
    [InlineData(10, 3)]
    [InlineData(10, 5)]
    [InlineData(10, 10)]
    [InlineData(10, 16)]
    [InlineData(1, 1)]
    public void Every_example_comes_once_in_each_epoch_and_the_last_batch_may_be_smaller(int count, int batch)
    {
        var order = new Sampler(count, batch, shuffle: true, seed: 1);
        long steps = order.StepsPerEpoch!.Value;
        Assert.Equal((count + batch - 1) / batch, steps);
        for (long epoch = 0; epoch < 3; epoch++)
        {
            long[][] batches = [.. Enumerable.Range(0, (int)steps).Select(step => order.Step(epoch * steps + step))];
            Assert.Equal(Enumerable.Range(0, count).Select(i => (long)i), batches.SelectMany(b => b).Order());
            Assert.All(batches[..^1], b => Assert.Equal(batch, b.Length));
            Assert.Equal(count - (steps - 1) * batch, batches[^1].Length);
        }
    }

    [Fact]
    public void A_step_is_known_by_its_number_alone()
    {
        var forward = new Sampler(10, 3, shuffle: true, seed: 1);
        long[][] steps = [.. Enumerable.Range(0, 12).Select(step => forward.Step(step))];
        var backward = new Sampler(10, 3, shuffle: true, seed: 1);
        for (int step = 11; step >= 0; step--) Assert.Equal(steps[step], backward.Step(step));
    }

    [Fact]
    public void Epochs_and_seeds_have_orders_of_their_own()
    {
        long[] Epoch(long seed, long epoch) => new Sampler(20, 20, shuffle: true, seed).Step(epoch);
        long[][] orders = [Epoch(0, 0), Epoch(0, 1), Epoch(1, 0), Epoch(1, 1), [.. Enumerable.Range(0, 20).Select(i => (long)i)]];
        Assert.Equal(5, orders.Select(order => string.Join(",", order)).Distinct().Count());
    }

    [Fact]
    public void Without_shuffling_rows_come_in_order_and_start_over()
    {
        var order = new Sampler(5, 2, shuffle: false, seed: 1);
        Assert.Equal([[0L, 1], [2, 3], [4], [0, 1]], Enumerable.Range(0, 4).Select(step => order.Step(step)));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Endless_data_is_taken_in_order(bool shuffle)
    {
        var order = new Sampler(null, 3, shuffle, seed: 1);
        Assert.Null(order.StepsPerEpoch);
        Assert.Equal([0L, 1, 2], order.Step(0));
        Assert.Equal([3_000_000_000L, 3_000_000_001, 3_000_000_002], order.Step(1_000_000_000));
    }

    private static readonly int[] Lengths = [.. Enumerable.Range(0, 1003).Select(i => 1 + i * 37 % 101)];

    [Fact]
    public void Grouped_by_length_every_example_comes_once_and_little_is_padded()
    {
        var grouped = new Sampler(Lengths.Length, 5, shuffle: true, seed: 1, Lengths);
        var plain = new Sampler(Lengths.Length, 5, shuffle: true, seed: 1);
        for (long epoch = 0; epoch < 2; epoch++)
        {
            long[][] batches = Epoch(grouped, epoch);
            Assert.Equal(Enumerable.Range(0, Lengths.Length).Select(i => (long)i), batches.SelectMany(batch => batch).Order());
            Assert.Equal(101, Lengths[batches[0][0]]);  // the longest first
            // Pieces of 50 batches, each from its longest to its shortest, but for the one example that went to the front.
            foreach (long[] piece in batches.SelectMany(batch => batch).Chunk(250)) Assert.True(piece.Skip(1).Zip(piece.Skip(2)).Count(pair => Lengths[pair.First] < Lengths[pair.Second]) <= 1);
            Assert.True(Padding(batches) * 10 < Padding(Epoch(plain, epoch)));
        }
        Assert.NotEqual(Epoch(grouped, 0), Epoch(grouped, 1));
        Assert.NotEqual(Epoch(grouped, 0), Epoch(new Sampler(Lengths.Length, 5, shuffle: true, seed: 2, Lengths), 0));

        static long[][] Epoch(Sampler order, long epoch) => [.. Enumerable.Range(0, (int)order.StepsPerEpoch!).Select(step => order.Step(epoch * order.StepsPerEpoch!.Value + step))];
        static long Padding(long[][] batches) => batches.Sum(batch => batch.Sum(i => batch.Max(j => Lengths[j]) - Lengths[i]));
    }

    [Theory]
    [InlineData(1, 3)]
    [InlineData(11, 3)]
    [InlineData(1003, 5)]
    public void Grouped_by_length_a_step_is_known_by_its_number_alone(int count, int batch)
    {
        var forward = new Sampler(count, batch, shuffle: true, seed: 1, Lengths);
        long[][] steps = [.. Enumerable.Range(0, (int)forward.StepsPerEpoch! * 2).Select(step => forward.Step(step))];
        var backward = new Sampler(count, batch, shuffle: true, seed: 1, Lengths);
        for (int step = steps.Length - 1; step >= 0; step--) Assert.Equal(steps[step], backward.Step(step));
    }
}
