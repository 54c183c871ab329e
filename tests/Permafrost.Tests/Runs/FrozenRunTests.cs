using System.Text.Json.Nodes;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Runs;

namespace Permafrost.Tests.Runs;

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

    [Trait("tier", "long")]
    [Theory]
    [InlineData("float32")]
    [InlineData("bfloat16")]
    public void Gpt2_tiny_learns_bit_xor(string frozen)
    {
        RunOptions options = tiny.Options with
        { Model = tiny.Options.Model with { Backbone = "gpt2-tiny", FrozenDtype = frozen, Dropout = 0 }, Data = tiny.Options.Data with { TaskOptions = new Dictionary<string, string> { ["length"] = "2" } }, Schedule = tiny.Options.Schedule with { MaxSteps = 600 }, Optimizer = tiny.Options.Optimizer with { LearningRate = 3e-3 }, Checkpoints = tiny.Options.Checkpoints with { LoggingSteps = 50 }, Evaluation = tiny.Options.Evaluation with { PerDeviceEvalBatchSize = 200 } };
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
        using (Finetuning run = Finetuning.Prepare(tiny.Options with { Model = tiny.Options.Model with { FrozenDtype = frozen } }))
        {
            using var stop = new StopRequest();
            run.Train(folder, "", tiny, stop);
            run.Model.eval();
            expected = run.Model.Forward(inputs, null).detach();
        }
        using Finetuning again = Finetuning.Open(folder.Path, withData: false);
        Assert.Equal(frozen, again.Model.FrozenType.ToString().ToLowerInvariant());
        again.Model.eval();
        Assert.True(again.Model.Forward(inputs, null).ValuesEqual(expected));
        // The same adapter serves the other type, within rounding.
        using Finetuning other = Finetuning.Open(folder.Path, withData: false, options => options with { Model = options.Model with { FrozenDtype = frozen == "float32" ? "bfloat16" : "float32" } });
        other.Model.eval();
        Assert.InRange((other.Model.Forward(inputs, null).detach() - expected).abs().max().Number(), 1e-9, 0.02);
    }

    [Fact]
    public void The_backbones_hash_is_that_of_its_weights_whatever_becomes_of_them()
    {
        var hashes = new HashSet<string>();
        foreach (string frozen in new[] { "float32", "bfloat16" })
            foreach (string policy in new[] { "fpt", "*" })
            {
                using Finetuning run = Finetuning.Prepare(tiny.Options with { Model = tiny.Options.Model with { FrozenDtype = frozen, Policy = policy } });
                hashes.Add(run.Weights.Sha256);
                // Bits are fed as vectors: nothing reads the token table, and it is there again where the backbone is saved.
                Assert.False(run.Model.Backbone.NamedParameters().Single(pair => pair.Name == "wte.weight").Parameter.HasValue);
                BackboneFolder.Save(run.Model.Backbone, run.Weights, tiny["saved"]);
                using var saved = FrozenWeights.Load(tiny["saved"]);
                Assert.Equal(run.Weights.Sha256, saved.Sha256);
            }
        Assert.Single(hashes);
    }
}
