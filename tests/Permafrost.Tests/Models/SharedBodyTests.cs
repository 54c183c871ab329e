using Permafrost.Adaptation;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Tasks;

namespace Permafrost.Tests.Models;

/// <summary>Many models over one body in memory: a further one costs what it trains.</summary>
[Collection(ProcessWide.Name)]
public class SharedBodyTests
{
    private const int Models = 10;
    private const double Megabyte = 1 << 20;

    [Fact]
    public void Ten_models_over_one_GPT_2_take_less_than_5_MB_each()
    {
        Assert.SkipWhen(ProcessMemory.Resident == 0, "the system does not tell a process's memory");
        var spec = new TaskSpec(new VectorInput(16, 49), new ClassOutput(10));
        var models = new List<AdaptedModel>();
        using FrozenWeights weights = FrozenWeights.Load("gpt2", "random");
        try
        {
            models.Add(Bodies.Adapt(weights, spec, type: ScalarType.BFloat16));
            double before = Settled();
            while (models.Count <= Models) models.Add(Bodies.Adapt(weights, spec, seed: models.Count, type: ScalarType.BFloat16));
            double grown = (Settled() - before) / Models;
            // Of GPT-2's 170 MB in bfloat16: 3.2 MB of positions and norms, which every model trains for itself.
            Assert.True(grown < 5 * Megabyte, $"a model takes {grown / Megabyte:F1} MB");
            Assert.True(grown > 2 * Megabyte, $"a model takes {grown / Megabyte:F1} MB, less than the copies that it trains: memory is not measured");
        }
        finally
        {
            foreach (AdaptedModel model in models) model.Dispose();
        }
    }

    private static double Settled()
    {
        for (int i = 0; i < 3; i++)
        {
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
            GC.WaitForPendingFinalizers();
        }
        ProcessMemory.Growth(() => { });  // gives back what the C library keeps
        return ProcessMemory.Resident;
    }
}
