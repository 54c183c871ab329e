using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>permafrost::linear, ::pack and ::unpack.</summary>
[Collection(ProcessWide.Name)]
public class FusedLinearTests : IDisposable
{
    private static readonly FusedActivation[] Activations = Enum.GetValues<FusedActivation>();

    // Shape of x, and what comes out: nothing is a multiple of a vector, a tile or a panel, or everything is.
    private static readonly (long[] X, long Outputs)[] Shapes =
        [([1, 1, 33], 50), ([2, 7, 33], 50), ([65, 16], 48), ([130, 40], 13), ([33], 50), ([0, 33], 50), ([5, 1], 1), ([2, 3, 4, 100], 97), ([9, 64], 144)];

    private readonly DisposeScope scope = torch.NewDisposeScope();

    public static TheoryData<string> Sets => KernelSets.All;

    public void Dispose()
    {
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void With_float32_weights_results_and_gradients_are_libtorchs(string set)
    {
        foreach ((long[] shape, long outputs) in Shapes)
            foreach (FusedActivation activation in Activations)
                foreach (bool biased in new[] { true, false })
                {
                    Tensor weight = KernelSets.Normal(2, ScalarType.Float32, 0, 1 / Math.Sqrt(shape[^1]), shape[^1], outputs);
                    Tensor? bias = biased ? KernelSets.Normal(3, ScalarType.Float32, 0, 0.5, outputs) : null;
                    Tensor[] Map(Tensor[] inputs, ScalarType? type) => [inputs[0].FusedLinear(inputs[1], inputs[2], outputs, activation, type ?? ScalarType.Float32)];
                    KernelSets.Check(set, $"{TensorExtensions.FormatShape(shape)} to {outputs} {activation}", Map, coarse: false, KernelSets.Normal(1, ScalarType.Float32, 0, 1, shape), weight, bias);
                }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Types_of_input_and_result_may_differ(string set)
    {
        foreach (ScalarType input in new[] { ScalarType.Float32, ScalarType.BFloat16 })
            foreach (ScalarType result in new[] { ScalarType.Float32, ScalarType.BFloat16 })
            {
                Tensor[] Map(Tensor[] inputs, ScalarType? type) => [inputs[0].FusedLinear(inputs[1], inputs[2], 50, FusedActivation.GeluTanh, type ?? result)];
                KernelSets.Check(set, $"{input} to {result}", Map, coarse: result == ScalarType.BFloat16, KernelSets.Normal(1, input, 0, 1, 7, 33), KernelSets.Normal(2, ScalarType.Float32, 0, 0.2, 33, 50), KernelSets.Normal(3, ScalarType.Float32, 0, 1, 50));
                using IDisposable _ = KernelSets.Use(set);
                Assert.Equal(result, KernelSets.Normal(1, input, 0, 1, 7, 33).FusedLinear(torch.ones([33, 50]), null, 50, FusedActivation.None, result).dtype);
            }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void A_bfloat16_weight_that_is_not_packed_multiplies_too(string set)
    {
        Tensor weight = KernelSets.Normal(2, ScalarType.BFloat16, 0, 0.2, 33, 50);
        Tensor[] Map(Tensor[] inputs, ScalarType? type) => [inputs[0].FusedLinear(type is null ? weight : weight.to(ScalarType.Float64), inputs[1], 50, FusedActivation.GeluTanh, type ?? ScalarType.BFloat16)];
        KernelSets.Check(set, "unpacked", Map, coarse: true, KernelSets.Normal(1, ScalarType.BFloat16, 0, 1, 2, 7, 33), KernelSets.Normal(3, ScalarType.Float32, 0, 1, 50));
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Float32_weights_train_while_bfloat16_flows(string set)
    {
        foreach ((long[] shape, long outputs) in Shapes)
            foreach (FusedActivation activation in Activations)
                foreach (ScalarType input in new[] { ScalarType.BFloat16, ScalarType.Float32 })
                    foreach (bool transposed in new[] { false, true })
                    {
                        // Numbers of bfloat16 in float32, so that rounding weights on the way changes nothing.
                        Tensor weight = KernelSets.Normal(2, ScalarType.BFloat16, 0, 1 / Math.Sqrt(shape[^1]), transposed ? [outputs, shape[^1]] : [shape[^1], outputs]).to(ScalarType.Float32);
                        Tensor[] Map(Tensor[] inputs, ScalarType? type) => [inputs[0].FusedLinear(transposed ? inputs[1].transpose(0, 1) : inputs[1], inputs[2], outputs, activation, type ?? ScalarType.BFloat16)];
                        KernelSets.Check(set, $"{TensorExtensions.FormatShape(shape)} {input} to {outputs} {activation}", Map, coarse: true,
                            KernelSets.Normal(1, ScalarType.BFloat16, 0, 1, shape).to(input), weight, shape[^1] % 2 == 0 ? null : KernelSets.Normal(3, ScalarType.Float32, 0, 0.5, outputs));
                    }
    }

    [Fact]
    public void With_packed_weights_results_and_gradients_are_those_of_the_rounded_numbers()
    {
        foreach (string set in KernelSets.Multiplying)
            foreach ((long[] shape, long outputs) in Shapes)
                foreach (FusedActivation activation in Activations)
                    foreach ((ScalarType input, ScalarType result) in new[] { (ScalarType.BFloat16, ScalarType.BFloat16), (ScalarType.BFloat16, ScalarType.Float32), (ScalarType.Float32, ScalarType.Float32) })
                    {
                        Tensor weight = KernelSets.Normal(2, ScalarType.BFloat16, 0, 1 / Math.Sqrt(shape[^1]), shape[^1], outputs);
                        Tensor packed = weight.to(ScalarType.Float32).Pack();
                        Tensor[] Map(Tensor[] inputs, ScalarType? type) => [inputs[0].FusedLinear(type is null ? packed : weight.to(ScalarType.Float64), inputs[1], outputs, activation, type ?? result)];
                        KernelSets.Check(set, $"{TensorExtensions.FormatShape(shape)} {input} to {outputs} {result} {activation}", Map, coarse: true,
                            KernelSets.Normal(1, ScalarType.BFloat16, 0, 1, shape).to(input), shape[^1] % 2 == 0 ? null : KernelSets.Normal(3, ScalarType.Float32, 0, 0.5, outputs));
                    }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Some_outputs_alone_are_those_of_the_whole_map(string set)
    {
        // Within a panel of 48, across panels, from the start, to the end, one, all.
        foreach ((long outputs, long first, long count) in new[] { (50L, 0L, 50L), (50, 49, 1), (144, 48, 96), (144, 0, 48), (300, 100, 200), (300, 47, 2), (300, 0, 100), (13, 3, 5) })
            foreach (long inputs in new[] { 33L, 64 })
                foreach (bool biased in new[] { true, false })
                {
                    Tensor x = KernelSets.Normal(1, ScalarType.BFloat16, 0, 1, 2, 7, inputs);
                    Tensor rounded = KernelSets.Normal(2, ScalarType.BFloat16, 0, 1 / Math.Sqrt(inputs), inputs, outputs).to(ScalarType.Float32);
                    Tensor? bias = biased ? KernelSets.Normal(3, ScalarType.Float32, 0, 0.5, outputs) : null;
                    string name = $"{first} to {first + count} of {outputs}";
                    Tensor[] Part(Tensor x, Tensor weight, Tensor? bias, ScalarType? type, ScalarType result) =>
                        type is { } wide ? [x.FusedLinear(weight.to(wide), bias, outputs, FusedActivation.None, wide).narrow(-1, first, count)] : [x.FusedLinearPart(weight, bias, outputs, first, count, result)];
                    KernelSets.Check(set, $"{name} float32", (given, type) => Part(given[0], given[1], given[2], type, ScalarType.Float32), coarse: false, x.to(ScalarType.Float32), rounded, bias);
                    KernelSets.Check(set, $"{name} trained", (given, type) => Part(given[0], given[1], given[2], type, ScalarType.BFloat16), coarse: true, x, rounded, bias);
                    KernelSets.Check(set, $"{name} bfloat16", (given, type) => Part(given[0], type is null ? rounded.to(ScalarType.BFloat16) : rounded, given[1], type, ScalarType.BFloat16), coarse: true, x, bias);
                    if (!KernelSets.Multiplying.Contains(set)) continue;
                    Tensor packed = rounded.Pack();
                    KernelSets.Check(set, $"{name} packed", (given, type) => Part(given[0], type is null ? packed : rounded, given[1], type, ScalarType.BFloat16), coarse: true, x, bias);
                }
    }

    [Fact]
    public void Packed_products_sum_in_float32()
    {
        // bfloat16 numbers in, float32 out: only the sum's order differs from float64.
        foreach (string set in KernelSets.Multiplying)
        {
            using IDisposable _ = KernelSets.Use(set);
            Tensor x = KernelSets.Normal(1, ScalarType.BFloat16, 0, 1, 65, 301), weight = KernelSets.Normal(2, ScalarType.BFloat16, 0, 1, 301, 130);
            Tensor expected = x.to(ScalarType.Float64).matmul(weight.to(ScalarType.Float64));
            KernelSets.Close(set, x.FusedLinear(weight.to(ScalarType.Float32).Pack(), null, 130, FusedActivation.None, ScalarType.Float32), expected, coarse: false);
        }
    }

    [Fact]
    public void Packing_rounds_to_bfloat16_in_both_layouts()
    {
        if (KernelSets.Multiplying.Length == 0) return;
        // Ties, the largest and infinite numbers among normal ones. (Subnormal ones count as zeros in products, and may be packed as such.)
        float[] special = [1 + 1f / 256, 1 + 3f / 256, -1 - 1f / 256, float.MaxValue, float.PositiveInfinity, float.NegativeInfinity, -0f, 3.3895314e38f];
        foreach ((long inputs, long outputs) in new[] { (33L, 50L), (16L, 48L), (1L, 1L), (100L, 97L), (5L, 49L), (64L, 16L) })
        {
            Tensor weight = KernelSets.Normal(4, ScalarType.Float32, 0, 1, inputs, outputs);
            if (weight.NumberOfElements > special.Length) weight.view(-1).narrow(0, 0, special.Length).copy_(Tensors.From(special));
            byte[] expected = weight.to(ScalarType.BFloat16).to(ScalarType.Float32).ToBytes();
            Assert.Equal(expected, weight.Pack().Unpack(inputs, outputs).ToBytes());
            Tensor other = weight.transpose(0, 1);
            Assert.Equal(expected, other.Pack(transposed: true).Unpack(inputs, outputs).ToBytes());
            Assert.Equal(expected, other.contiguous().Pack(transposed: true).Unpack(inputs, outputs).ToBytes());
            Assert.Equal(weight.Pack().ToBytes(), other.contiguous().Pack(transposed: true).ToBytes());
            Assert.Equal(ScalarType.BFloat16, weight.Pack().dtype);
        }
        Assert.All(torch.full([3, 5], double.NaN).Pack().Unpack(3, 5).ToArray<float>(), value => Assert.True(float.IsNaN(value)));
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Memory_without_order_gives_what_a_copy_gives(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor[] weights = [KernelSets.Normal(2, ScalarType.Float32, 0, 0.2, 33, 50), KernelSets.Normal(2, ScalarType.Float32, 0, 0.2, 50, 33).transpose(0, 1), .. KernelSets.Multiplying.Contains(set) ? new[] { KernelSets.Normal(2, ScalarType.Float32, 0, 0.2, 33, 50).Pack() } : []];
        Tensor large = KernelSets.Normal(1, ScalarType.Float32, 0, 1, 40, 7, 4);
        large.requires_grad = true;
        Tensor row = KernelSets.Normal(5, ScalarType.Float32, 0, 1, 1, 1, 33);
        row.requires_grad = true;
        foreach (Tensor weight in weights)
            foreach (Tensor view in new[] { large.permute(2, 1, 0).narrow(2, 3, 33), row.expand(4, 7, 33) })
            {
                Tensor y = view.FusedLinear(weight, null, 50, FusedActivation.Gelu, ScalarType.Float32);
                Tensor copy = view.detach().contiguous();
                copy.requires_grad = true;
                Tensor expected = copy.FusedLinear(weight, null, 50, FusedActivation.Gelu, ScalarType.Float32);
                // libtorch's own operators may take other paths for other strides.
                if (set == KernelSet.None) KernelSets.Close(set, y.detach(), expected.detach(), coarse: false);
                else Assert.True(y.ValuesEqual(expected));
                expected.sum().backward();
                (large.grad, row.grad) = (null, null);
                y.sum().backward();  // the gradient of a sum is a single number, expanded
                Tensor gradient = large.grad is { } whole ? whole.permute(2, 1, 0).narrow(2, 3, 33) : row.grad!;
                Tensor wanted = large.grad is null ? copy.grad!.sum([0, 1], true) : copy.grad!;
                KernelSets.Close(set, gradient, wanted.to(ScalarType.Float64), coarse: false);
            }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Gradients_are_computed_only_where_they_are_wanted(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor x = KernelSets.Normal(1, ScalarType.Float32, 0, 1, 7, 33), weight = KernelSets.Normal(2, ScalarType.Float32, 0, 0.2, 33, 50), bias = torch.zeros([50]);
        Assert.False(x.FusedLinear(weight, bias, 50, FusedActivation.Gelu, ScalarType.Float32).requires_grad);
        bias.requires_grad = true;
        foreach (Tensor one in KernelSets.Multiplying.Contains(set) ? new[] { weight, weight.Pack() } : [weight])
        {
            bias.grad = null;
            x.FusedLinear(one, bias, 50, FusedActivation.None, ScalarType.Float32).sum().backward();
            Assert.Equal(Enumerable.Repeat(7f, 50), bias.grad!.ToArray<float>());
            Assert.Null(x.grad);
        }
        using (torch.no_grad()) Assert.False(x.FusedLinear(weight, bias, 50, FusedActivation.Gelu, ScalarType.Float32).requires_grad);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void What_is_no_number_stays_none_and_stays_in_its_row(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor x = KernelSets.Normal(1, ScalarType.Float32, 0, 1, 9, 33);
        x.narrow(0, 4, 1).narrow(1, 32, 1).fill_(float.NaN);
        Tensor weight = KernelSets.Normal(2, ScalarType.Float32, 0, 0.2, 33, 50);
        foreach (Tensor one in KernelSets.Multiplying.Contains(set) ? new[] { weight, weight.Pack() } : [weight])
            foreach (FusedActivation activation in Activations)
                foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
                {
                    float[] y = x.FusedLinear(one, null, 50, activation, type).to(ScalarType.Float32).ToArray<float>();
                    Assert.All(Enumerable.Range(0, y.Length), i => Assert.True(float.IsNaN(y[i]) == (i / 50 == 4), $"{activation} {type}: {y[i]} at {i}"));
                }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Infinities_pass_or_vanish_as_they_should(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor x = Tensors.From([float.PositiveInfinity, float.NegativeInfinity], 2, 1);
        foreach (Tensor weight in KernelSets.Multiplying.Contains(set) ? new[] { torch.full([1, 1], 2f), torch.full([1, 1], 2f).Pack() } : [torch.full([1, 1], 2f)])
        {
            float[] Values(FusedActivation activation) => x.FusedLinear(weight, null, 1, activation, ScalarType.Float32).ToArray<float>();
            Assert.Equal([float.PositiveInfinity, float.NegativeInfinity], Values(FusedActivation.None));
            Assert.Equal([float.PositiveInfinity, 0], Values(FusedActivation.Relu));
            if (set == KernelSet.None) continue;  // libtorch's GELU of infinity is NaN in some versions
            Assert.Equal(float.PositiveInfinity, Values(FusedActivation.Gelu)[0]);
            Assert.Equal(float.PositiveInfinity, Values(FusedActivation.GeluTanh)[0]);
        }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void The_number_of_threads_changes_no_bit(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor weight = KernelSets.Normal(2, ScalarType.Float32, 0, 0.1, 200, 300);
        int before = Engine.Threads;
        // Float32 products are libtorch's BLAS, which promises no such thing.
        if (!KernelSets.Multiplying.Contains(set) || set == KernelSet.None) return;
        try
        {
            foreach ((long rows, Tensor packed, long inputs, long outputs) in new[] { (130L, weight.Pack(), 200L, 300L), (257L, weight.narrow(1, 0, 40).contiguous().Pack(), 200L, 40L) })
            {
                var seen = new List<byte[]>();
                foreach (int threads in new[] { 1, 2, 3 })
                {
                    Engine.Threads = threads;
                    Tensor x = KernelSets.Normal(1, ScalarType.BFloat16, 0, 1, rows, inputs);
                    x.requires_grad = true;
                    Tensor y = x.FusedLinear(packed, null, outputs, FusedActivation.GeluTanh, ScalarType.BFloat16);
                    y.backward([KernelSets.Normal(3, ScalarType.BFloat16, 0, 1, rows, outputs)]);
                    seen.Add([.. y.detach().ToBytes(), .. x.grad!.ToBytes()]);
                }
                Assert.All(seen, bytes => Assert.Equal(seen[0], bytes));
            }
        }
        finally
        {
            Engine.Threads = before;
        }
    }
}
