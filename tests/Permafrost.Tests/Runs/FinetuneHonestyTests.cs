using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Runs;

namespace Permafrost.Tests.Runs;

/// <summary>A run says so when it cannot be what it claims (DESIGN section 7), and only then.</summary>
[Collection(ProcessWide.Name)]
public class FinetuneHonestyTests : IDisposable
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
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void Bad_numbers_in_the_inputs_are_refused_by_row(float bad)
    {
        Tensor inputs = torch.ones([4, 3, 2]);
        inputs.narrow(0, 3, 1).fill_(bad);
        RunOptions options = tiny.On(("inputs", inputs), ("targets", Tensors.From([0L, 1, 0, 1])));
        Refusal.Of("row 3 of `inputs`", () => Finetuning.Prepare(options));
    }

    [Fact]
    public void A_rate_far_too_high_ends_the_run_as_diverged()
    {
        RunOptions options = tiny.Options with { Optimizer = tiny.Options.Optimizer with { Optim = "sgd", LearningRate = 1e6, MaxGradNorm = 0 }, Schedule = tiny.Options.Schedule with { MaxSteps = 200 }, Model = tiny.Options.Model with { Policy = "*" } };
        string folder = tiny.NewFolder();
        using Finetuning run = Finetuning.Prepare(options);
        using var stop = new StopRequest();
        var error = Assert.Throws<DivergedException>(() => run.Train(RunFolder.Create(folder), "", tiny, stop));
        Assert.Equal(3, error.ExitCode);
        Assert.Contains($"at step {tiny.Reports.Count + 1} ", error.Message, StringComparison.Ordinal);
        Assert.Matches("became (NaN|infinite)", error.Message);
        Assert.Contains("`learning_rate`", error.Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.Combine(folder, "adapter")), "weights of a diverged run must not be kept");
        Assert.False(File.Exists(Path.Combine(folder, "results.json")));
    }

    [Fact]
    public void A_policy_that_trains_nothing_is_refused_before_anything_is_written()
    {
        Refusal.OfUsage("`policy` 'embed' trains nothing", () => Finetuning.Prepare(tiny.Options with { Model = tiny.Options.Model with { Policy = "embed" } }));
        Refusal.OfUsage("`policy` 'cross' trains nothing", () => Finetuning.Prepare(tiny.Options with { Model = tiny.Options.Model with { Policy = "cross" } }));
    }

    [Fact]
    public void A_sequence_longer_than_the_positions_is_refused_before_training()
    {
        RunOptions options = tiny.On(("inputs", torch.ones([2, 17, 1])), ("targets", Tensors.From([0L, 1])));
        Assert.Contains("16 positions", Refusal.Of("17 tokens", () => Finetuning.Prepare(options)), StringComparison.Ordinal);
    }

    [Fact]
    public void A_trained_tensor_that_nothing_depends_on_is_an_error()
    {
        // Inputs of zeros: the input layer's weight is multiplied by nothing and never moves.
        RunOptions options = tiny.On(("inputs", torch.zeros([4, 3, 2])), ("targets", Tensors.From([0L, 1, 0, 1])));
        Assert.Contains("`policy` fpt", Refusal.Of("'input_layer.weight' did not change", () => tiny.Train(options with { Schedule = options.Schedule with { MaxSteps = 10 } })), StringComparison.Ordinal);
        Refusal.Of("'input_layer.weight' did not change in 1 updates", () => tiny.Train(options with { Schedule = options.Schedule with { MaxSteps = 1 } }));
        Refusal.Of("'input_layer.weight' did not change", () => tiny.Train(options with { Schedule = options.Schedule with { MaxSteps = 12 }, Optimizer = options.Optimizer with { Optim = "sgd" } }));
        // Nor does anything move where no step has a gradient at all.
        SafetensorsWriter.Write(tiny["zeros.safetensors"], [KeyValuePair.Create("output_layer.weight", torch.zeros([2, 8])), KeyValuePair.Create("output_layer.bias", torch.zeros([2]))]);
        Refusal.Of("did not change", () => tiny.Train(options with { Schedule = options.Schedule with { MaxSteps = 12 }, Model = options.Model with { Policy = "input,ln,pos", InitAdapter = tiny["zeros.safetensors"] } }));
        // What is left trains.
        tiny.Train(options with { Model = options.Model with { Policy = "output,ln,pos" } });
    }

    [Fact]
    public void Weights_that_start_at_zero_hold_back_gradients_for_a_while_only()
    {
        using var random = new Generator(1);
        using Tensor inputs = torch.empty([4, 3, 2]).normal_(0, 1, random);
        // An output layer of zeros: nothing before it has a gradient in the first update.
        SafetensorsWriter.Write(tiny["zeros.safetensors"], [KeyValuePair.Create("output_layer.weight", torch.zeros([2, 8])), KeyValuePair.Create("output_layer.bias", torch.zeros([2]))]);
        RunOptions options = tiny.On(("inputs", inputs), ("targets", Tensors.From([0L, 1, 0, 1]))).Change(o => o with { Model = o.Model with { InitAdapter = tiny["zeros.safetensors"] } });
        foreach (int steps in new[] { 1, 2, 30 }) tiny.Train(options with { Schedule = options.Schedule with { MaxSteps = steps } });
        // A first batch without an answer that counts, so without an update.
        tiny.Train(tiny.On(("inputs", inputs), ("targets", Tensors.From([-100L, 1, 0, 1]))).Change(o => o with { Schedule = o.Schedule with { MaxSteps = 8, PerDeviceTrainBatchSize = 1 } }));
    }

    [Fact]
    public void A_group_with_a_rate_of_its_own_is_watched_by_that_rate()
    {
        RunOptions options = tiny.On(("inputs", torch.zeros([4, 3, 2])), ("targets", Tensors.From([0L, 1, 0, 1]))).Change(o => o with { Schedule = o.Schedule with { MaxSteps = 10 } });
        Refusal.Of("'input_layer.weight' did not change", () => tiny.Train(options with { Optimizer = options.Optimizer with { LearningRate = 0, LearningRates = new Dictionary<string, string> { ["input"] = "1e-3" } } }));
        // A rate of zero for the one group that cannot move is no error.
        tiny.Train(options with { Optimizer = options.Optimizer with { LearningRates = new Dictionary<string, string> { ["input"] = "0" } } });
    }

    [Theory]
    [InlineData(1)]
    [InlineData(5)]
    public void A_rate_of_zero_is_no_error(int steps)
    {
        (RunFolder folder, _) = tiny.Train(tiny.Options with { Optimizer = tiny.Options.Optimizer with { LearningRate = 0 }, Schedule = tiny.Options.Schedule with { MaxSteps = steps } });
        Assert.Equal(TinyRun.AdapterBytes(folder), TinyRun.AdapterBytes(tiny.Train(tiny.Options with { Optimizer = tiny.Options.Optimizer with { LearningRate = 0 }, Schedule = tiny.Options.Schedule with { MaxSteps = 1 } }).Folder));
    }

    [Theory]
    [InlineData("linear", 1, 1)]
    [InlineData("linear", 2, 1)]
    [InlineData("cosine", 6, 3)]
    [InlineData("constant_with_warmup", 6, 5)]
    [InlineData("inverse_sqrt", 6, 3)]
    public void Warm_up_from_zero_is_no_error(string schedule, int steps, int warmup)
    {
        tiny.Train(tiny.Options with { Schedule = tiny.Options.Schedule with { LrSchedulerType = schedule, MaxSteps = steps, WarmupSteps = warmup } });
        Assert.Equal(0, tiny.Reports[0].LearningRate);
        Assert.Equal(steps, tiny.Reports.Count);
    }

    [Fact]
    public void A_slow_warm_up_is_not_taken_for_a_tensor_that_nothing_depends_on()
    {
        // The first rates (5e-9, 1e-8, 1.5e-8) are below half of the last bit of a gain of 1 (3e-8): it cannot move yet, and does later.
        (RunFolder folder, _) = tiny.Train(tiny.Options with { Schedule = tiny.Options.Schedule with { LrSchedulerType = "constant_with_warmup", WarmupSteps = 200_000, MaxSteps = 100 }, Checkpoints = tiny.Options.Checkpoints with { LoggingSteps = 100 }, Optimizer = tiny.Options.Optimizer with { LearningRate = 1e-3 } });
        Assert.True(File.Exists(folder.Results));
    }

    [Fact]
    public void One_batch_is_learned_by_heart()
    {
        using var random = new Generator(1);
        RunOptions options = tiny.On(("inputs", torch.empty([8, 4, 3]).normal_(0, 1, random)), ("targets", Tensors.From([0L, 1, 2, 3, 0, 2, 1, 3])));
        tiny.Train(options with { Model = options.Model with { Policy = "*", Dropout = 0 }, Optimizer = options.Optimizer with { LearningRate = 0.01 }, Schedule = options.Schedule with { MaxSteps = 300, PerDeviceTrainBatchSize = 8 } });
        Assert.InRange(tiny.Reports[0].Loss, 1, 3);  // about ln 4 at the start
        Assert.InRange(tiny.Reports[^1].Loss, 0, 0.01);
    }

    [Fact]
    public void Targets_that_do_not_count_do_not_matter()
    {
        Tensor inputs = torch.arange(24, ScalarType.Float32).view(4, 3, 2) * 0.1;
        RunOptions options = tiny.On(("inputs", inputs), ("targets", Tensors.From([0L, -100, 1, -100]))).Change(o => o with { Schedule = o.Schedule with { PerDeviceTrainBatchSize = 4 }, Model = o.Model with { Dropout = 0 } });
        tiny.Train(options);
        double[] losses = [.. tiny.Reports.Select(report => report.Loss)];
        options = tiny.On(("inputs", inputs.index_select(0, Tensors.From([0L, 2]))), ("targets", Tensors.From([0L, 1]))).Change(o => o with { Schedule = o.Schedule with { PerDeviceTrainBatchSize = 4 }, Model = o.Model with { Dropout = 0 } });
        tiny.Train(options);
        Assert.Equal(losses.Select(loss => Math.Round(loss, 5)), tiny.Reports.Select(report => Math.Round(report.Loss, 5)));
    }

    [Fact]
    public void A_batch_without_an_answer_that_counts_is_no_divergence()
    {
        RunOptions options = tiny.On(("inputs", torch.ones([3, 2, 1])), ("targets", Tensors.From([0L, -100, 1]))).Change(o => o with { Schedule = o.Schedule with { PerDeviceTrainBatchSize = 1, MaxSteps = 6 } });
        tiny.Train(options);
        // Every third step has no answer, and says so rather than 0.
        Assert.Equal(4, tiny.Reports.Count(report => double.IsFinite(report.Loss)));
        Assert.Equal(2, tiny.Reports.Count(report => double.IsNaN(report.Loss) && double.IsNaN(report.GradientNorm)));
    }

    [Fact]
    public void Padding_does_not_change_the_training()
    {
        Tensor inputs = Tensors.From([1L, 2, 3, 4, 5, 6], 2, 3);
        Tensor padded = Tensors.From([1L, 2, 3, 9, 9, 4, 5, 6, 9, 9], 2, 5);
        Tensor mask = Tensors.From([1L, 1, 1, 0, 0, 1, 1, 1, 0, 0], 2, 5);
        var losses = new List<double[]>();
        foreach (var tensors in new (string, Tensor)[][] { [("inputs", inputs)], [("inputs", padded), ("mask", mask)] })
        {
            // One size of table for both, so that both start from the same values.
            tiny.Train(tiny.On([.. tensors, ("targets", Tensors.From([0L, 1]))]).Change(o => o with { Model = o.Model with { Dropout = 0 }, Data = o.Data with { TaskOptions = new Dictionary<string, string> { ["vocabulary"] = "10" } } }));
            losses.Add([.. tiny.Reports.Select(report => Math.Round(report.Loss, 5))]);
        }
        Assert.Equal(losses[0], losses[1]);
    }
}
