using System.Globalization;

namespace Permafrost.Training;

/// <summary>Marks a field of <see cref="RunOptions"/> as an option; the text is its help.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class OptionAttribute(string help) : Attribute
{
    /// <summary>One line for <c>--help</c>.</summary>
    public string Help { get; } = help;
}

/// <summary>
/// Everything that describes a run. A field's name in snake_case is its YAML key, with dashes its flag; names follow Hugging Face's Trainer where
/// it has one, default values the paper (Lu et al. 2021). The resolved options are saved as the run's config.yaml and run again to the same result.
/// </summary>
public sealed record RunOptions
{
    /// <summary>Task.</summary>
    [Option("the task, such as bit-xor or mnist@paper (`permafrost ls tasks`)")]
    public string Task { get; init; } = "";

    /// <summary>Task settings.</summary>
    [Option("settings of the task, as --set task_options.length=8 (`permafrost show task NAME`)")]
    public IReadOnlyDictionary<string, string> TaskOptions { get; init; } = new Dictionary<string, string>();

    /// <summary>Data.</summary>
    [Option("the task's data: a file or folder; without it $PERMAFROST_DATA and the cache are looked through")]
    public string? Data { get; init; }

    /// <summary>Backbone.</summary>
    [Option("a model folder, a model in the Hugging Face cache, or with --init random a preset (`permafrost ls backbones`)")]
    public string Backbone { get; init; } = "";

    /// <summary>Init.</summary>
    [Option("where the backbone's weights come from: pretrained, random, random-gpt2-2021, statistics, shuffled")]
    public string Init { get; init; } = "pretrained";

    /// <summary>Init seed.</summary>
    [Option("seed of a random, statistics or shuffled backbone; apart from --seed, so that runs can share a body")]
    public long InitSeed { get; init; }

    /// <summary>Policy.</summary>
    [Option("what trains: fpt, output, *, or groups such as input,output,ln,attn[-1] (`permafrost ls policies`)")]
    public string Policy { get; init; } = "fpt";

    /// <summary>Input layer.</summary>
    [Option("new: a new input layer; pretrained-embedding: the backbone's own token table")]
    public string InputLayer { get; init; } = "new";

    /// <summary>Readout.</summary>
    [Option("where answers are read: last, first, mean, last:K; default: the task's own")]
    public string? Readout { get; init; }

    /// <summary>Number of classes.</summary>
    [Option("number of classes, for tasks that read it from their data")]
    public int? NumClasses { get; init; }

    /// <summary>Dropout.</summary>
    [Option("probability of every dropout, in the body and after a linear input layer; default 0.1, or 0 where only the output layer trains")]
    public double? Dropout { get; init; }

    /// <summary>Feature cache.</summary>
    [Option("where only the output layer trains without dropout, what the body computes is kept: disk, memory, or none: computed at every step")]
    public string FeatureCache { get; init; } = "disk";

    /// <summary>Frozen type.</summary>
    [Option("number format of frozen weights: float32, bfloat16 (faster, half the memory), or auto: bfloat16 where the hardware multiplies it natively")]
    public string FrozenDtype { get; init; } = "auto";

    /// <summary>Start adapter.</summary>
    [Option("a .safetensors file with start values of trained parameters")]
    public string? InitAdapter { get; init; }

    /// <summary>Learning rate.</summary>
    [Option("learning rate")]
    public double LearningRate { get; init; } = 1e-3;

    /// <summary>Learning rates of groups.</summary>
    [Option("learning rate of a group, as --set learning_rates.ln=1e-4; the schedule applies to it too")]
    public IReadOnlyDictionary<string, string> LearningRates { get; init; } = new Dictionary<string, string>();

    /// <summary>Schedule.</summary>
    [Option("constant, constant_with_warmup, linear, cosine or inverse_sqrt")]
    public string LrSchedulerType { get; init; } = "constant";

    /// <summary>Warm-up.</summary>
    [Option("steps over which the rate rises from 0; not with constant: see constant_with_warmup")]
    public int WarmupSteps { get; init; }

