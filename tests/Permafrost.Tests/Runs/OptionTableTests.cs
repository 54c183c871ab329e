using Permafrost.Runs;
using Permafrost.Training;

namespace Permafrost.Tests.Runs;

/// <summary>The fields of a run as options.</summary>
public class OptionTableTests
{
    [Fact]
    public void Every_option_has_a_flag_and_one_line_of_help()
    {
        Type[] groups = [typeof(RunOptions), .. OptionTable.Groups.Select(group => typeof(RunOptions).GetProperties().Single(property => property.Name.Equals(group, StringComparison.OrdinalIgnoreCase)).PropertyType)];
        IEnumerable<string> writable = groups.SelectMany(type => type.GetProperties()).Where(property => property.CanWrite && !groups.Contains(property.PropertyType)).Select(property => property.Name);
        Assert.Equal(writable.Order(), OptionTable.All.Select(field => field.Property.Name).Order());
        Assert.Equal(OptionTable.All.Count, OptionTable.All.Select(field => field.Key).Distinct().Count());
        Assert.All(OptionTable.All, field =>
        {
            Assert.Matches("^[a-z0-9]+(-[a-z0-9]+)*$", field.Dashed);
            Assert.False(string.IsNullOrWhiteSpace(field.Help));
            Assert.DoesNotContain('\n', field.Help);
        });
        OptionField rate = OptionTable.All.Single(field => field.Key == "learning_rate");
        Assert.Equal(("learning-rate", "0.001", false, false), (rate.Dashed, rate.DefaultText, rate.IsSwitch, rate.IsMap));
        Assert.True(OptionTable.All.Single(field => field.Key == "shuffle").IsSwitch);
        Assert.True(OptionTable.All.Single(field => field.Key == "task_options").IsMap);
    }

    [Fact]
    public void Names_are_Hugging_Faces_where_it_has_one()
    {
        string[] theirs = ["learning_rate", "lr_scheduler_type", "warmup_steps", "warmup_ratio", "optim", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "max_steps",
            "num_train_epochs", "per_device_train_batch_size", "per_device_eval_batch_size", "eval_steps", "logging_steps", "seed", "output_dir"];
        Assert.All(theirs, key => Assert.Contains(OptionTable.All, field => field.Key == key));
    }

    [Fact]
    public void The_defaults_are_the_papers_and_are_valid()
    {
        RunOptions options = new() { Model = new() { Backbone = "gpt2" }, Data = new() { Task = "bit-xor" } };
        options.Validate();
        Assert.Equal(("adam", "constant", 1e-3, 1.0, (double?)null, 16, "fpt"), (options.Optimizer.Optim, options.Schedule.LrSchedulerType, options.Optimizer.LearningRate, options.Optimizer.MaxGradNorm, options.Model.Dropout, options.Schedule.PerDeviceTrainBatchSize, options.Model.Policy));
    }

    [Fact]
    public void Options_are_set_on_a_copy_by_key_or_flag_name()
    {
        var start = new RunOptions();
        RunOptions set = OptionTable.With(start, "adam-beta1", "0.5", "--set");
        set = OptionTable.With(set, "task_options.length", "8", "--set");
        set = OptionTable.With(set, "task-options.patterns", "3", "--set");
        set = OptionTable.With(set, "baselines", "off", "--set");
        Assert.Equal((0.5, "8", "3", false), (set.Optimizer.AdamBeta1, set.Data.TaskOptions["length"], set.Data.TaskOptions["patterns"], set.Evaluation.Baselines));
        Assert.Equal((0.9, 0, true), (start.Optimizer.AdamBeta1, start.Data.TaskOptions.Count, start.Evaluation.Baselines));
    }

    [Fact]
    public void Only_options_that_may_be_absent_can_be_cleared()
    {
        RunOptions set = new() { Schedule = new() { NumTrainEpochs = 2 }, Optimizer = new() { LearningRate = 1 }, Data = new() { Path = "x", NumClasses = 3 } };
        foreach (string nothing in new[] { "", "null", "~" })
        {
            Assert.Null(OptionTable.With(set, "data", nothing, "--data").Data.Path);
            Assert.Null(OptionTable.With(set, "num_classes", nothing, "--num-classes").Data.NumClasses);
            Assert.Null(OptionTable.With(set, "num_train_epochs", nothing, "--num-train-epochs").Schedule.NumTrainEpochs);
            Refusal.OfUsage("--learning-rate", () => OptionTable.With(set, "learning_rate", nothing, "--learning-rate"));
        }
        Assert.Equal("null", OptionTable.With(set, "backbone", "null", "--backbone").Model.Backbone);
    }

