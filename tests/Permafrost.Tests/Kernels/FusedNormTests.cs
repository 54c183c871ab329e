using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>permafrost::norm and ::residual_norm.</summary>
[Collection(ProcessWide.Name)]
public class FusedNormTests : IDisposable
{
    private const ulong Key = 0x9d8f3c0152a6b7e4;
    private const double Epsilon = 1e-5;

    private static readonly long[][] Shapes = [[1, 1, 13], [2, 7, 40], [65, 33], [130, 17], [2, 130, 64], [0, 16], [19]];

    private readonly DisposeScope scope = torch.NewDisposeScope();

    public static TheoryData<string> Sets => KernelSets.All;

    public void Dispose()
    {
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void A_norm_and_its_gradients_are_libtorchs(string set)
    {
        foreach (long[] shape in Shapes)
            foreach ((ScalarType input, ScalarType result) in new[] { (ScalarType.Float32, ScalarType.Float32), (ScalarType.Float32, ScalarType.BFloat16), (ScalarType.BFloat16, ScalarType.Float32) })
            {
                Tensor[] Map(Tensor[] inputs, ScalarType? type) => [inputs[0].FusedNorm(inputs[1], inputs[2], Epsilon, type ?? result)];
                KernelSets.Check(set, $"{TensorExtensions.FormatShape(shape)} {input} to {result}", Map, coarse: result == ScalarType.BFloat16, KernelSets.Normal(1, input, 0.5, 2, shape), Gain(shape[^1]), Bias(shape[^1]));
            }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void A_residual_norm_and_its_gradients_are_libtorchs(string set)
    {
        foreach (long[] shape in Shapes)
            foreach ((ScalarType update, ScalarType result) in new[] { (ScalarType.Float32, ScalarType.Float32), (ScalarType.BFloat16, ScalarType.BFloat16), (ScalarType.BFloat16, ScalarType.Float32), (ScalarType.Float32, ScalarType.BFloat16) })
            {
                Tensor[] Both(Tensor[] inputs, ScalarType? type)
                {
                    (Tensor sum, Tensor normed) = inputs[0].ResidualNorm(inputs[1], inputs[2], inputs[3], Epsilon, DropoutDraw.None, type ?? result);
                    return [sum, normed];
                }
                string name = $"{TensorExtensions.FormatShape(shape)} {update} to {result}";
                Tensor?[] given = [KernelSets.Normal(1, ScalarType.Float32, 0.5, 2, shape), KernelSets.Normal(2, update, 0, 1, shape), Gain(shape[^1]), Bias(shape[^1])];
                KernelSets.Check(set, name, Both, coarse: result == ScalarType.BFloat16, given);
                // A model's last norm has no use for the sum.
                KernelSets.Check(set, $"{name}, normed only", (inputs, type) => [Both(inputs, type)[1]], coarse: result == ScalarType.BFloat16, given);
            }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Where_only_the_sum_is_used_gradients_pass_unchanged(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor x = Leaf(KernelSets.Normal(1, ScalarType.Float32, 0, 1, 7, 33)), y = Leaf(KernelSets.Normal(2, ScalarType.Float32, 0, 1, 7, 33)), gradient = KernelSets.Normal(3, ScalarType.Float32, 0, 1, 7, 33);
        (Tensor sum, Tensor normed) = x.ResidualNorm(y, Gain(33), Bias(33), Epsilon, DropoutDraw.None, ScalarType.Float32);
        Assert.Equal(ScalarType.Float32, normed.dtype);
        sum.backward([gradient]);
        Assert.True(x.grad!.ValuesEqual(gradient));
        Assert.True(y.grad!.ValuesEqual(gradient));
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Gradients_are_computed_only_where_they_are_wanted(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor x = KernelSets.Normal(1, ScalarType.Float32, 0, 1, 7, 33), gain = Leaf(Gain(33)), bias = Bias(33);
        Assert.False(x.FusedNorm(Gain(33), bias, Epsilon, ScalarType.Float32).requires_grad);
        x.FusedNorm(gain, bias, Epsilon, ScalarType.Float32).sum().backward();
        KernelSets.Close(set, gain.grad!, Normalized(x).sum([0]), coarse: false);
        Assert.Null(x.grad);
        Tensor y = Leaf(x.clone());
        x.ResidualNorm(y, Gain(33), bias, Epsilon, DropoutDraw.None, ScalarType.Float32).Normed.sum().backward();
        Assert.NotNull(y.grad);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void A_mean_far_from_zero_costs_no_more_than_its_own_rounding(string set)
    {
        // Mean 1000, deviation 1: the mean is rounded by 3e-5 at most, and a second pass over the row sees no cancellation.
        Tensor x = KernelSets.Normal(1, ScalarType.Float32, 1000, 1, 9, 333);
        using IDisposable _ = KernelSets.Use(set);
        Tensor y = x.FusedNorm(torch.ones([333]), torch.zeros([333]), Epsilon, ScalarType.Float32);
        Assert.True((y.to(ScalarType.Float64) - Normalized(x)).abs().max().Number() < 2e-4);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Equal_numbers_give_the_bias_and_finite_gradients(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        foreach (long width in new[] { 1, 40 })
        {
            Tensor x = Leaf(torch.full([3, width], 0.75));
            Tensor y = x.FusedNorm(torch.ones([width]), Bias(width), Epsilon, ScalarType.Float32);
            Assert.True((y - Bias(width)).abs().max().Number() < 1e-4);
            y.backward([KernelSets.Normal(1, ScalarType.Float32, 0, 1, 3, width)]);
            Assert.True(x.grad!.AllFinite());
        }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void What_is_no_number_stays_none_and_stays_in_its_row(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        foreach (double bad in new[] { double.NaN, double.PositiveInfinity })
        {
            Tensor x = KernelSets.Normal(1, ScalarType.Float32, 0, 1, 5, 33);
            x.narrow(0, 2, 1).narrow(1, 7, 1).fill_(bad);
            foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
            {
                (Tensor sum, Tensor fromResidual) = torch.zeros([5, 33]).ResidualNorm(x.to(type), Gain(33), Bias(33), Epsilon, DropoutDraw.None, type);
                foreach (Tensor normed in new[] { x.FusedNorm(Gain(33), Bias(33), Epsilon, type), fromResidual })
                {
                    float[] y = normed.to(ScalarType.Float32).ToArray<float>();
                    Assert.All(Enumerable.Range(0, y.Length), i => Assert.Equal(i / 33 == 2, float.IsNaN(y[i])));
                }
                Assert.Equal(1, 165 - sum.ToArray<float>().Count(float.IsFinite));
            }
        }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Gradients_with_dropout_are_those_of_the_numbers_that_were_kept(string set)
    {
        // Ones on zeros show what is kept; with that, the oracle needs no dropout.
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            Tensor factors;
            using (KernelSets.Use(set))
            {
                Tensor sum = torch.zeros([65, 33]).ResidualNorm(torch.ones([65, 33], type), Gain(33), Bias(33), Epsilon, new DropoutDraw(0.3, Key), ScalarType.Float32).Sum;
                Assert.True(sum.ValuesEqual(new DropoutDraw(0.3, Key).Factors([65, 33], torch.CPU)));
                factors = sum.to(ScalarType.Float64);
            }
            Assert.InRange(factors.eq(0).to(ScalarType.Float64).mean().Number(), 0.26, 0.34);  // 65 * 33 draws: 4 deviations are 0.04
            Tensor[] Both(Tensor[] inputs, ScalarType? wide)
            {
                (Tensor sum, Tensor normed) = wide is null ? inputs[0].ResidualNorm(inputs[1], inputs[2], inputs[3], Epsilon, new DropoutDraw(0.3, Key), ScalarType.Float32) : inputs[0].ResidualNorm(inputs[1] * factors, inputs[2], inputs[3], Epsilon, DropoutDraw.None, wide.Value);
                return [sum, normed];
            }
            KernelSets.Check(set, $"dropout {type}", Both, coarse: false, KernelSets.Normal(1, ScalarType.Float32, 0, 1, 65, 33), KernelSets.Normal(2, type, 0, 1, 65, 33), Gain(33), Bias(33));
        }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Gradients_with_dropout_agree_with_finite_differences(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor[] inputs = [KernelSets.Normal(1, ScalarType.Float32, 0, 1, 4, 13), KernelSets.Normal(2, ScalarType.Float32, 0, 1, 4, 13), Gain(13), Bias(13)];
        FiniteDifferences.Check(set, inputs, given =>
        {
            (Tensor sum, Tensor normed) = given[0].ResidualNorm(given[1], given[2], given[3], Epsilon, new DropoutDraw(0.4, Key), ScalarType.Float32);
            return [sum, normed];
        });
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Memory_without_order_gives_what_a_copy_gives(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor large = Leaf(KernelSets.Normal(1, ScalarType.Float32, 0, 1, 40, 7, 4)), row = Leaf(KernelSets.Normal(5, ScalarType.Float32, 0, 1, 1, 33));
        Tensor x = large.permute(2, 1, 0).narrow(2, 3, 33), y = row.expand(4, 7, 33), gain = Leaf(torch.full([1], 1.5)), bias = Bias(66).view(33, 2).select(1, 1);
        (Tensor sum, Tensor normed) = x.ResidualNorm(y, gain.expand(33), bias, Epsilon, DropoutDraw.None, ScalarType.Float32);
        Tensor copy = x.detach().contiguous(), added = y.detach().contiguous();
        (Tensor expectedSum, Tensor expected) = copy.ResidualNorm(added, torch.full([33], 1.5), bias.contiguous(), Epsilon, DropoutDraw.None, ScalarType.Float32);
        Assert.True(sum.ValuesEqual(expectedSum));
        Assert.True(normed.ValuesEqual(expected));
        Assert.True(x.FusedNorm(gain.expand(33), bias, Epsilon, ScalarType.Float32).ValuesEqual(copy.FusedNorm(torch.full([33], 1.5), bias.contiguous(), Epsilon, ScalarType.Float32)));
        (sum + normed).sum().backward();
        Assert.Equal((40L, 33L, 1L), (large.grad!.size(0), row.grad!.size(1), gain.grad!.size(0)));
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void The_number_of_threads_changes_no_row(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        int before = Engine.Threads;
        try
        {
            var rows = new List<byte[]>();
            var sums = new List<Tensor>();
            foreach (int threads in new[] { 1, 2, 2, 3 })
            {
                Engine.Threads = threads;
                Tensor x = Leaf(KernelSets.Normal(1, ScalarType.Float32, 0, 1, 130, 512)), gain = Leaf(Gain(512));
                (Tensor sum, Tensor normed) = x.ResidualNorm(KernelSets.Normal(2, ScalarType.Float32, 0, 1, 130, 512), gain, Bias(512), Epsilon, DropoutDraw.None, ScalarType.Float32);
                (sum + normed * normed).sum().backward();
                rows.Add([.. normed.detach().ToBytes(), .. x.grad!.ToBytes()]);
                sums.Add(gain.grad!);
            }
            Assert.All(rows, bytes => Assert.Equal(rows[0], bytes));
            // A gain's gradient is a sum over rows, in an order that the number of threads does not change; libtorch promises that of the same number only.
            Assert.Equal(sums[1].ToBytes(), sums[2].ToBytes());
            if (set != KernelSet.None) Assert.Equal(sums[0].ToBytes(), sums[1].ToBytes());
            KernelSets.Close(set, sums[0], sums[1].to(ScalarType.Float64), coarse: false);
        }
        finally
        {
            Engine.Threads = before;
        }
    }

    private static Tensor Normalized(Tensor x) => torch.nn.functional.layer_norm(x.to(ScalarType.Float64), [x.size(-1)], null, null, Epsilon);

    private static Tensor Gain(long width) => KernelSets.Normal(11, ScalarType.Float32, 1, 0.3, width);

    private static Tensor Bias(long width) => KernelSets.Normal(12, ScalarType.Float32, 0, 0.3, width);

    private static Tensor Leaf(Tensor tensor)
    {
        tensor.requires_grad = true;
        return tensor;
    }
}
