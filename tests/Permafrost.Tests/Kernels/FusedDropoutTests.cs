namespace Permafrost.Tests.Kernels;

/// <summary>permafrost::dropout: how much is dropped, and that nothing but the generator's state decides what.</summary>
[Collection(ProcessWide.Name)]
public class FusedDropoutTests : IDisposable
{
    private const int Count = 200_003;  // no multiple of anything

    private readonly DisposeScope scope = new();

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
        foreach (double p in new[] { 0.001, 0.1, 0.5, 0.9 })
        {
            RandomState.Seed(1);
            float[] y = torch.ones([Count]).Dropout(p, training: true).ToArray<float>();
            double deviation = Math.Sqrt(p * (1 - p) / Count);
            int dropped = y.Count(value => value == 0);
            Assert.InRange((double)dropped / Count, p - 4 * deviation, p + 4 * deviation);
            Assert.InRange(y.Average(), 1 - 4 * deviation / (1 - p), 1 + 4 * deviation / (1 - p));
            Assert.All(y.Where(value => value != 0).Distinct(), value => Assert.Equal(1 / (1 - p), value, 1e-5));
        }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Neighbours_rows_and_calls_are_independent(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        RandomState.Seed(2);
        bool[] first = Dropped(torch.ones([Count]).Dropout(0.5, training: true)), second = Dropped(torch.ones([Count]).Dropout(0.5, training: true));
        // Pairs that agree: half of them, within 5 deviations of 0.5 / sqrt(200,000) = 0.0011.
        foreach (int lag in new[] { 1, 2, 16, 64, 768, 4096, 16384 })
            Assert.InRange(Enumerable.Range(0, Count - lag).Count(i => first[i] == first[i + lag]) / (double)(Count - lag), 0.494, 0.506);
        Assert.InRange(Enumerable.Range(0, Count).Count(i => first[i] == second[i]) / (double)Count, 0.494, 0.506);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void The_generators_state_decides_what_is_dropped(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        RandomState.Seed(5);
        byte[] state = RandomState.GetState(torch.CPU);
        byte[] first = torch.ones([1000]).Dropout(0.3, training: true).ToBytes(), second = torch.ones([1000]).Dropout(0.3, training: true).ToBytes();
        Assert.NotEqual(first, second);
        RandomState.Seed(6);
        Assert.NotEqual(first, torch.ones([1000]).Dropout(0.3, training: true).ToBytes());
        RandomState.SetState(torch.CPU, state);
        Assert.Equal(first, torch.ones([1000]).Dropout(0.3, training: true).ToBytes());
        Assert.Equal(second, torch.ones([1000]).Dropout(0.3, training: true).ToBytes());
    }

    [Fact]
    public void Neither_threads_nor_kernels_change_a_bit()
    {
        int before = Engine.Threads;
        try
        {
            foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
            {
                Tensor x = KernelSets.Normal(1, type, 0, 1, Count);
                var seen = new List<byte[]>();
                foreach (string set in KernelSet.Available.Where(set => set != "composed"))
                    foreach (int threads in new[] { 1, 2 })
                    {
                        using IDisposable _ = KernelSets.Use(set);
                        Engine.Threads = threads;
                        RandomState.Seed(3);
                        seen.Add(x.Dropout(0.1, training: true).ToBytes());
                    }
                Assert.All(seen, bytes => Assert.Equal(seen[0], bytes));
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
            Tensor y = x.Dropout(0.3, training: true);
            y.Sum().Backward();
            Assert.Equal(y.detach().ToBytes(), x.grad!.ToBytes());
            Assert.Equal(type, x.grad!.dtype);
        }
        // A view keeps its order, not its memory's.
        Tensor large = KernelSets.Normal(1, ScalarType.Float32, 3, 0.1, 20, 30);
        RandomState.Seed(4);
        Tensor view = large.transpose(0, 1).Dropout(0.5, training: true);
        RandomState.Seed(4);
        Assert.True(view.ValuesEqual(large.transpose(0, 1).contiguous().Dropout(0.5, training: true)) || set == "composed");
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Nothing_to_drop_from_is_no_error(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Assert.Equal([0, 3], torch.zeros([0, 3]).Dropout(0.5, training: true).Shape);
        Assert.All(torch.full([100], double.NaN).Dropout(0.1, training: true).ToArray<float>().Where(value => value != 0), value => Assert.True(float.IsNaN(value)));
    }

    private static bool[] Dropped(Tensor tensor) => [.. tensor.ToArray<float>().Select(value => value == 0)];
}
