using System.Text.Json.Nodes;
using Permafrost.Training;

namespace Permafrost.Tests.Training;

/// <summary>Ways to train in less memory, which must not change what is trained.</summary>
[Collection(ProcessWide.Name)]
public class MemoryTests : IDisposable
{
    private readonly TinyRun tiny = new();

    public void Dispose()
    {
        tiny.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [InlineData("fpt", "float32")]
    [InlineData("fpt", "bfloat16")]
    [InlineData("*", "float32")]
    [InlineData("*", "bfloat16")]
    // Gradients begin in the last layer, whose input needs none.
    [InlineData("ff[-1],output", "float32")]
    [InlineData("output", "float32")]
    public void Layers_computed_again_give_the_same_bits(string policy, string frozen)
    {
        // With dropout: the second time must draw the same.
        RunOptions options = tiny.Options with { Backbone = "gpt2-tiny", Policy = policy, FrozenDtype = frozen, Dropout = 0.1, MaxSteps = 3, TaskOptions = new Dictionary<string, string> { ["length"] = "3" }, ScoreTest = false };
        byte[] kept = TinyRun.AdapterBytes(tiny.Train(options).Folder);
        Assert.Equal(kept, TinyRun.AdapterBytes(tiny.Train(options with { GradientCheckpointing = true }).Folder));
        Assert.NotEqual(kept, TinyRun.AdapterBytes(tiny.Train(options with { GradientCheckpointing = true, Seed = 1 }).Folder));
    }

    [Fact]
    public void Layers_computed_again_are_predicted_to_take_less()
    {
        RunOptions options = tiny.Options with { Backbone = "gpt2-mini", PerDeviceTrainBatchSize = 64, FrozenDtype = "bfloat16" };
        using FinetuneRun kept = FinetuneRun.Prepare(options), again = FinetuneRun.Prepare(options with { GradientCheckpointing = true });
        Assert.True(MemoryEstimate.Of(again).Activations < 0.8 * MemoryEstimate.Of(kept).Activations, $"{MemoryEstimate.Of(again).Activations} of {MemoryEstimate.Of(kept).Activations}");
    }

    [Fact]
    public void A_batch_that_does_not_fit_goes_in_parts_that_do()
    {
        using FinetuneRun run = FinetuneRun.Prepare(tiny.Options with { Backbone = "gpt2-mini", PerDeviceTrainBatchSize = 96, GradientAccumulationSteps = 2 });
        MemoryEstimate estimate = MemoryEstimate.Of(run);
        long fixedPart = estimate.Gradients + estimate.Optimizer, activations = run.Model.Backbone.TrainingBytes(96, run.Model.Shape.SequenceLength, 0, run.Model.Readout.Count);
        int Fit(double share) => MemoryEstimate.Fit(run, (long)((fixedPart + share * activations) / 0.9)).Train;
        int FitEval(double share) => MemoryEstimate.Fit(run, (long)((fixedPart + share * run.Model.Backbone.ForwardBytes(64, run.Model.Shape.SequenceLength)) / 0.9)).Eval;
        Assert.Equal(96, Fit(1.01));
        Assert.Equal(48, Fit(0.6));
        Assert.Equal(12, Fit(0.2));
        Assert.Equal(1, Fit(0));
        Assert.Equal((64, 32, 1), (FitEval(1.01), FitEval(0.6), FitEval(0)));
        Assert.Equal(192, run.GlobalBatchSize);
    }

    [Fact]
    public void Parts_train_what_the_whole_batch_trains()
    {
        RunOptions options = tiny.Options with { Dropout = 0, FrozenDtype = "float32", PerDeviceTrainBatchSize = 8, MaxSteps = 3 };
        double Loss(RunOptions run)
        {
            JsonObject results = tiny.Train(run).Results;
            return (double)results["metrics"]!["test"]!["loss"]!;
        }
        Assert.Equal(Loss(options), Loss(options with { PerDeviceTrainBatchSize = 2, GradientAccumulationSteps = 4 }), 1e-4);
    }
}
