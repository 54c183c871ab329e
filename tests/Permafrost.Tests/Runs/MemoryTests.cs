using System.Text.Json.Nodes;
using Permafrost.Data;
using Permafrost.Runs;
using Permafrost.Training;
using Permafrost.Training.Options;

namespace Permafrost.Tests.Runs;

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
        RunOptions options = tiny.Options with { Model = tiny.Options.Model with { Backbone = "gpt2-tiny", Policy = policy, FrozenDtype = frozen, Dropout = 0.1 }, Schedule = tiny.Options.Schedule with { MaxSteps = 3 }, Data = tiny.Options.Data with { TaskOptions = new Dictionary<string, string> { ["length"] = "3" } }, Evaluation = tiny.Options.Evaluation with { ScoreTest = false } };
        byte[] kept = TinyRun.AdapterBytes(tiny.Train(options).Folder);
        Assert.Equal(kept, TinyRun.AdapterBytes(tiny.Train(options with { Model = options.Model with { GradientCheckpointing = true } }).Folder));
        Assert.NotEqual(kept, TinyRun.AdapterBytes(tiny.Train(options with { Seed = 1, Model = options.Model with { GradientCheckpointing = true } }).Folder));
    }

    [Fact]
    public void Layers_computed_again_are_measured_to_take_less()
    {
        // Many layers, so that what they keep outweighs what other tests take and free meanwhile.
        string body = tiny.NewFolder();
        Directory.CreateDirectory(body);
        File.WriteAllText(Path.Combine(body, "config.json"), """{"model_type": "gpt2", "n_layer": 16, "n_embd": 256, "n_head": 4, "n_positions": 128, "vocab_size": 16}""");
        RunOptions options = tiny.Options with { Model = tiny.Options.Model with { Backbone = body, FrozenDtype = "bfloat16" }, Data = tiny.Options.Data with { Task = "bit-memory" } };
        using Finetuning kept = Finetuning.Prepare(options), again = Finetuning.Prepare(options with { Model = options.Model with { GradientCheckpointing = true } });
        static long Median(Finetuning run) => Enumerable.Range(0, 5).Select(_ => run.MeasureMemory().TrainingBytes).Order().ElementAt(2);
        (long all, long few) = (Median(kept), Median(again));
        Assert.True(few < 0.6 * all, $"{few} of {all}");
    }

    [Fact]
    public void Measuring_changes_nothing()
    {
        RunOptions options = tiny.Options;
        (RunFolder plain, _) = tiny.Train(options);
        RunFolder folder = RunFolder.Create(tiny.NewFolder());
        using var run = Finetuning.Prepare(options, fitMemory: true);
        run.MeasureMemory();
        Assert.All(run.Model.Trained, parameter => Assert.Null(parameter.Parameter.Value.grad));
        using var stop = new StopRequest();
        run.Train(folder, "", tiny, stop);
        Assert.Equal(TinyRun.AdapterBytes(plain), TinyRun.AdapterBytes(folder));
    }

    [Fact]
    public void A_batch_that_does_not_fit_goes_in_parts_that_do()
    {
        var schedule = new ScheduleOptions { PerDeviceTrainBatchSize = 96, GradientAccumulationSteps = 2 };
        Assert.Equal(192, schedule.GlobalBatchSize);
        using var run = Finetuning.Prepare(tiny.Options with { Model = tiny.Options.Model with { Backbone = "gpt2-tiny" }, Schedule = schedule });
        MemoryTrial trial = run.MeasureMemory();
        // Gradients and Adam's two states, in float32.
        Assert.Equal(3 * 4 * run.Model.Counts.Trained, trial.StateBytes);
        trial = trial with { TrainingBytes = Math.Max(1 << 10, trial.TrainingBytes), ScoringBytes = Math.Max(1 << 10, trial.ScoringBytes) };
        int Fit(double share) => trial.FitTraining(schedule.PerDeviceTrainBatchSize, (long)((trial.StateBytes + share * 96 * trial.TrainingBytes) / 0.9));
        Assert.Equal((96, 48, 12, 1, 1), (Fit(1.01), Fit(0.6), Fit(0.2), Fit(0), Fit(-1)));
        int FitScoring(double share, bool training) => trial.FitScoring(64, (long)(((training ? trial.StateBytes : 0) + share * 64 * trial.ScoringBytes) / 0.9), training);
        Assert.Equal((64, 32, 1), (FitScoring(1.01, true), FitScoring(0.6, true), FitScoring(0, true)));
        Assert.Equal((64, 32, 1), (FitScoring(1.01, false), FitScoring(0.6, false), FitScoring(0, false)));
        int FitAlone(double share) => MemoryTrial.Fit(64, 1 << 20, (long)(share * 64 * (1 << 20) / 0.9));
        Assert.Equal((64, 32, 1), (FitAlone(1.01), FitAlone(0.6), FitAlone(0)));
    }

    [Fact]
    public void A_batch_leaves_room_for_gradients_and_optimiser_state()
    {
        string body = tiny.NewFolder();
        Directory.CreateDirectory(body);
        // 14 million weights, whose gradients and Adam's state take 171 MB; two examples of 120 tokens take far less.
        File.WriteAllText(Path.Combine(body, "config.json"), """{"model_type": "gpt2", "n_layer": 2, "n_embd": 768, "n_head": 4, "n_positions": 128, "vocab_size": 16}""");
        RunOptions options = tiny.Options with { Model = tiny.Options.Model with { Backbone = body, Policy = "*" }, Schedule = tiny.Options.Schedule with { PerDeviceTrainBatchSize = 2 }, Data = tiny.Options.Data with { Task = "bit-memory" } };
        using var run = Finetuning.Prepare(options);
        var available = (long)(3 * 4 * run.Model.Counts.Trained / 0.9);
        int Fit(string optim) => Trainer.FitBatch(run.Model, run.Data!.Train, new TrainerOptions { Schedule = options.Schedule, Optimizer = options.Optimizer with { Optim = optim } }, torch.CPU, available);
        // Without momentum there are gradients only, and so there is room for examples.
        Assert.Equal((1, 2), (Fit("adam"), Fit("sgd")));
    }

    [Fact]
    public void A_batch_is_computed_in_the_parts_asked_for()
    {
        using var run = Finetuning.Prepare(tiny.Options);
        var train = new Recorded(run.Data!.Train);
        TrainerOptions Options(int? part) => new() { MicroBatchSize = part, Schedule = new ScheduleOptions { MaxSteps = 2, PerDeviceTrainBatchSize = 7 } };
        Trainer.Fit(run.Model, new TrainingData(train), Options(3));
        Assert.Equal([3, 3, 1, 3, 3, 1], train.Sizes);
        foreach (int wrong in new[] { 0, -1 }) Refusal.OfUsage("micro_batch_size", () => Trainer.Fit(run.Model, new TrainingData(train), Options(wrong)));
        Assert.Equal(6, train.Sizes.Count);
    }

    [Fact]
    public void Parts_train_what_the_whole_batch_trains()
    {
        RunOptions options = tiny.Options with { Model = tiny.Options.Model with { Dropout = 0, FrozenDtype = "float32" }, Schedule = tiny.Options.Schedule with { PerDeviceTrainBatchSize = 8, MaxSteps = 3 } };
        double Loss(RunOptions run)
        {
            JsonObject results = tiny.Train(run).Results;
            return (double)results["metrics"]!["test"]!["loss"]!;
        }
        Assert.Equal(Loss(options), Loss(options with { Schedule = options.Schedule with { PerDeviceTrainBatchSize = 2, GradientAccumulationSteps = 4 } }), 1e-4);
    }

    // Notes how many examples are asked for at a time.
    private sealed class Recorded(IDataset examples) : IDataset
    {
        public List<int> Sizes { get; } = [];

        public long? Count => examples.Count;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            Sizes.Add(indices.Length);
            return examples.Get(indices);
        }
    }
}
