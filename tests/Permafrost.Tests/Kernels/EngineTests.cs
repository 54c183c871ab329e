using System.Runtime.InteropServices;
using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>Facts about the engine, and its number of threads, which is the whole process's.</summary>
[Collection(ProcessWide.Name)]
public class EngineTests
{
    [Fact]
    public void Version_and_configuration_tell_which_libtorch_this_is()
    {
        Assert.Equal("2.10.0", Engine.Version);
        Assert.StartsWith("0.107.", Engine.TorchSharpVersion, StringComparison.Ordinal);
        Assert.True(Engine.CudaDevices >= 0);
        if (KernelSet.LibraryPath is { } kernels) Assert.EndsWith("libpermafrost_kernels.so", kernels, StringComparison.Ordinal);
        else Assert.Equal([KernelSet.None], KernelSet.Available);
    }

    [Fact]
    public void The_number_of_threads_can_be_set_and_does_not_change_a_small_result()
    {
        int before = Engine.Threads;
        Assert.True(before >= 1);
        try
        {
            using var scope = torch.NewDisposeScope();
            Tensor x = torch.arange(10_000, ScalarType.Float64);
            double expected = 9999.0 * 10_000 / 2;
            foreach (int threads in new[] { 1, 2, 3 })
            {
                Engine.Threads = threads;
                Assert.Equal(threads, Engine.Threads);
                Assert.Equal(expected, x.sum().Number());
            }
        }
        finally
        {
            Engine.Threads = before;
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    public void No_threads_are_refused(int threads)
    {
        int before = Engine.Threads;
        var error = Assert.Throws<ArgumentException>(() => Engine.Threads = threads);
        Assert.Contains($"must be positive, not {threads}", error.Message, StringComparison.Ordinal);
        Assert.Equal(before, Engine.Threads);
    }

    [Fact]
    public void A_wanted_size_beyond_all_memory_is_told_from_other_errors()
    {
        using var scope = torch.NewDisposeScope();
        Exception beyond = Assert.IsAssignableFrom<ExternalException>(Record.Exception(() => torch.empty([1L << 50])));
        Assert.True(EngineException.IsOutOfMemory(beyond), beyond.Message);
        Exception wrong = Assert.IsAssignableFrom<ExternalException>(Record.Exception(() => torch.ones(2).view(3)));
        Assert.False(EngineException.IsOutOfMemory(wrong), wrong.Message);
        Assert.DoesNotContain('\n', EngineException.Reason(wrong));
    }

    [Fact]
    public void Waiting_for_the_processor_returns_at_once() => Engine.Synchronize(torch.CPU);
}