    /// <summary>Warm-up share.</summary>
    [Option("the same as a share of all steps; --warmup-steps goes before it")]
    public double WarmupRatio { get; init; }

    /// <summary>Optimiser.</summary>
    [Option("adam, adamw or sgd")]
    public string Optim { get; init; } = "adam";

    /// <summary>Weight decay.</summary>
    [Option("L2 penalty (adam, sgd) or decoupled decay (adamw)")]
    public double WeightDecay { get; init; }

    /// <summary>Adam's first decay.</summary>
    [Option("decay of Adam's mean of gradients")]
    public double AdamBeta1 { get; init; } = 0.9;

    /// <summary>Adam's second decay.</summary>
    [Option("decay of Adam's mean of squared gradients")]
    public double AdamBeta2 { get; init; } = 0.999;

    /// <summary>Adam's epsilon.</summary>
    [Option("added to Adam's denominator")]
    public double AdamEpsilon { get; init; } = 1e-8;

    /// <summary>Momentum.</summary>
    [Option("momentum of sgd")]
    public double Momentum { get; init; }

    /// <summary>Clipping.</summary>
    [Option("gradients are scaled down to this norm; 0 leaves them")]
    public double MaxGradNorm { get; init; } = 1.0;

    /// <summary>Steps.</summary>
    [Option("optimiser steps; default 2000 unless --num-train-epochs is given, which it overrides")]
    public int? MaxSteps { get; init; }

    /// <summary>Epochs.</summary>
    [Option("passes over the training data")]
    public double? NumTrainEpochs { get; init; }

    /// <summary>Training batch.</summary>
    [Option("examples a step")]
    public int PerDeviceTrainBatchSize { get; init; } = 16;

    /// <summary>Accumulation.</summary>
    [Option("batches whose gradients are added up before an update: the same as one batch so many times as large")]
    public int GradientAccumulationSteps { get; init; } = 1;

    /// <summary>Checkpointing.</summary>
    [Option("keep only what flows between layers and compute each layer again for its gradient: less memory, about a third more time")]
    public bool GradientCheckpointing { get; init; }

    /// <summary>Evaluation batch.</summary>
    [Option("examples a batch when evaluating")]
    public int PerDeviceEvalBatchSize { get; init; } = 64;

    /// <summary>Order.</summary>
    [Option("shuffle the training data every epoch; --no-shuffle feeds rows in order")]
    public bool Shuffle { get; init; } = true;

    /// <summary>Batches by length.</summary>
    [Option("put training examples of about the same length into a batch, so that little is padded (for tasks whose examples differ in length)")]
    public bool GroupByLength { get; init; }

    /// <summary>Validation share.</summary>
    [Option("share of the data held out for validation, for tasks without a split of their own (0 with --no-shuffle)")]
    public double? ValidationFraction { get; init; }

    /// <summary>Test share.</summary>
    [Option("share of the data held out for the test, likewise")]
    public double? TestFraction { get; init; }

    /// <summary>Evaluation.</summary>
    [Option("validate every so many steps; 0 only at the end")]
    public int EvalSteps { get; init; } = 500;

    /// <summary>Best model.</summary>
    [Option("score and keep the weights of the best validation (accuracy, then loss) instead of the last ones; --no-load-best-model-at-end keeps the last")]
    public bool LoadBestModelAtEnd { get; init; } = true;

    /// <summary>Early stopping.</summary>
    [Option("stop after so many validations without a better one; 0 never")]
    public int EarlyStoppingPatience { get; init; }

    /// <summary>Checkpoints by steps.</summary>
    [Option("write a checkpoint every so many steps; 0 only by time and at the end")]
    public int SaveSteps { get; init; } = 500;

    /// <summary>Checkpoints by time.</summary>
    [Option("write a checkpoint when so many minutes have passed since the last one; 0 only by steps")]
    public double SaveMinutes { get; init; } = 10;

    /// <summary>Checkpoints kept.</summary>
    [Option("how many checkpoints to keep, the newest ones")]
    public int SaveTotalLimit { get; init; } = 2;

    /// <summary>Time limit.</summary>
    [Option("stop with a checkpoint after this time and exit with 75: 45m, 2h, 90s or h:mm:ss")]
    public string? MaxTime { get; init; }

