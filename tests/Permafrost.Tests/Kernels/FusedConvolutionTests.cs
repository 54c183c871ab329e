using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>The convolution along time.</summary>
[Collection(ProcessWide.Name)]
public class FusedConvolutionTests : IDisposable
{
    private readonly DisposeScope scope = torch.NewDisposeScope();
    private readonly int threads = Engine.Threads;

    public static TheoryData<string> Sets => KernelSets.All;

    // libtorch's own operators make no such promise.
    public static TheoryData<string> Kernels => [.. KernelSets.WithKernels];

    public void Dispose()
    {
        Engine.Threads = threads;
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void A_convolution_and_its_gradients_are_those_of_its_twin(string set)
    {
        foreach ((long inputs, long width, long rows, long taps, long left, long dilation) in new (long, long, long, long, long, long)[]
        {
            (9, 24, 24, 3, 1, 1), (9, 24, 3, 7, 6, 1), (5, 96, 2, 7, 6, 1), (140, 40, 4, 4, 1, 1), (40, 17, 17, 3, 8, 4), (33, 64, 1, 1, 0, 1), (1, 16, 4, 5, 2, 1), (12, 20, 5, 3, -2, 2),
        })
            foreach (bool each in new[] { false, true })
                foreach (bool alternating in new[] { false, true })
                    foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
                    {
                        const long B = 3;
                        long outputs = left < 0 ? inputs + left : inputs;
                        Tensor mask = torch.ones([B, inputs], ScalarType.Int64);
                        if (inputs > 2) mask[1].narrow(0, 1, 2).zero_();
                        foreach (Tensor? hidden in new[] { null, mask })
                        {
                            var settings = new ConvolutionSettings(left, dilation, alternating, hidden) { Outputs = outputs };
                            Tensor? bias = hidden is null ? KernelSets.Normal(3, ScalarType.Float32, 0, 1, width) : null;
                            Tensor x = KernelSets.Normal(1, type, 0, 1, B, inputs, width);
                            Tensor weights = each ? KernelSets.Normal(2, ScalarType.Float32, 0, 1, B, outputs, rows, taps) : KernelSets.Normal(2, ScalarType.Float32, 0, 1, rows, taps);
                            KernelSets.Check(
                                set, $"{inputs} x {width}, {rows} rows of {taps}, each {each}, alternating {alternating}, masked {hidden is not null} {type}",
                                (given, _) => [given[0].ConvolveTime(given[1], given[2], settings)], coarse: type == ScalarType.BFloat16, x, weights, bias);
                        }
                    }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Sums_depend_neither_on_threads_nor_on_rows_beside_nor_on_padding_behind(string set)
    {
        using IDisposable _ = KernelSets.UseKernels(set);
        const long B = 4, T = 300, C = 48;
        Tensor x = KernelSets.Normal(1, ScalarType.Float32, 0, 1, B, T, C), shared = KernelSets.Normal(2, ScalarType.Float32, 0, 1, 6, 5);
        Tensor own = KernelSets.Normal(2, ScalarType.Float32, 0, 1, B, T, 6, 5), weight = KernelSets.Normal(4, ScalarType.Float32, 0, 1, B, T, C);
        byte[][] Computed(Tensor given, Tensor taps, Tensor factor, Tensor? mask = null)
        {
            (Tensor leaf, Tensor rows) = (given.clone().requires_grad_(true), taps.clone().requires_grad_(true));
            Tensor y = leaf.ConvolveTime(rows, null, new ConvolutionSettings(2, Mask: mask));
            Segment.Backward((y * factor).sum());
            return [y.detach().ToBytes(), leaf.grad!.ToBytes(), rows.grad!.ToBytes()];
        }
        foreach (Tensor taps in new[] { shared, own })
        {
            Engine.Threads = 1;
            byte[][] one = Computed(x, taps, weight);
            Engine.Threads = 3;
            Assert.Equal(one, Computed(x, taps, weight));
            Tensor Row(Tensor tensor) => tensor.narrow(0, 2, 1).contiguous();
            byte[][] alone = Computed(Row(x), taps.Dimensions == 4 ? Row(taps) : taps, Row(weight));
            Assert.Equal(alone[0], one[0][(int)(2 * T * C * 4)..(int)(3 * T * C * 4)]);
            Assert.Equal(alone[1], one[1][(int)(2 * T * C * 4)..(int)(3 * T * C * 4)]);
        }
        // Hidden tokens behind the end add zeros to the sums, which stay as they are.
        Tensor longer = torch.cat([x, torch.ones([B, 200, C])], 1), longerWeight = torch.cat([weight, torch.zeros([B, 200, C])], 1);
        Tensor seen = torch.cat([torch.ones([B, T]), torch.zeros([B, 200])], 1);
        Assert.Equal(Computed(x, shared, weight)[2], Computed(longer, shared, longerWeight, seen)[2]);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Gradients_are_computed_only_where_they_are_wanted(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor x = KernelSets.Normal(1, ScalarType.Float32, 0, 1, 2, 9, 8), taps = KernelSets.Normal(2, ScalarType.Float32, 0, 1, 2, 3);
        var settings = new ConvolutionSettings(1);
        Assert.False(x.ConvolveTime(taps, null, settings).requires_grad);
        Tensor own = taps.clone().requires_grad_(true), leaf = x.clone().requires_grad_(true);
        Segment.Backward(x.ConvolveTime(own, null, settings).sum());
        Segment.Backward(leaf.ConvolveTime(taps, null, settings).sum());
        Assert.NotNull(own.grad);
        Assert.NotNull(leaf.grad);
        Assert.True(x.grad is null && taps.grad is null);
    }
}
