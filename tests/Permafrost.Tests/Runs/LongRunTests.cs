using System.Globalization;
using Permafrost.Adaptation;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tests.Models;
using Permafrost.Training;
using Permafrost.Training.Optimizers;

namespace Permafrost.Tests.Runs;

/// <summary>Ten thousand updates take no more memory than five hundred.</summary>
[Collection(ProcessWide.Name)]
public class LongRunTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose()
    {
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [Trait("tier", "slow")]
    [InlineData("fpt", ScalarType.Float32)]
    [InlineData("fpt", ScalarType.BFloat16)]
    [InlineData("*", ScalarType.Float32)]
    public void Ten_thousand_updates_keep_tensors_and_memory_where_they_are(string policy, ScalarType frozen)
    {
        TaskData data = new BitXor().Load(new TaskOptions(Settings: new Dictionary<string, string> { ["length"] = "3" }));
        using AdaptedModel model = Bodies.Adapt(TinyGpt2.Configure(folder, TinyGpt2.Json(layers: 2)), data.Spec, policy, dropout: 0.1, type: frozen);
        using var adam = new Adam([new ParameterGroup([.. model.Trained.Select(parameter => (parameter.Name, parameter.Parameter.Value))])]);
        model.train();
        void Steps(int first, int count)
        {
            for (int step = first; step < first + count; step++)
            {
                using DisposeScope scope = torch.NewDisposeScope();
                TrainStep.Run(model, adam, [data.Train.Get([step * 2, step * 2 + 1])], 1e-3, 1);
            }
        }
        Steps(0, 500);
        Settle();
        (long tensors, long bytes) = (Engine.LiveTensors, Resident());
        Steps(500, 9500);
        Assert.InRange(Engine.LiveTensors, 0, tensors);
        Settle();
        long more = Resident() - bytes;
        Assert.True(more < 10L << 20, $"{more / 1024} KiB more after 9,500 updates");
    }

    private static void Settle()
    {
        for (int i = 0; i < 3; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        // What the collector keeps for later allocations is no leak, and up to 50 MB.
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
    }

    private static long Resident() =>
        1024 * long.Parse(File.ReadLines("/proc/self/status").First(line => line.StartsWith("VmRSS:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
}
