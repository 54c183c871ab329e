using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>A stretch of layers as one function of libtorch's autograd: its gradients are those of the layers one by one.</summary>
[Collection(ProcessWide.Name)]
public class SegmentTests : IDisposable
{
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
    public void A_segments_gradients_are_those_of_its_layers_one_by_one(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        (byte[][] inOne, byte[][] alone) = (Bits((layers, input) => Segment.Run(layers.Forward, input)), Bits((layers, input) => layers.Forward(input)));
        for (int i = 0; i < inOne.Length; i++) Assert.True(inOne[i].AsSpan().SequenceEqual(alone[i]), $"{set}: tensor {i}");
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void A_segments_gradients_are_those_of_the_twins(string set)
    {
        var layers = new SegmentLayers();
        Tensor?[] given = [layers.Input, .. layers.Parameters];
        KernelSets.Check(set, "chain", (leaves, type) => [Segment.Run(inputs => [new SegmentLayers(leaves, type).Forward(inputs[0]!)], leaves[0])[0]], coarse: false, given);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Inputs_that_need_no_gradient_get_none(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        var layers = new SegmentLayers();
        Tensor plain = layers.Input, wanted = Leaf(KernelSets.Normal(5, ScalarType.Float32, 0, 1, 2, 7, 8));
        Tensor[] Body(Tensor?[] inputs) => [layers.Add(inputs[0]!, inputs[2]!).Normed];
        Segment.Backward(Segment.Run(Body, plain, null, wanted)[0].sum());
        Assert.Null(plain.grad);
        Assert.NotNull(wanted.grad);
        // With parameters only, and with nothing at all.
        Segment.Backward(Segment.Run(layers.Forward, plain).sum());
        Assert.All(layers.Parameters, parameter => Assert.NotNull(parameter.grad));
        Assert.False(Segment.Run(input => input.FusedDropout(new DropoutDraw(0.5, Key)), plain).requires_grad);
        // A body that only passes its input on.
        Assert.Same(wanted, Segment.Run((Tensor input) => input, wanted));
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Several_outputs_may_be_used_one_or_all_of_them_or_none(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        byte[] Gradient(Func<Tensor[], Tensor> loss, bool inSegment)
        {
            var layers = new SegmentLayers();
            Tensor x = Leaf(layers.Input), y = Leaf(KernelSets.Normal(5, ScalarType.Float32, 0, 1, 2, 7, 8));
            Tensor[] Body(Tensor?[] inputs)
            {
                (Tensor sum, Tensor normed) = layers.Add(inputs[0]!, inputs[1]!);
                return [sum, normed, layers.Linear(normed)];
            }
            Segment.Backward(loss(inSegment ? Segment.Run(Body, x, y) : Body([x, y])));
            return [.. x.grad!.ToBytes(), .. y.grad!.ToBytes(), .. layers.Parameters.SelectMany(parameter => parameter.grad?.ToBytes() ?? [1])];
        }
        foreach (Func<Tensor[], Tensor> loss in new Func<Tensor[], Tensor>[]
        {
            outputs => outputs[0].sum(), outputs => outputs[1].sum(), outputs => outputs[2].sum(), outputs => (outputs[2] * outputs[2]).sum() + outputs[0].sum(),
            outputs => outputs[0].square().sum() + outputs[1].square().sum() + outputs[2].square().sum(),
        })
            Assert.Equal(Gradient(loss, inSegment: false), Gradient(loss, inSegment: true));
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void A_segment_in_a_segment_is_part_of_it(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        byte[][] flat = Bits((layers, input) => Segment.Run(layers.Forward, input)), nested = Bits((layers, input) => Segment.Run(outer => Segment.Run(layers.Forward, outer), input));
        for (int i = 0; i < flat.Length; i++) Assert.Equal(flat[i], nested[i]);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void A_checkpoint_gives_the_same_bits(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        byte[][] plain = Bits((layers, input) => Segment.Run(layers.Forward, input));
        static Tensor Saved(SegmentLayers layers, Tensor input) => Segment.Checkpoint(inputs => [layers.Forward(inputs[0]!)], input)[0];
        byte[][] outside = Bits(Saved), inside = Bits((layers, input) => Segment.Run(given => Saved(layers, given), input));
        for (int i = 0; i < plain.Length; i++) Assert.True(plain[i].AsSpan().SequenceEqual(outside[i]) && plain[i].AsSpan().SequenceEqual(inside[i]), $"{set}: tensor {i}");
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Composed_operators_give_their_gradient_and_that_of_what_only_they_read(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor gate = Leaf(KernelSets.Normal(6, ScalarType.Float32, 0, 1, 8));
        (Tensor Value, Tensor Gate, byte[] Input) Run(bool inSegment)
        {
            var layers = new SegmentLayers();
            gate.grad = null;
            Tensor x = Leaf(layers.Input);
            Tensor Body(Tensor input)
            {
                Tensor normed = layers.Norm(input);
                Tensor gated = inSegment ? Segment.Compose(inputs => inputs[0] * gate.sigmoid() + inputs[1], normed, input) : normed * gate.sigmoid() + input;
                return layers.Norm(gated);
            }
            Tensor y = inSegment ? Segment.Run(Body, x) : Body(x);
            Segment.Backward((y * y * y).sum());
            return (y.detach(), gate.grad!.clone(), x.grad!.ToBytes());
        }
        (Tensor expected, Tensor expectedGate, byte[] expectedInput) = Run(inSegment: false);
        (Tensor y, Tensor gradient, byte[] input) = Run(inSegment: true);
        Assert.Equal(expected.ToBytes(), y.ToBytes());
        Assert.Equal(expectedGate.ToBytes(), gradient.ToBytes());
        KernelSets.Close(set, Tensors.FromBytes(input, [2, 7, 8], ScalarType.Float32), Tensors.FromBytes(expectedInput, [2, 7, 8], ScalarType.Float32).to(ScalarType.Float64), coarse: false);
        // Nothing but the parameter wants a gradient.
        gate.grad = null;
        Segment.Backward(Segment.Run(given => Segment.Compose(inputs => inputs[0] * gate, given), torch.ones(2, 8)).sum());
        Assert.Equal(Enumerable.Repeat(2f, 8), gate.grad!.ToArray<float>());
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void An_operator_between_two_layers_is_refused_inside_and_right_outside(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        var layers = new SegmentLayers();
        Tensor x = Leaf(layers.Input);
        Tensor Mixed(SegmentLayers given, Tensor input) => given.Norm(given.Norm(input) * 2);
        // Outside, layers and operators mix freely.
        KernelSets.Check(set, "mixed", (leaves, type) => [Mixed(new SegmentLayers(leaves, type), leaves[0])], coarse: false, [layers.Input.detach(), .. layers.Parameters]);
        Assert.SkipWhen(set == KernelSet.None, "without kernels a segment is nothing but its body");
        var error = Assert.Throws<EngineException>(() => Segment.Run(input => Mixed(layers, input), x));
        Assert.Contains("Segment.Compose", error.Message, StringComparison.Ordinal);
        // Also as the last thing in it.
        error = Assert.Throws<EngineException>(() => Segment.Run(input => layers.Norm(input) * 2, x));
        Assert.Contains("Segment.Compose", error.Message, StringComparison.Ordinal);
        // The next one is as if nothing had happened.
        Segment.Backward(Segment.Run(layers.Forward, x).sum());
        Assert.NotNull(x.grad);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void A_recorded_result_is_not_changed_in_place(string set)
    {
        Assert.SkipWhen(set == KernelSet.None, "without kernels nothing is recorded");
        using IDisposable _ = KernelSets.Use(set);
        var layers = new SegmentLayers();
        Tensor x = Leaf(layers.Input);
        Assert.ThrowsAny<Exception>(() => Segment.Run(input => layers.Linear(layers.Norm(input).mul_(2)), x));
        Assert.ThrowsAny<Exception>(() => Segment.Run(input => layers.Norm(input).add_(1), x));
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Gradients_without_libtorchs_autograd_are_those_of_backward(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        SegmentLayers backward = new(), direct = new();
        Segment.Backward(Segment.Run(backward.Forward, backward.Input).sum());
        double Direct() => Segment.AddGradients(() => Segment.Compose(hidden => hidden[0].sum(), direct.Forward(direct.Input)), torch.CPU);
        double loss = Direct();
        Assert.Equal(backward.Forward(backward.Input).sum().Number(), loss, 1e-4 * Math.Abs(loss));
        for (int i = 0; i < direct.Parameters.Length; i++) Assert.Equal(backward.Parameters[i].grad!.ToBytes(), direct.Parameters[i].grad!.ToBytes());
        Direct();
        for (int i = 0; i < direct.Parameters.Length; i++)
            Assert.True(direct.Parameters[i].grad!.ValuesEqual(backward.Parameters[i].grad! * 2), $"{set}: tensor {i} is not added up");
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void A_loss_that_is_not_finite_adds_no_gradients_and_leaves_nothing_behind(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        var layers = new SegmentLayers();
        long before = Engine.LiveTensors;
        using (torch.NewDisposeScope())
            Assert.True(double.IsNaN(Segment.AddGradients(() => Segment.Compose(hidden => hidden[0].sum() * double.NaN, layers.Forward(layers.Input)), torch.CPU)));
        Assert.All(layers.Parameters, parameter => Assert.Null(parameter.grad));
        Assert.InRange(Engine.LiveTensors, 0, before);
    }

    private static Tensor Leaf(Tensor tensor) => tensor.requires_grad_(true);

    private static byte[][] Bits(Func<SegmentLayers, Tensor, Tensor> run)
    {
        var layers = new SegmentLayers();
        Tensor x = Leaf(layers.Input);
        Tensor y = run(layers, x);
        Segment.Backward((y * y).sum());
        return [y.detach().ToBytes(), x.grad!.ToBytes(), .. layers.Parameters.Select(parameter => parameter.grad!.ToBytes())];
    }
}
