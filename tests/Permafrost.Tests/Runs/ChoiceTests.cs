using System.Text.Json.Nodes;
using Permafrost.Kernels;
using Permafrost.Runs;

namespace Permafrost.Tests.Runs;

/// <summary>Which weights a run keeps, when it stops by itself, and how fast each group learns.</summary>
[Collection(ProcessWide.Name)]
public sealed class ChoiceTests : IDisposable
{
    private readonly TinyRun tiny = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        tiny.Dispose();
    }

    // Validation asks for the opposite of what is trained: the first one is the best, and each one after it is worse.
    private RunOptions EverWorse
    {
        get
        {
            Tensor inputs = Tensors.From([.. Enumerable.Range(0, 32).Select(i => i % 2 == 0 ? 1f : -1f)], 32, 1, 1);
            Tensor targets = Tensors.From([.. Enumerable.Range(0, 32).Select(i => i % 2L)], 32);
            Tensor opposite = Tensors.From([.. Enumerable.Range(0, 32).Select(i => 1 - i % 2L)], 32);
            return tiny.On(("inputs", inputs), ("targets", targets), ("validation.inputs", inputs), ("validation.targets", opposite)).Change(o => o with { Optimizer = o.Optimizer with { LearningRate = 0.01 }, Model = o.Model with { Dropout = 0 }, Schedule = o.Schedule with { MaxSteps = 40 }, Evaluation = o.Evaluation with { EvalSteps = 5 } });
        }
    }

    [Fact]
    public void The_best_validation_is_kept_and_scored()
    {
        RunOptions options = EverWorse;
        byte[] afterFive = TinyRun.AdapterBytes(tiny.Train(options with { Schedule = options.Schedule with { MaxSteps = 5 } }).Folder);
        (RunFolder best, JsonObject results) = tiny.Train(options);
        Assert.Equal(afterFive, TinyRun.AdapterBytes(best));
        Assert.Equal((40L, 5L), ((long)results["steps"]!, (long)results["scored_step"]!));
        double[] losses = [.. MetricsLog.Read(best.Metrics).Where(line => line.ContainsKey("eval/loss")).Select(line => (double)line["eval/loss"]!)];
        Assert.True(losses[0] < losses[^1], string.Join(' ', losses));
        Assert.Equal(losses[0], (double)results["metrics"]!["validation"]!["loss"]!);
    }

    [Fact]
    public void Or_the_last_weights_where_that_is_asked()
    {
        RunOptions options = EverWorse;
        (RunFolder last, JsonObject results) = tiny.Train(options with { Evaluation = options.Evaluation with { LoadBestModelAtEnd = false } });
        Assert.Equal(40L, (long)results["scored_step"]!);
        Assert.Equal(TinyRun.AdapterBytes(tiny.Train(options with { Evaluation = options.Evaluation with { EvalSteps = 0 } }).Folder), TinyRun.AdapterBytes(last));
        Assert.False(Directory.Exists(last.Best));
    }

    [Theory]
    [InlineData(1, 10)]
    [InlineData(3, 20)]
    [InlineData(0, 40)]
    public void A_run_stops_after_so_many_validations_without_a_better_one(int patience, int steps)
    {
        (RunFolder folder, JsonObject results) = tiny.Train(EverWorse with { Evaluation = EverWorse.Evaluation with { EarlyStoppingPatience = patience } });
        Assert.Equal(((long)steps, 5L), ((long)results["steps"]!, (long)results["scored_step"]!));
        Assert.Equal($"checkpoint-{steps}", Path.GetFileName(Checkpoint.All(folder)[^1]));
    }

    [Fact]
    public void A_run_that_stopped_early_and_is_resumed_does_not_train_on()
    {
        RunOptions options = EverWorse with { Evaluation = EverWorse.Evaluation with { EarlyStoppingPatience = 1 } };
        (RunFolder folder, _) = tiny.Train(options);
        byte[] adapter = TinyRun.AdapterBytes(folder);
        using Finetuning run = Finetuning.Prepare(options);
        using var stop = new StopRequest();
        Assert.Equal(10, (long)run.Train(folder, "again", tiny, stop, Checkpoint.Newest(folder, _ => { })).Steps);
        Assert.Equal(adapter, TinyRun.AdapterBytes(folder));
    }

    [Fact]
    public void Each_group_learns_at_its_own_rate()
    {
        RunOptions options = tiny.Options with { Schedule = tiny.Options.Schedule with { MaxSteps = 1 }, Optimizer = tiny.Options.Optimizer with { LearningRate = 1e-2, LearningRates = new Dictionary<string, string> { ["ln"] = "0", ["pos"] = "1e-4" } }, Model = tiny.Options.Model with { Dropout = 0 } };
        using Finetuning run = Finetuning.Prepare(options);
        Dictionary<string, float[]> before = run.Model.Adapter().ToDictionary(pair => pair.Key, pair => pair.Value.ToArray<float>());
        using var stop = new StopRequest();
        run.Train(RunFolder.Create(tiny.NewFolder()), "once", tiny, stop);
        // Adam's first step moves a weight by its rate, whatever the gradient.
        foreach ((string name, Tensor tensor) in run.Model.Adapter())
        {
            double moved = tensor.ToArray<float>().Zip(before[name], (now, then) => Math.Abs((double)now - then)).Max();
            double rate = name == "wpe.weight" ? 1e-4 : name.Contains("ln_", StringComparison.Ordinal) ? 0 : 1e-2;
            Assert.True(Math.Abs(moved - rate) <= 0.01 * rate, $"{name} moved by {moved}, its rate is {rate}");
        }
    }
}