    /// <summary>Logging.</summary>
    [Option("write loss, gradient norm and rate to metrics.jsonl every so many steps")]
    public int LoggingSteps { get; init; } = 10;

    /// <summary>Test.</summary>
    [Option("score the test split at the end; --no-score-test leaves it untouched while settings are still being chosen")]
    public bool ScoreTest { get; init; } = true;

    /// <summary>Floors.</summary>
    [Option("measure trivial rules (majority class, linear on the inputs) beside the score; --no-floors skips it")]
    public bool Floors { get; init; } = true;

    /// <summary>Seed.</summary>
    [Option("seed of new layers, data order, generated examples and dropout")]
    public long Seed { get; init; }

    /// <summary>Device.</summary>
    [Option("auto, cpu, cuda or cuda:N")]
    public string Device { get; init; } = "auto";

    /// <summary>Threads.</summary>
    [Option("threads within an operator; 0 leaves libtorch's choice")]
    public int Threads { get; init; }

    /// <summary>Output.</summary>
    [Option("the run's folder; default runs/<task>-<backbone>-<policy>-s<seed>-<time>")]
    public string? OutputDir { get; init; }

    /// <summary>Threads that this machine can be asked for: with many times more than it has cores, they wait for each other for minutes.</summary>
    internal static int MostThreads => Math.Max(64, 4 * Environment.ProcessorCount);

    // Their numbers alone take 2 GiB.
    private const int MostExamples = 1 << 28;

    /// <summary>Refuses values that cannot be.</summary>
    /// <exception cref="UsageException">One is out of range, named with its flag.</exception>
    public void Validate()
    {
        if (Task.Length == 0) throw new UsageException($"--task is missing; there are {string.Join(", ", Tasks.TaskRegistry.All.SelectMany(Tasks.TaskRegistry.Names))}");
        _ = Tasks.TaskRegistry.Find(Task);
        if (Backbone.Length == 0) throw new UsageException("--backbone is missing; give a model folder, or a preset with --init random, such as --backbone gpt2-mini --init random");
        OneOf("--input-layer", InputLayer, "new", "pretrained-embedding");
        OneOf("--frozen-dtype", FrozenDtype, "auto", "float32", "bfloat16");
        OneOf("--feature-cache", FeatureCache, "disk", "memory", "none");
        OneOf("--optim", Optim, "adam", "adamw", "sgd");
        OneOf("--lr-scheduler-type", LrSchedulerType, [.. LearningRateSchedule.Names]);
        if (LrSchedulerType == "constant" && (WarmupSteps != 0 || WarmupRatio != 0))
            throw new UsageException(FormattableString.Invariant($"{(WarmupSteps != 0 ? $"--warmup-steps {WarmupSteps}" : $"--warmup-ratio {WarmupRatio}")} does nothing with --lr-scheduler-type constant; choose constant_with_warmup, or another that warms up"));
        if (GroupByLength && !Shuffle) throw new UsageException("--group-by-length sorts what was shuffled, and --no-shuffle feeds rows in order; leave one of them out");
        Between("--dropout", Dropout ?? 0, 0, 0.999);
        Between("--learning-rate", LearningRate, 0, 1e6);
        Between("--warmup-ratio", WarmupRatio, 0, 1);
        Between("--weight-decay", WeightDecay, 0, 1e6);
        Between("--adam-beta1", AdamBeta1, 0, 0.999999);
        Between("--adam-beta2", AdamBeta2, 0, 0.99999999);
        Between("--adam-epsilon", AdamEpsilon, 0, 1);
        Between("--momentum", Momentum, 0, 0.999999);
        Between("--max-grad-norm", MaxGradNorm, 0, double.MaxValue);
        Between("--max-steps", MaxSteps ?? 1, 1, int.MaxValue);
        Between("--num-train-epochs", NumTrainEpochs ?? 1, 1e-9, 1e9);
        Between("--per-device-train-batch-size", PerDeviceTrainBatchSize, 1, 1 << 20);
        Between("--per-device-eval-batch-size", PerDeviceEvalBatchSize, 1, 1 << 20);
        Between("--validation-fraction", ValidationFraction ?? 0, 0, 0.9);
        Between("--test-fraction", TestFraction ?? 0, 0, 0.9);
        if (ValidationFraction + TestFraction >= 0.99) throw new UsageException("--validation-fraction and --test-fraction leave nothing to train on; lower one");
        Between("--gradient-accumulation-steps", GradientAccumulationSteps, 1, 1 << 20);
        if ((long)PerDeviceTrainBatchSize * GradientAccumulationSteps > MostExamples)
            throw new UsageException($"--per-device-train-batch-size {PerDeviceTrainBatchSize} times --gradient-accumulation-steps {GradientAccumulationSteps} is more than {MostExamples} examples an update; lower one");
        Between("--early-stopping-patience", EarlyStoppingPatience, 0, int.MaxValue);
        Between("--save-steps", SaveSteps, 0, int.MaxValue);
        Between("--save-minutes", SaveMinutes, 0, 1e6);
        Between("--save-total-limit", SaveTotalLimit, 1, int.MaxValue);
        _ = MaxDuration;
        foreach (Models.GroupName group in Enum.GetValues<Models.GroupName>()) _ = RateOf(group);
        foreach (string key in LearningRates.Keys)
            if (!Tuning.Policy.GroupNames.Split(", ").Contains(key)) throw new UsageException($"learning_rates.{key}: there is no such group; there are {Tuning.Policy.GroupNames}");
        Between("--warmup-steps", WarmupSteps, 0, int.MaxValue);
        Between("--eval-steps", EvalSteps, 0, int.MaxValue);
        Between("--logging-steps", LoggingSteps, 1, int.MaxValue);
        Between("--threads", Threads, 0, MostThreads);
        Between("--num-classes", NumClasses ?? 2, 2, 1 << 24);
    }

