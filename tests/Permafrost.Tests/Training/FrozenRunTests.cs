using System.Text.Json.Nodes;
using Permafrost.Kernels;
using Permafrost.Nn;
using Permafrost.Training;

namespace Permafrost.Tests.Training;

/// <summary>Whole runs with frozen weights in float32 and in bfloat16.</summary>
[Collection(ProcessWide.Name)]
public class FrozenRunTests : IDisposable
{
    private readonly TinyRun tiny = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        tiny.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [InlineData("float32")]
    [InlineData("bfloat16")]
    public void Gpt2_tiny_learns_bit_xor(string frozen)
    {
        RunOptions options = tiny.Options with
        {
            Backbone = "gpt2-tiny",
            FrozenDtype = frozen,
            TaskOptions = new Dictionary<string, string> { ["length"] = "2" },
            MaxSteps = 600,
            LearningRate = 3e-3,
            Dropout = 0,
            LoggingSteps = 50,
            PerDeviceEvalBatchSize = 200,
        };
        (_, JsonObject results) = tiny.Train(options);
        Assert.True((double)results["metrics"]!["test"]!["accuracy"]! > 0.99, results["metrics"]!.ToJsonString());
        Assert.True((bool)results["frozen_unchanged"]!);
    }

    [Theory]
    [InlineData("float32")]
    [InlineData("bfloat16")]
    public void An_adapter_opens_again_to_the_same_bits(string frozen)
    {
        RunFolder folder = RunFolder.Create(tiny.NewFolder());
        Tensor inputs = torch.arange(20, ScalarType.Float32).view(2, 10, 1) * 0.1, expected;
        using (FinetuneRun run = FinetuneRun.Prepare(tiny.Options with { FrozenDtype = frozen }))
        {
            using var stop = new StopRequest();
            run.Train(folder, "", tiny, stop);
            run.Model.Train(false);
            expected = run.Model.Forward(inputs, null).detach();
        }
        using FinetuneRun again = FinetuneRun.Open(folder.Path, withData: false);
        Assert.Equal(frozen, again.FrozenType.ToString().ToLowerInvariant());
        again.Model.Train(false);
        Assert.True(again.Model.Forward(inputs, null).ValuesEqual(expected));
        // The same adapter serves the other type, within rounding.
        using FinetuneRun other = FinetuneRun.Open(folder.Path, withData: false, options => options with { FrozenDtype = frozen == "float32" ? "bfloat16" : "float32" });
        other.Model.Train(false);
        Assert.InRange((other.Model.Forward(inputs, null).detach() - expected).abs().max().Number(), 1e-9, 0.02);
    }

    [Fact]
    public void The_backbones_hash_is_that_of_its_weights_whatever_becomes_of_them()
    {
        var hashes = new HashSet<string>();
        foreach (string frozen in new[] { "float32", "bfloat16" })
            foreach (bool whole in new[] { false, true })
                foreach (string policy in new[] { "fpt", "*" })
                {
                    using FinetuneRun run = FinetuneRun.Prepare(tiny.Options with { FrozenDtype = frozen, Policy = policy }, wholeBackbone: whole);
                    hashes.Add(run.BackboneSha256);
                    // Bits are fed as vectors: nothing reads the token table, and only a backbone that is to be saved keeps it.
                    Parameter table = run.Model.Backbone.NamedParameters().Single(pair => pair.Name == "wte.weight").Parameter;
                    Assert.Equal(whole, table.HasValue);
                    Assert.True(!whole || table.Value.dtype == ScalarType.Float32);
                }
        Assert.Single(hashes);
    }
}
