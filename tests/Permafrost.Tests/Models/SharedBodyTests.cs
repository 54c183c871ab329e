using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Tasks;
using Permafrost.Training;
using Permafrost.Training.Optimizers;

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
            TrainTwo(models);
        }
        finally
        {
            foreach (AdaptedModel model in models) model.Dispose();
        }
    }

    // Each trains 0.8 million weights: 3 MB of gradients and 6 MB of moments in float32; 4 x 49 tokens keep some 60 MB for a gradient, and libtorch's own
    // operators twice as much. A copy of the body would be 170 MB more.
    private static void TrainTwo(List<AdaptedModel> models)
    {
        string frozen = models[^1].FrozenSha256();
        double before = Settled(), most = 0;
        using var scope = torch.NewDisposeScope();
        var batch = new Batch(torch.ones([4, 49, 16]), Tensors.From([0L, 1, 2, 3], 4, 1));
        var optimizers = new List<Adam>();
        try
        {
            foreach (AdaptedModel model in models[3..5])
            {
                optimizers.Add(new Adam([new ParameterGroup([.. model.Trained.Select(parameter => (parameter.Name, parameter.Parameter.Value))])]));
                model.train();
                double start = ProcessMemory.Resident;
                double peak = ProcessMemory.Growth(() =>
                {
                    for (int step = 0; step < 3; step++) Assert.True(TrainStep.Run(model, optimizers[^1], [batch], 1e-3, 1).GradientNorm > 0);
                });
                most = Math.Max(most, start + peak - before);
            }
            double held = Settled() - before;
            Assert.True(held < 50 * Megabyte, $"two trained models hold {held / Megabyte:F1} MB more");
            Assert.True(held > 8 * Megabyte, $"two trained models hold {held / Megabyte:F1} MB more, less than their moments: memory is not measured");
            Assert.True(most < (KernelSet.Name == KernelSet.None ? 350 : 200) * Megabyte, $"training two models takes {most / Megabyte:F1} MB");
        }
        finally
        {
            foreach (Adam optimizer in optimizers) optimizer.Dispose();
        }
        Assert.Equal(frozen, models[^1].FrozenSha256());
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
