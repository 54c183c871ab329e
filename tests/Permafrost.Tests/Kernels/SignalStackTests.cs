using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>Threads that use tile registers, and what somebody's mistake comes to on them.</summary>
public class SignalStackTests
{
    [Fact]
    public void A_null_reference_on_a_thread_that_has_used_the_kernels_is_an_exception() => OnAThread(() =>
    {
        Multiply();
        Assert.Throws<NullReferenceException>(() => Nobody()!.Length.ToString());
        Multiply();
    });

    [Fact]
    public void Threads_that_have_used_the_kernels_leave_no_memory_mapped()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "mappings are counted in /proc");
        static int Mappings() => File.ReadLines("/proc/self/maps").Count();
        for (int i = 0; i < 20; i++) OnAThread(Multiply);
        int before = Mappings();
        // libtorch and the C library have some of their own, and keep some.
        for (int i = 0; i < 500; i++) OnAThread(Multiply);
        Assert.InRange(Mappings() - before, -1000, 300);
    }

    private static string? Nobody() => null;

    // A product in bfloat16: on tiles, where the processor has them.
    private static void Multiply()
    {
        using var scope = torch.NewDisposeScope();
        using var noGrad = torch.no_grad();
        Tensor x = torch.ones([64, 64], ScalarType.BFloat16);
        Tensor ours = x.FusedLinear(torch.ones([64, 64]), null, 64, FusedActivation.None, ScalarType.BFloat16), theirs = x.matmul(x);
        Assert.Equal(64 * 64 * 64, ours.to(ScalarType.Float32).sum().item<float>());
        Assert.Equal(64 * 64 * 64, theirs.to(ScalarType.Float32).sum().item<float>());
    }

    private static void OnAThread(Action action)
    {
        Exception? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                action();
            }
            catch (Exception error)
            {
                failure = error;
            }
        });
        thread.Start();
        thread.Join();
        if (failure is not null) throw new InvalidOperationException("on the thread", failure);
    }
}
