using System.Runtime.CompilerServices;
using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>What a segment keeps, for how long, and what comes out when its backward pass goes wrong.</summary>
[Collection(ProcessWide.Name)]
public class SegmentLifetimeTests
{
    public static TheoryData<string> Sets => KernelSets.All;

    public static TheoryData<string> Kernels => [.. KernelSets.WithKernels];

    [Theory]
    [MemberData(nameof(Kernels))]
    public void A_second_gradient_is_refused_with_a_sentence(string set)
    {
        using IDisposable _ = KernelSets.UseKernels(set);
        using DisposeScope scope = torch.NewDisposeScope();
        var layers = new SegmentLayers();
        Tensor x = layers.Input.requires_grad_(true), y = Segment.Run(layers.Forward, x).sum();
        y.backward([torch.ones([])], retain_graph: true);
        byte[] first = x.grad!.ToBytes();
        var error = Assert.Throws<EngineException>(() => Segment.Backward(y));
        Assert.Contains("asked for twice", error.Message, StringComparison.Ordinal);
        Assert.Equal(first, x.grad!.ToBytes());
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void What_goes_wrong_on_the_way_back_surfaces_as_itself(string set)
    {
        using IDisposable _ = KernelSets.UseKernels(set);
        using DisposeScope scope = torch.NewDisposeScope();
        var layers = new SegmentLayers();
        Tensor x = layers.Input.requires_grad_(true);
        Tensor y = Segment.Run(input =>
        {
            Tensor normed = layers.Norm(input);
            Tape.Current!.Add(() => throw new InvalidTimeZoneException("thrown on the way back"));
            return layers.Linear(normed);
        }, x).sum();
        var error = Assert.Throws<InvalidTimeZoneException>(() => Segment.Backward(y));
        Assert.Equal("thrown on the way back", error.Message);
        // libtorch's own errors stay libtorch's, whatever went wrong before.
        Assert.Throws<System.Runtime.InteropServices.ExternalException>(() => Segment.Backward(torch.ones(2)));
        Segment.Backward(Segment.Run(layers.Forward, x).sum());
        Assert.NotNull(x.grad);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Nothing_lives_on_after_forward_and_backward_in_a_scope(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        using DisposeScope outer = torch.NewDisposeScope();
        var layers = new SegmentLayers();
        Tensor input = layers.Input.requires_grad_(true);
        void Step(Func<Tensor, Tensor> run)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            Segment.Backward(run(input).square().sum());
            input.grad = null;
            foreach (Tensor parameter in layers.Parameters) parameter.grad = null;
        }
        var wrong = new List<string>();
        foreach ((string name, Func<Tensor, Tensor> run) in new (string, Func<Tensor, Tensor>)[]
        {
            ("segment", x => Segment.Run(layers.Forward, x)),
            ("norm", layers.Norm),
            ("linear", layers.Linear),
            ("attention", layers.Attend),
            ("dropout", x => x.FusedDropout(new DropoutDraw(0.5, 1))),
            ("residual norm, both", x =>
            {
                (Tensor sum, Tensor normed) = layers.Add(x, x * 1);
                return sum + normed;
            }),
            ("residual norm, normed", x => layers.Add(x, x * 1).Normed),
            ("residual norm, sum", x => layers.Add(x, x * 1).Sum),
            ("layers", layers.Forward),
            ("checkpoint", x => Segment.Checkpoint(given => [layers.Forward(given[0]!)], x)[0]),
            ("composed", x => Segment.Run(given => layers.Norm(Segment.Compose(inputs => inputs[0] * inputs[0], layers.Norm(given))), x)),
            ("composed, parameters only", x => Segment.Run(given => Segment.Compose(inputs => inputs[0] * layers.Parameters[0], given), x.detach())),
            ("loose ends", x => layers.Norm(Segment.Run(given => [layers.Norm(given[0]!), layers.Linear(given[0]!)], x)[0])),
        })
        {
            Step(run);
            long before = Settled();
            for (int i = 0; i < 10; i++) Step(run);
            long after = Settled();
            if (before != after) wrong.Add($"{set} {name}: {before} tensors, {after} after 10 steps");
        }
        Assert.Empty(wrong);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Without_a_backward_pass_the_garbage_collector_finds_everything(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        using DisposeScope outer = torch.NewDisposeScope();
        var layers = new SegmentLayers();
        Tensor input = layers.Input.requires_grad_(true);
        Forget(layers, input);
        long before = Settled();
        for (int i = 0; i < 10; i++) Forget(layers, input);
        Assert.Equal(before, Settled());
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Disposing_the_weights_leaves_nothing(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Live(set);
        long before = Settled();
        Live(set);
        Assert.Equal(before, Settled());
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Where_no_gradient_is_wanted_nothing_is_recorded(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        using DisposeScope outer = torch.NewDisposeScope();
        var layers = new SegmentLayers();
        Tensor input = layers.Input.requires_grad_(true);
        byte[] expected = Segment.Run(layers.Forward, input).detach().ToBytes();
        long before = Settled();
        using (DisposeScope scope = torch.NewDisposeScope())
        using (torch.no_grad())
        {
            Tensor y = Segment.Run(layers.Forward, input);
            Assert.False(y.requires_grad);
            Assert.Equal(expected, y.ToBytes());
        }
        Assert.Equal(before, Settled());
        // Inside a segment too: what is computed without gradients is a constant there.
        Tensor mixed = Segment.Run(given =>
        {
            Tensor constant;
            using (torch.no_grad()) constant = layers.Norm(given);
            return layers.Add(given, constant).Sum;
        }, input);
        Segment.Backward(mixed.sum());
        Assert.All(input.grad!.ToArray<float>(), value => Assert.Equal(1f, value));
        Assert.Null(layers.Parameters[0].grad);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Forget(SegmentLayers layers, Tensor input)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        Assert.True(Segment.Run(layers.Forward, input).sum().requires_grad);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Live(string set)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        var layers = new SegmentLayers();
        Tensor x = layers.Input.requires_grad_(true);
        Segment.Backward(Segment.Run(layers.Forward, x).sum());
        Assert.True(x.grad!.AllFinite(), set);
    }

    // libtorch frees a function only when nothing managed points at it any more, and what it held then waits for the next collection.
    private static long Settled()
    {
        for (int i = 0; i < 4; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        return Engine.LiveTensors;
    }
}
