namespace Permafrost.Training.Options;

/// <summary>How long it trains, on what in which order, and how the learning rate goes.</summary>
public sealed record ScheduleOptions
{
    // Their numbers alone take 2 GiB.
    private const int MostExamples = 1 << 28;

    /// <summary>One of <see cref="LearningRateSchedule.Names"/>.</summary>
    [Option("constant, constant_with_warmup, linear, cosine or inverse_sqrt")]
    public string LrSchedulerType { get; init; } = "constant";

    /// <summary>Steps over which the rate rises from 0.</summary>
    [Option("steps over which the rate rises from 0; not with constant: see constant_with_warmup")]
    public int WarmupSteps { get; init; }

    /// <summary>The same as a share of all steps.</summary>
    [Option("the same as a share of all steps; `warmup_steps` goes before it")]
    public double WarmupRatio { get; init; }

    /// <summary>Optimiser steps; null for <see cref="NumTrainEpochs"/>, or 2,000.</summary>
    [Option("optimiser steps; default 2000 unless `num_train_epochs` is given, which it overrides", Affects.Length)]
    public int? MaxSteps { get; init; }

    /// <summary>Passes over the training data.</summary>
    [Option("passes over the training data", Affects.Length)]
    public double? NumTrainEpochs { get; init; }

    /// <summary>Examples of a batch.</summary>
    [Option("examples a step")]
    public int PerDeviceTrainBatchSize { get; init; } = 16;

    /// <summary>Batches of an update.</summary>
    [Option("batches whose gradients are added up before an update: the same as one batch so many times as large")]
    public int GradientAccumulationSteps { get; init; } = 1;

    /// <summary>Whether every epoch has an order of its own.</summary>
    [Option("shuffle the training data every epoch; without it rows are fed in order")]
    public bool Shuffle { get; init; } = true;

    /// <summary>Whether examples of about the same length share a batch.</summary>
    [Option("put training examples of about the same length into a batch, so that little is padded (for tasks whose examples differ in length)")]
    public bool GroupByLength { get; init; }

    /// <summary>Examples of one update: batch size times accumulation.</summary>
    public int GlobalBatchSize => checked(PerDeviceTrainBatchSize * GradientAccumulationSteps);

    /// <summary>Whether the learning rate of a step depends on how many steps there are in all.</summary>
    public bool RateDependsOnLength => LrSchedulerType is not ("constant" or "constant_with_warmup") || WarmupRatio != 0;

    /// <summary>Updates in all.</summary>
    /// <param name="examples">Of the training data; null where it is generated without end.</param>
    /// <exception cref="UsageException">Epochs were asked for, and the data has no end.</exception>
    public long Steps(long? examples)
    {
        if (MaxSteps is { } steps) return steps;
        if (NumTrainEpochs is not { } epochs) return 2000;
        if (examples is not { } count) throw new UsageException("`num_train_epochs`: the task generates examples without end; use `max_steps`");
        return Math.Max(1, (long)Math.Ceiling(epochs * ((count + GlobalBatchSize - 1) / GlobalBatchSize)));
    }

    /// <summary>Refuses values that cannot be.</summary>
    /// <exception cref="UsageException">One is out of range.</exception>
    public void Validate()
    {
        OptionCheck.OneOf("lr_scheduler_type", LrSchedulerType, [.. LearningRateSchedule.Names]);
        if (LrSchedulerType == "constant" && (WarmupSteps != 0 || WarmupRatio != 0))
        {
            string warmup = WarmupSteps != 0 ? $"`warmup_steps` {WarmupSteps}" : $"`warmup_ratio` {WarmupRatio}";
            throw new UsageException($"{warmup} does nothing with `lr_scheduler_type` constant; choose constant_with_warmup, or another that warms up");
        }
        if (GroupByLength && !Shuffle) throw new UsageException("`group_by_length` sorts what was shuffled, and with `shuffle` off rows are fed in order; leave one of them out");
        OptionCheck.Between("warmup_steps", WarmupSteps, 0, int.MaxValue);
        OptionCheck.Between("warmup_ratio", WarmupRatio, 0, 1);
        OptionCheck.Between("max_steps", MaxSteps ?? 1, 1, int.MaxValue);
        OptionCheck.Between("num_train_epochs", NumTrainEpochs ?? 1, 1e-9, 1e9);
        OptionCheck.Between("per_device_train_batch_size", PerDeviceTrainBatchSize, 1, 1 << 20);
        OptionCheck.Between("gradient_accumulation_steps", GradientAccumulationSteps, 1, 1 << 20);
        if ((long)PerDeviceTrainBatchSize * GradientAccumulationSteps > MostExamples)
            throw new UsageException(
                $"`per_device_train_batch_size` {PerDeviceTrainBatchSize} times `gradient_accumulation_steps` {GradientAccumulationSteps} " +
                $"is more than {MostExamples} examples an update; lower one");
    }
}
