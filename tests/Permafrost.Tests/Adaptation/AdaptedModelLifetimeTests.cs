using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Tasks;
using Permafrost.Tests.Models;

namespace Permafrost.Tests.Adaptation;

/// <summary>What a model frees, also where it never comes into being.</summary>
[Collection(ProcessWide.Name)]
public class AdaptedModelLifetimeTests
{
    private static readonly TaskSpec Spec = new(new VectorInput(2, 5), new ClassOutput(3));

    [Fact]
    public void A_model_that_cannot_be_made_leaves_no_tensor()
    {
        using var weights = FrozenWeights.Load("gpt2-tiny", "random");
        // What models share is made once, and stays with the weights.
        foreach (string policy in new[] { "*", "output" }) Bodies.Adapt(weights, Spec, policy: policy).Dispose();
        long before = Engine.LiveTensors;
        // The input layer is drawn, and then no memory holds the output layer.
        TaskSpec endless = Spec with { Output = new ClassOutput(int.MaxValue) { Count = 1 << 20 } };
        Assert.ThrowsAny<Exception>(() => Bodies.Adapt(weights, endless, policy: "*"));
        Refusal.OfUsage("trains nothing", () => Bodies.Adapt(weights, Spec, policy: "cross"));
        Refusal.Of("do not fit", () => Bodies.Adapt(weights, Spec with { Input = new VectorInput(2, 100_000) }, policy: "*"));
        Assert.InRange(Engine.LiveTensors, 0, before);
    }
}
