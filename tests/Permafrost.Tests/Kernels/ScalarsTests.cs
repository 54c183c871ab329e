using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>Numbers that are handed to libtorch stay there until it has read them, whatever other threads do.</summary>
[Collection(ProcessWide.Name)]
public class ScalarsTests
{
    private const int Rounds = 20_000;

    // With TorchSharp's own operators about one round in a thousand throws here, or gives another number.
    [Fact]
    public void A_garbage_collection_during_a_call_changes_nothing()
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
            using var outer = torch.NewDisposeScope();
            Tensor whole = torch.ones(20_000, ScalarType.Int64), real = torch.ones(20_000);
            for (int round = 0; round < Rounds; round++)
            {
                using var scope = torch.NewDisposeScope();
                Assert.Equal(6, whole.Plus(5)[0].item<long>());
                Assert.Equal(3f, real.Times(3)[0].item<float>());
                Assert.Equal(2f, real.Plus(real)[0].item<float>());
                Assert.Equal(0, whole.eq(7.Hold())[0].to(ScalarType.Int64).item<long>());
            }
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
