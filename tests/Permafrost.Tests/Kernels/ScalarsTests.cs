using System.Runtime.InteropServices;
using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>Numbers that are handed to libtorch stay there until it has read them, whatever other threads do.</summary>
[Collection(ProcessWide.Name)]
public class ScalarsTests
{
    // With TorchSharp's own operators about one round in a thousand throws here, or gives another number.
    [Fact]
    public void A_garbage_collection_during_a_call_changes_nothing()
    {
        using var outer = torch.NewDisposeScope();
        Tensor whole = torch.ones(20_000, ScalarType.Int64), real = torch.ones(20_000);
        WhileCollecting(20_000, _ =>
        {
            using var scope = torch.NewDisposeScope();
            Assert.Equal(6, whole.Plus(5)[0].item<long>());
            Assert.Equal(3f, real.Times(3)[0].item<float>());
            Assert.Equal(2f, real.Plus(real)[0].item<float>());
            Assert.Equal(0, whole.eq(7.Hold())[0].to(ScalarType.Int64).item<long>());
        });
    }

    // In no scope, so that nothing but the call itself holds what it reads.
    [Fact]
    public void Tensors_that_no_one_else_holds_are_not_freed_while_a_call_reads_them() => WhileCollecting(1000, round =>
    {
        float i = round;
        Assert.Equal([i, i + 2, i + 1, i + 3], MemoryMarshal.Cast<byte, float>(Turned([i, i + 1, i + 2, i + 3], 2, 2).ToBytes()).ToArray());
        Assert.Equal([i, i + 2, i + 1, i + 3], Turned([i, i + 1, i + 2, i + 3], 2, 2).ToArray<float>());
        Assert.Equal(i, Tensors.Scalar(i).Number());
        Assert.Equal(round, Tensors.Scalar(round).Integer());
        Assert.True(Tensors.From([i, 1]).AllFinite() && Tensors.From([i, 1]).ValuesEqual(Tensors.From([i, 1])));

        // (i, i + 1) times a matrix whose rows are (1, 2) and (3, 4), which lies in memory as its columns.
        Tensor linear = Tensors.From([i, i + 1], 1, 2).FusedLinear(Turned([1, 3, 2, 4], 2, 2), Tensors.From([10f, 20]), 2, FusedActivation.None, ScalarType.Float32);
        Assert.Equal([4 * i + 13, 6 * i + 24], linear.ToArray<float>());
        // Rows large enough for memory that is kept for the next tensor (Workspace): a sum of ones.
        linear = Tensors.From(Enumerable.Repeat(i, 8192).ToArray(), 1024, 8).FusedLinear(Tensors.From(Enumerable.Repeat(1f, 64).ToArray(), 8, 8), null, 8, FusedActivation.None, ScalarType.Float32);
        Assert.All(linear.ToArray<float>(), value => Assert.Equal(8 * i, value));

        // The mean of i and i + 2 is i + 1, their deviation 1.
        Tensor norm = Turned([i, i + 2], 2, 1).FusedNorm(Tensors.From([2f, 3]), Tensors.From([i, i]), 1e-12, ScalarType.Float32);
        Assert.Equal([i - 2, i + 3], norm.ToArray<float>().Select(value => MathF.Round(value, 1)));

        // Queries and keys of zeros: every token gets the mean of the values, (i + 1, 2).
        Tensor attention = Tensors.From([0, 0, 0, 0, i, 1, 0, 0, 0, 0, i + 2, 3], 1, 2, 6).SelfAttention(new AttentionSettings(1, 1, Causal: false));
        Assert.Equal([i + 1, 2, i + 1, 2], attention.ToArray<float>());
    });

    // Seen as its transpose.
    private static Tensor Turned(float[] data, long rows, long columns)
    {
        using Tensor whole = Tensors.From(data, rows, columns);
        return whole.transpose(0, 1);
    }

    private static void WhileCollecting(int rounds, Action<int> work)
    {
        using var stop = new CancellationTokenSource();
        var collector = new Thread(() =>
        {
            while (!stop.IsCancellationRequested)
            {
                // Numbers of another type and value, which take the place of what was freed.
                for (int i = 0; i < 200; i++) { Scalar other = i + 0.5; }
                GC.Collect(0);
                GC.WaitForPendingFinalizers();
            }
        });
        collector.Start();
        try
        {
            for (int round = 0; round < rounds; round++) work(round);
        }
        finally
        {
            stop.Cancel();
            collector.Join();
        }
    }

    [Fact]
    public void The_operations_are_those_of_TorchSharp()
    {
        using var scope = torch.NewDisposeScope();
        Tensor whole = Tensors.From([1L, 2, 3]), real = Tensors.From([1f, 2, 3]);
        Assert.Equal([-1L, 0, 1], whole.Plus(-2).ToArray<long>());
        Assert.Equal([0.5f, 1, 1.5f], real.Times(0.5).ToArray<float>());
        Assert.Equal([2f, 4, 6], real.Plus(real).ToArray<float>());
        Assert.Equal([1.5f, 2.5f, 3.5f], real.clone().Increase(0.5).ToArray<float>());
        Assert.Equal([2f, 4, 6], real.clone().Increase(real).ToArray<float>());
        Assert.Equal([4L, 5, 6], Scalars.Range(4, 3, torch.CPU).ToArray<long>());
        Assert.Equal((ScalarType.Int64, ScalarType.Float64), (7L.Hold().Type, 7f.Hold().Type));
        // Many at once, more than any call takes.
        Scalar[] some = [.. Enumerable.Range(0, 60).Select(i => i.Hold())];
        Assert.Equal(Enumerable.Range(0, 60), some.Select(number => number.ToInt32()));
    }
}
