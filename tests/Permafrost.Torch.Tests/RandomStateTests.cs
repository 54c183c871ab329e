namespace Permafrost.Torch.Tests;

/// <summary>Random generators. The default one is the whole process's: nothing else may draw from it meanwhile.</summary>
[Collection(ProcessWide.Name)]
public class RandomStateTests : IDisposable
{
    private readonly TensorScope scope = new();

    public void Dispose()
    {
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void One_seed_gives_the_same_numbers_and_another_does_not()
    {
        Assert.Equal(Draw(7), Draw(7));
        Assert.NotEqual(Draw(7), Draw(8));
        Assert.NotEqual(Draw(0), Draw(ulong.MaxValue));
    }

    [Fact]
    public void A_generator_goes_on_where_it_was()
    {
        using var whole = new RandomState(3);
        using var parts = new RandomState(3);
        float[] all = Normal(8, whole);
        // 8 at once and 4 twice differ in libtorch's vectorised path from 16 on only.
        Assert.Equal(all, Normal(4, parts).Concat(Normal(4, parts)));
    }

    [Fact]
    public void The_default_generator_repeats_after_a_seed()
    {
        RandomState.Seed(11);
        float[] first = Normal(20, null);
        float[] next = Normal(20, null);
        RandomState.Seed(11);
        Assert.Equal(first, Normal(20, null));
        Assert.Equal(next, Normal(20, null));
        Assert.NotEqual(first, next);
    }

    [Fact]
    public void A_saved_state_brings_the_same_numbers_back()
    {
        RandomState.Seed(5);
        Normal(3, null);  // an odd number of normals leaves one cached: the state must hold it
        byte[] state = RandomState.GetState(Device.Cpu);
        float[] first = [.. Normal(5, null), .. Normal(100, null)];
        float[] dropped = Tensor.Ones([50]).Dropout(0.5, training: true).ToArray<float>();
        RandomState.Seed(99);
        RandomState.SetState(Device.Cpu, state);
        Assert.Equal(first, Normal(5, null).Concat(Normal(100, null)));
        Assert.Equal(dropped, Tensor.Ones([50]).Dropout(0.5, training: true).ToArray<float>());
    }

    [Fact]
    public void An_own_generator_and_the_default_one_do_not_disturb_each_other()
    {
        RandomState.Seed(1);
        float[] expected = Normal(10, null);
        float[] own = Draw(2);
        RandomState.Seed(1);
        Assert.Equal(own, Draw(2));
        using var other = new RandomState(2);
        Normal(1000, other);
        Assert.Equal(expected, Normal(10, null));
    }

    [Fact]
    public void Bytes_that_are_no_state_are_refused_and_change_nothing()
    {
        RandomState.Seed(4);
        float[] expected = Normal(6, null);
        RandomState.Seed(4);
        Assert.Throws<TorchException>(() => RandomState.SetState(Device.Cpu, [1, 2, 3]));
        Assert.Throws<TorchException>(() => RandomState.SetState(Device.Cpu, []));
        Assert.Equal(expected, Normal(6, null));
    }

    [Fact]
    public void A_disposed_generator_throws()
    {
        var random = new RandomState(1);
        random.Dispose();
        random.Dispose();
        Assert.Throws<ObjectDisposedException>(() => Normal(1, random));
    }

    [Fact]
    public void Distributions_have_their_mean_and_spread()
    {
        // 100,000 draws: means are within 5 deviations of 1 / sqrt(100,000) = 0.0032 of a deviation.
        using var random = new RandomState(6);
        Tensor normal = Tensor.Empty([100_000]).NormalInPlace(2, 3, random);
        Assert.InRange(normal.Mean().ToDouble(), 1.95, 2.05);
        Assert.InRange(normal.Std().ToDouble(), 2.95, 3.05);
        Tensor uniform = Tensor.Empty([100_000]).UniformInPlace(-1, 3, random);
        Assert.InRange(uniform.Mean().ToDouble(), 0.98, 1.02);
        Assert.True(uniform.Min().ToDouble() >= -1 && uniform.Max().ToDouble() < 3);
        Tensor dice = Tensor.Empty([100_000], DType.Int64).RandomInPlace(1, 7, random);
        Assert.Equal((1, 6), (dice.Min().ToInt64(), dice.Max().ToInt64()));
        Assert.InRange(dice.To(DType.Float64).Mean().ToDouble(), 3.47, 3.53);
    }

    [Fact]
    public void A_random_permutation_holds_every_number_once()
    {
        using var random = new RandomState(9);
        long[] order = Tensor.RandomPermutation(1000, random).ToArray<long>();
        Assert.NotEqual(Enumerable.Range(0, 1000).Select(i => (long)i), order);
        Assert.Equal(Enumerable.Range(0, 1000).Select(i => (long)i), order.Order());
        using var again = new RandomState(9);
        Assert.Equal(order, Tensor.RandomPermutation(1000, again).ToArray<long>());
    }

    private static float[] Draw(ulong seed)
    {
        using var random = new RandomState(seed);
        return Normal(10, random);
    }

    private static float[] Normal(long count, RandomState? random) => Tensor.Empty([count]).NormalInPlace(0, 1, random).ToArray<float>();
}
