using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>Dropout by counter: how much is dropped, and that nothing but the draw decides what.</summary>
[Collection(ProcessWide.Name)]
public class FusedDropoutTests : IDisposable
{
    private const int Count = 200_003;  // no multiple of anything
    private const ulong Key = 0x9d8f3c0152a6b7e4;

    private readonly DisposeScope scope = torch.NewDisposeScope();

    public static TheoryData<string> Sets => KernelSets.All;

    public void Dispose()
    {
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void The_share_dropped_and_the_mean_are_what_they_should_be(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        // Many rows of one element, one row of many, and both.
        foreach (long[] shape in new long[][] { [Count], [1, Count], [449, 449] })
            foreach (double p in new[] { 0.001, 0.1, 0.5, 0.9 })
            {
                float[] y = torch.ones(shape).FusedDropout(new DropoutDraw(p, Key)).ToArray<float>();
                double deviation = Math.Sqrt(p * (1 - p) / y.Length);
                int dropped = y.Count(value => value == 0);
                Assert.InRange((double)dropped / y.Length, p - 4 * deviation, p + 4 * deviation);
                Assert.InRange(y.Average(), 1 - 4 * deviation / (1 - p), 1 + 4 * deviation / (1 - p));
                Assert.All(y.Where(value => value != 0).Distinct(), value => Assert.Equal(1 / (1 - p), value, 1e-5));
            }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Neighbours_rows_and_keys_are_independent(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        foreach (long[] shape in new long[][] { [Count], [1, Count], [449, 449] })
        {
            bool[] first = Dropped(shape, Key);
            // Pairs that agree: half of them, within 5 deviations of 0.5 / sqrt(200,000) = 0.0011.
            foreach (int lag in new[] { 1, 2, 16, 64, 449, 768, 4096, 16384 })
                Assert.InRange(Enumerable.Range(0, first.Length - lag).Count(i => first[i] == first[i + lag]) / (double)(first.Length - lag), 0.494, 0.506);
            // What differs in a run: the next step, another place in the model, another seed, another half of the key.
            var keys = new DropoutKeys { Seed = 5, Step = 7 };
            ulong one = keys.Draw(0.5, 3).Key, place = keys.Draw(0.5, 4).Key;
            keys.Step++;
            ulong step = keys.Draw(0.5, 3).Key;
            keys.Seed++;
            ulong seed = keys.Draw(0.5, 3).Key;
            foreach ((ulong a, ulong b) in new[] { (one, place), (one, step), (step, seed), (Key, Key ^ (1UL << 32)), (Key, Key ^ (1UL << 63)) })
            {
                bool[] left = Dropped(shape, a), right = Dropped(shape, b);
                Assert.InRange(Enumerable.Range(0, left.Length).Count(i => left[i] == right[i]) / (double)left.Length, 0.494, 0.506);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void The_draw_decides_what_is_dropped(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        byte[] Draw(DropoutDraw draw) => torch.ones([10, 100]).FusedDropout(draw).ToBytes();
        byte[] first = Draw(new DropoutDraw(0.3, Key));
        Assert.Equal(first, Draw(new DropoutDraw(0.3, Key)));
        Assert.NotEqual(first, Draw(new DropoutDraw(0.3, Key + 1)));
        Assert.NotEqual(first, Draw(new DropoutDraw(0.3, Key, 1)));
        // No generator's state plays a part, nor is it moved on.
        torch.manual_seed(5);
        byte[] expected = torch.rand(10).ToBytes();
        torch.manual_seed(5);
        Assert.Equal(first, Draw(new DropoutDraw(0.3, Key)));
        Assert.Equal(expected, torch.rand(10).ToBytes());
        Tensor x = torch.ones([10]);
        Assert.Same(x, x.FusedDropout(DropoutDraw.None));
    }

    [Fact]
    public void Neither_threads_nor_kernels_change_a_bit()
    {
        int before = Engine.Threads;
        try
        {
            foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
                foreach (long[] shape in new long[][] { [Count], [1, Count], [3, 1001, 67], [0, 5] })
                    foreach ((double p, long firstRow) in new[] { (0.1, 0L), (0.25, 77), (0.9, (1L << 32) - 1), (1e-9, 0) })
                    {
                        var draw = new DropoutDraw(p, Key, firstRow);
                        Tensor x = KernelSets.Normal(1, type, 0, 1, shape);
                        byte[] twin = (x.to(ScalarType.Float32) * draw.Factors(shape, torch.CPU)).to(type).ToBytes();
                        foreach (string set in KernelSet.Available)
                            foreach (int threads in new[] { 1, 2 })
                            {
                                using IDisposable _ = KernelSets.Use(set);
                                Engine.Threads = threads;
                                Assert.True(twin.AsSpan().SequenceEqual(x.FusedDropout(draw).ToBytes()), $"{set} {type} {TensorExtensions.FormatShape(shape)} {p}");
                            }
                    }
        }
        finally
        {
            Engine.Threads = before;
        }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Gradients_pass_where_numbers_did(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            Tensor x = torch.ones([3, 7, 130], type);
            x.requires_grad = true;
            Tensor y = x.FusedDropout(new DropoutDraw(0.3, Key));
            y.sum().backward();
            Assert.Equal(y.detach().ToBytes(), x.grad!.ToBytes());
            Assert.Equal(type, x.grad!.dtype);
        }
        // A view keeps its order, not its memory's.
        Tensor large = KernelSets.Normal(1, ScalarType.Float32, 3, 0.1, 20, 30);
        Tensor view = large.transpose(0, 1).FusedDropout(new DropoutDraw(0.5, Key));
        Assert.True(view.ValuesEqual(large.transpose(0, 1).contiguous().FusedDropout(new DropoutDraw(0.5, Key))));
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Nothing_to_drop_from_is_no_error(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Assert.Equal([0, 3], torch.zeros([0, 3]).FusedDropout(new DropoutDraw(0.5, Key)).shape);
        Assert.All(torch.full([100], double.NaN).FusedDropout(new DropoutDraw(0.1, Key)).ToArray<float>().Where(value => value != 0), value => Assert.True(float.IsNaN(value)));
    }

    private static bool[] Dropped(long[] shape, ulong key) => [.. torch.ones(shape).FusedDropout(new DropoutDraw(0.5, key)).ToArray<float>().Select(value => value == 0)];
}
