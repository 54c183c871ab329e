using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Tasks;
using Permafrost.Tests.Models;
using Permafrost.Tests.Runs;
using Permafrost.Training;
using Permafrost.Training.Optimizers;

namespace Permafrost.Tests.Training;

/// <summary>One update: nothing is left behind, frozen bits stay, and a step that is not finite changes nothing. Memory and live tensors are the whole process's.</summary>
[Collection(ProcessWide.Name)]
public class TrainStepTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly AdaptedModel model;
    private readonly IDataset examples;
    private readonly Adam adam;

    public TrainStepTests()
    {
        TaskData data = new BitXor().Load(new TaskOptions());
        examples = data.Train;
        model = Bodies.Adapt(TinyGpt2.Configure(folder, TinyGpt2.Json()), data.Spec, dropout: 0.1);
        model.train();
        adam = new Adam([new ParameterGroup([.. model.Trained.Select(parameter => (parameter.Name, parameter.Parameter.Value))])]);
    }

    public void Dispose()
    {
        adam.Dispose();
        model.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void The_live_tensors_are_the_same_after_every_step()
    {
        Settle();
        long before = Engine.LiveTensors;
        Step(0);
        // Adam's two states for each trained tensor, and nothing else.
        long after = before + 2 * model.Trained.Count();
        Assert.InRange(Engine.LiveTensors, 0, after);
        for (int step = 1; step < 20; step++)
        {
            Step(step);
            Assert.InRange(Engine.LiveTensors, 0, after);
        }
        Assert.All(model.Parameters.Where(parameter => parameter.Parameter.HasValue), parameter => Assert.Null(parameter.Parameter.Value.grad));
    }

    [Fact]
    public void Evaluating_leaves_no_tensor_behind()
    {
        IDataset test = new BitXor().Load(new TaskOptions()).Test!;
        Evaluator.Evaluate(model, test, 100, torch.CPU);
        Settle();
        long before = Engine.LiveTensors;
        Evaluator.Evaluate(model, test, 100, torch.CPU, _ => { });
        foreach (Prediction prediction in Evaluator.Predict(model, test, 100, torch.CPU).Take(150)) Assert.Equal(5, ((ClassPrediction)prediction).Classes.Count);  // left in the middle
        Assert.InRange(Engine.LiveTensors, 0, before);
        Assert.True(torch.is_grad_enabled());
        Assert.True(model.training);
    }

    [Trait("tier", "long")]
    [Fact]
    public void Disposing_everything_returns_to_the_baseline()
    {
        Settle();
        long before = Engine.LiveTensors;
        using (var tiny = new TinyRun())
        {
            tiny.Train(tiny.Options with { Evaluation = tiny.Options.Evaluation with { Baselines = true, EvalSteps = 2 } });
            tiny.Train(tiny.Options with { Model = tiny.Options.Model with { Policy = "output" } });  // with features of validation and test
            Assert.ThrowsAny<PermafrostException>(() => tiny.Train(tiny.Options with { Model = tiny.Options.Model with { Policy = "cross" } }));
        }
        Settle();
        Assert.InRange(Engine.LiveTensors, 0, before);
    }

    [Trait("tier", "long")]
    [Fact]
    public void Ten_thousand_steps_keep_the_memory_flat()
    {
        // Measured from step 2,000 on, when allocators and the collector have settled. Leaking one 4-byte tensor a step would show: its handle and
        // storage take some 400 bytes, 3 MB in all; leaking a step's graph would take 100 MB.
        for (int step = 0; step < 2000; step++) Step(step);
        Settle();
        long before = ProcessMemory.Resident;
        long live = Engine.LiveTensors;
        for (int step = 2000; step < 10_000; step++) Step(step);
        Settle();
        Assert.InRange(Engine.LiveTensors, 0, live);
        Assert.InRange(ProcessMemory.Resident - before, long.MinValue, 20 << 20);
    }

    [Fact]
    public void A_step_changes_what_trains_and_not_a_bit_of_the_rest()
    {
        string frozen = model.FrozenSha256();
        string[] before = Hashes();
        for (int step = 0; step < 3; step++) Step(step);
        Assert.Equal(frozen, model.FrozenSha256());
        Assert.All(before.Zip(Hashes()), pair => Assert.NotEqual(pair.First, pair.Second));
    }

    [Fact]
    public void A_loss_that_is_not_finite_changes_nothing_and_is_returned()
    {
        string[] before = Hashes();
        using var scope = torch.NewDisposeScope();
        var bad = new Batch(torch.full([2, 10, 1], double.NaN), torch.zeros([2, 5], ScalarType.Int64));
        (double loss, _, _) = TrainStep.Run(model, adam, [bad], 1e-3, 1);
        Assert.True(double.IsNaN(loss));
        Assert.Equal(before, Hashes());
        Assert.Empty(adam.State().Steps);
        Assert.All(model.Trained, parameter => Assert.Null(parameter.Parameter.Value.grad));
    }

    [Fact]
    public void The_reported_norm_is_the_one_before_clipping()
    {
        using var scope = torch.NewDisposeScope();
        Batch batch = examples.Get([0, 1, 2, 3]);
        model.eval();  // no dropout: the same gradient each time
        (_, double free, _) = TrainStep.Run(model, adam, [batch], 0, 0);
        (_, double clipped, _) = TrainStep.Run(model, adam, [batch], 0, 1e-3);
        Assert.True(free > 1e-3);
        Assert.Equal(free, clipped, 1e-6 * free);
    }

    private void Step(long step)
    {
        using var scope = torch.NewDisposeScope();
        (double loss, double norm, _) = TrainStep.Run(model, adam, [examples.Get([2 * step, 2 * step + 1])], 1e-4, 1);
        Assert.True(double.IsFinite(loss) && norm > 0);
    }

    private string[] Hashes() => [.. model.Trained.Select(parameter => WeightHash.Of([(parameter.Name, parameter.Parameter)]))];

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
}
