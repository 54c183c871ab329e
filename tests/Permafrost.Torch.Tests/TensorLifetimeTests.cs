using System.Runtime.CompilerServices;

namespace Permafrost.Torch.Tests;

/// <summary>No tensor is lost, and none is freed while it is used. The count is of the whole process: nothing else may run meanwhile.</summary>
[Collection(ProcessWide.Name)]
public class TensorLifetimeTests
{
    [Fact]
    public void The_live_count_returns_to_the_baseline_after_a_scope()
    {
        long baseline = Settle();
        using (var scope = new TensorScope())
        {
            Tensor x = Tensor.Ones([3, 3]);
            x.RequiresGrad = true;
            Tensor loss = x.Matmul(x).Gelu().Softmax(-1).Sum();
            loss.Backward();
            Assert.NotNull(x.Grad);
            x.Grad = null;
            x.Chunk(3, 0);
            Assert.True(Engine.LiveTensors > baseline + 5);
        }
        Assert.Equal(baseline, Engine.LiveTensors);
    }

    [Fact]
    public void Nested_scopes_with_kept_tensors_lose_none()
    {
        long baseline = Settle();
        using (new TensorScope())
        {
            Tensor state = Tensor.Ones([8]);
            for (int i = 0; i < 50; i++)
            {
                using var scope = new TensorScope();
                state = scope.Keep((state * 1.01 + 0.5).Tanh());
            }
        }
        Assert.Equal(baseline, Engine.LiveTensors);
    }

    [Fact]
    public void Refused_calls_leave_nothing_behind()
    {
        long baseline = Settle();
        using (new TensorScope())
        {
            Tensor x = Tensor.Ones([2]);
            Assert.Throws<TorchException>(() => x.View(3));
            Assert.Throws<TorchException>(() => x.Matmul(Tensor.Ones([3])));
            Assert.Throws<TorchException>(() => Tensor.From([1f, 2, 3], 2));
            Assert.Throws<TorchException>(() => x.ToDouble());
        }
        Assert.Equal(baseline, Engine.LiveTensors);
    }

    [Fact]
    public void Results_of_a_refused_kind_are_released()
    {
        long baseline = Settle();
        using (new TensorScope())
        {
            Tensor x = Tensor.Ones([2]);
            Assert.Throws<TorchException>(() => new Operator("aten::relu").CallList(x));
            Assert.Throws<TorchException>(() => new Operator("aten::relu").CallPair(x));
            Assert.Throws<TorchException>(() => new Operator("aten::unbind", "int").Call(x));
        }
        Assert.Equal(baseline, Settle());
    }

    [Fact]
    public void Forgotten_tensors_and_generators_are_freed_by_the_collector()
    {
        long baseline = Settle();
        Forget();
        Assert.Equal(baseline, Settle());
    }

    [Fact]
    public void Tensors_no_one_holds_are_not_freed_while_an_operator_uses_them()
    {
        // Temporaries outside any scope, and a collector that never rests: were a handle freed before the call that uses it returns,
        // results would be wrong or the process would crash.
        long baseline = Settle();
        using var stop = new CancellationTokenSource();
        var collector = new Thread(() =>
        {
            while (!stop.IsCancellationRequested)
            {
                GC.Collect(0, GCCollectionMode.Forced, blocking: true);
                GC.WaitForPendingFinalizers();
            }
        });
        collector.Start();
        try
        {
            for (int i = 0; i < 3000; i++) UseTemporaries(i);
        }
        finally
        {
            stop.Cancel();
            collector.Join();
        }
        Assert.Equal(baseline, Settle());
    }

    [Fact]
    public void Disposing_while_the_collector_runs_frees_once()
    {
        long baseline = Settle();
        for (int round = 0; round < 20; round++)
        {
            Tensor[] tensors = [.. Enumerable.Range(0, 100).Select(i => Tensor.Scalar((double)i))];
            Parallel.ForEach(tensors, tensor =>
            {
                tensor.Dispose();
                tensor.Dispose();
            });
            GC.Collect();
        }
        Assert.Equal(baseline, Settle());
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Forget()
    {
        for (int i = 0; i < 100; i++)
        {
            _ = Tensor.Ones([10]) + 1;
            _ = new RandomState((ulong)i);
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void UseTemporaries(int i)
    {
        Assert.Equal(3.0 * i + 1, (Tensor.Full([4], i, DType.Float64) * 3 + 1).Max().ToDouble());
        Assert.Equal([i, 2L * i], Tensor.Cat([Tensor.Scalar((long)i).View(1), Tensor.Scalar(2L * i).View(1)]).ToArray<long>());
        Assert.Equal(8, Tensor.Scalar(1.5f).To(DType.Float64).ToBytes().Length);
        Assert.Equal([2, 3], Tensor.Zeros([3, 2]).Transpose(0, 1).Shape);
        var seen = 0;
        Tensor.Ones([2, 3]).Transpose(0, 1).ReadBytes(piece => seen += piece.Length);
        Assert.Equal(24, seen);
        Tensor leaf = Tensor.Full([3], i);
        leaf.RequiresGrad = true;
        (leaf * leaf).Sum().Backward();
        Assert.Equal(2f * i, leaf.Grad!.Max().ToDouble());
        leaf.Grad = Tensor.Full([3], 7);
        Assert.Equal(7, leaf.Grad!.Min().ToDouble());
    }

    private static long Settle()
    {
        for (int i = 0; i < 3; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        return Engine.LiveTensors;
    }
}