    public static TheoryData<string, string> OutOfRange() => new()
    {
        { "task", "" }, { "backbone", "" }, { "input_layer", "old" }, { "frozen_dtype", "int4" }, { "optim", "lion" }, { "lr_scheduler_type", "step" }, { "dropout", "1" }, { "dropout", "-0.1" },
        { "learning_rate", "-1" }, { "learning_rate", "1e7" }, { "warmup_ratio", "1.1" }, { "warmup_steps", "-1" }, { "weight_decay", "-1" }, { "adam_beta1", "1" }, { "adam_beta2", "1" },
        { "adam_epsilon", "-1e-8" }, { "momentum", "1" }, { "max_grad_norm", "-1" }, { "max_steps", "0" }, { "num_train_epochs", "0" }, { "per_device_train_batch_size", "0" },
        { "per_device_eval_batch_size", "0" }, { "validation_fraction", "0.95" }, { "test_fraction", "-0.1" }, { "eval_steps", "-1" }, { "logging_steps", "0" }, { "threads", "-1" }, { "threads", "1000000" }, { "num_classes", "1" },
    };

    [Theory]
    [MemberData(nameof(OutOfRange))]
    public void Values_out_of_range_are_refused_with_their_flag(string key, string value)
    {
        RunOptions options = OptionTable.With(new RunOptions { Model = new() { Backbone = "gpt2" }, Data = new() { Task = "bit-xor" } }, key, value, "--set");
        Refusal.OfUsage($"`{key}`", options.Validate);
    }

    [Fact]
    public void Warm_up_needs_a_schedule_that_has_one()
    {
        RunOptions options = new() { Model = new() { Backbone = "b" }, Schedule = new() { WarmupSteps = 5 }, Data = new() { Task = "bit-xor" } };
        Refusal.OfUsage("`warmup_steps`", options.Validate);
        Refusal.OfUsage("`warmup_ratio`", (options with { Schedule = options.Schedule with { WarmupSteps = 0, WarmupRatio = 0.1 } }).Validate);
        foreach (string schedule in LearningRateSchedule.Names.Where(name => name != "constant")) (options with { Schedule = options.Schedule with { LrSchedulerType = schedule, WarmupRatio = 0.1 } }).Validate();
    }

    [Fact]
    public void Fractions_that_leave_nothing_to_train_on_are_refused() =>
        Refusal.OfUsage("`validation_fraction`", new RunOptions { Model = new() { Backbone = "b" }, Data = new() { Task = "tensors", ValidationFraction = 0.6, TestFraction = 0.4 } }.Validate);

    [Theory]
    [InlineData("90s", 90)]
    [InlineData("1.5m", 90)]
    [InlineData("2h", 7200)]
    [InlineData("1d", 86400)]
    [InlineData("0:00:01", 1)]
    [InlineData("1:30:00", 5400)]
    [InlineData("24:00:00", 86400)]
    [InlineData("100:00:00", 360000)]
    public void A_time_is_read_as_it_is_written(string text, double seconds) => Assert.Equal(seconds, new RunOptions { Checkpoints = new() { MaxTime = text } }.Checkpoints.MaxDuration!.Value.TotalSeconds);

    [Theory]
    [InlineData("90")]
    [InlineData("1:30")]
    [InlineData("1:2:3:4")]
    [InlineData("1:60:00")]
    [InlineData("0:00:00")]
    [InlineData("-1:00:00")]
    [InlineData("1:0:0")]
    [InlineData("99999999:00:00")]
    [InlineData("soon")]
    public void What_is_no_time_is_refused(string text) => Refusal.OfUsage($"`max_time` '{text}'", () => _ = new RunOptions { Checkpoints = new() { MaxTime = text } }.Checkpoints.MaxDuration);
}