    /// <summary>The base learning rate of a group.</summary>
    /// <exception cref="UsageException">It is no number.</exception>
    public double RateOf(Models.GroupName group)
    {
        string key = group.ToString().ToLowerInvariant();
        if (!LearningRates.TryGetValue(key, out string? text)) return LearningRate;
        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double rate) && rate is >= 0 and <= 1e6 ? rate : throw new UsageException($"learning_rates.{key} is '{text}', not a learning rate");
    }

    /// <summary><see cref="MaxTime"/> as a duration; null when there is no limit.</summary>
    /// <exception cref="UsageException">It cannot be read.</exception>
    public TimeSpan? MaxDuration
    {
        get
        {
            if (MaxTime is null) return null;
            // Not TimeSpan.Parse, to which 24:00:00 is 24 days.
            if (MaxTime.Split(':') is [var hours, { Length: 2 } minutes, { Length: 2 } seconds] && Digits(hours) is { } h && Digits(minutes) is { } m and < 60 && Digits(seconds) is { } s and < 60 && h + m + s > 0)
                return new TimeSpan(h, m, s);
            double unit = MaxTime.Length == 0 ? 0 : MaxTime[^1] switch { 's' => 1, 'm' => 60, 'h' => 3600, 'd' => 86400, _ => 0 };
            if (unit > 0 && double.TryParse(MaxTime.AsSpan(..^1), NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && number > 0 && number * unit < 1e9) return TimeSpan.FromSeconds(number * unit);
            throw new UsageException($"--max-time '{MaxTime}' is no time; write 90s, 45m, 2h, or 1:30:00 for hours, minutes and seconds");
        }
    }

    private static int? Digits(string text) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number < 200_000 ? number : null;

    private static void OneOf(string flag, string value, params string[] allowed)
    {
        if (!allowed.Contains(value)) throw new UsageException($"{flag} '{value}' does not exist; there are {string.Join(", ", allowed)}");
    }

    private static void Between(string flag, double value, double low, double high)
    {
        if (!(value >= low && value <= high)) throw new UsageException(FormattableString.Invariant($"{flag} is {value}; it must be ") + (high == double.MaxValue ? FormattableString.Invariant($"at least {low}") : FormattableString.Invariant($"from {low} to {high}")));
    }
}
