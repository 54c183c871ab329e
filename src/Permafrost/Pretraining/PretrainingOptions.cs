using System.Text.RegularExpressions;
using Permafrost.Training;
using Permafrost.Training.Options;

namespace Permafrost.Pretraining;

/// <summary>Everything that a pretraining is made from.</summary>
public sealed partial record PretrainingOptions
{
    /// <summary>One of the families in <see cref="PretrainingConfig.Families"/>.</summary>
    [Option("gpt2, bert, t5 or conv-seq2seq")]
    public string Architecture { get; init; } = "gpt2";

    /// <summary>A configuration to begin with; null for the family's mini.</summary>
    [Option("a preset whose sizes are taken, such as gpt2-mini; default the architecture's mini")]
    public string? Preset { get; init; }

    /// <summary>Layers; null for the preset's.</summary>
    [Option("layers, in each stack; default the preset's")]
    public int? Layers { get; init; }

    /// <summary>C; null for the preset's.</summary>
    [Option("width of the vectors; default the preset's")]
    public int? Width { get; init; }

    /// <summary>H; null for the preset's.</summary>
    [Option("attention heads; default the preset's")]
    public int? Heads { get; init; }

    /// <summary><c>causal</c>, <c>masked</c>, <c>span-corruption</c> or <see cref="BitMemory"/>; null for the architecture's own.</summary>
    [Option("causal, masked, span-corruption or mask-spans; default the architecture's own; bit-memory for a gpt2 that reads no text")]
    public string? Objective { get; init; }

    /// <summary>Text files and folders.</summary>
    [Option("text files or folders with them, separated by commas: .txt, .jsonl, packed by gzip or not", Affects.Place)]
    public string Data { get; init; } = "";

    /// <summary>The tokenizer's folder.</summary>
    [Option("the folder of the tokenizer, such as `permafrost tokenizer train` makes", Affects.Place)]
    public string Tokenizer { get; init; } = "";

    /// <summary>Rules of <see cref="Pretraining.HeldOut"/>.</summary>
    [Option("files or documents never trained on, by name with * and ?, separated by commas; NAME:5% takes a share of the documents by their hash")]
    public string? HeldOut { get; init; }

    /// <summary>T.</summary>
    [Option("tokens of a sequence")]
    public int Context { get; init; } = 512;

    /// <summary>Sequences of an update.</summary>
    [Option("sequences of an update")]
    public int BatchSize { get; init; } = 16;

    /// <summary>Sequences computed at a time; null for as many as fit 8,192 tokens.</summary>
    [Option("sequences computed at a time, which decides the memory; default as many as make 8,192 tokens")]
    public int? MicroBatchSize { get; init; }

    /// <summary>Whether a window may hold several documents.</summary>
    [Option("let a sequence hold the end of one document and the beginning of the next")]
    public bool CrossDocuments { get; init; } = true;

    /// <summary>Updates.</summary>
    [Option("updates in all", Affects.Length)]
    public long MaxSteps { get; init; } = 1000;

    /// <summary><c>adamw</c> or <c>adafactor</c>.</summary>
    [Option("adamw, adam or adafactor")]
    public string Optim { get; init; } = "adamw";

    /// <summary>Of the schedule's highest point.</summary>
    [Option("learning rate, at the schedule's highest point")]
    public double LearningRate { get; init; } = 1e-3;

    /// <summary>Decay of matrices: decoupled, or with <c>adam</c> an L2 penalty in the gradient.</summary>
    [Option("decay of matrices and tables: decoupled, or with adam an L2 penalty; norms and biases have none")]
    public double WeightDecay { get; init; } = 0.1;

    /// <summary>beta1.</summary>
    [Option("decay of Adam's mean of gradients")]
    public double AdamBeta1 { get; init; } = 0.9;

    /// <summary>beta2.</summary>
    [Option("decay of Adam's mean of squared gradients")]
    public double AdamBeta2 { get; init; } = 0.95;

    /// <summary>The bound of the gradients' common norm; 0 for none.</summary>
    [Option("gradients are scaled down to this norm; 0 leaves them")]
    public double MaxGradNorm { get; init; } = 1;

    /// <summary>One of <see cref="LearningRateSchedule.Names"/>.</summary>
    [Option("constant_with_warmup, linear, cosine or inverse_sqrt")]
    public string LrSchedulerType { get; init; } = "cosine";

    /// <summary>Steps over which the rate rises from 0.</summary>
    [Option("steps over which the rate rises from 0")]
    public long WarmupSteps { get; init; } = 200;

    /// <summary>The share of the steps, at the end, over which the rate falls to 0 beside the schedule.</summary>
    [Option("share of the steps, at the end, over which the rate also falls to 0 in a straight line")]
    public double RampDown { get; init; }

    /// <summary>Probability of every dropout.</summary>
    [Option("probability of every dropout")]
    public double Dropout { get; init; }

    /// <summary><c>bfloat16</c> or <c>float32</c>.</summary>
    [Option("number format of the products: bfloat16 or float32; weights and sums are float32")]
    public string Dtype { get; init; } = "bfloat16";

    /// <summary>Of weights, order and dropout.</summary>
    [Option("seed of the first weights, of the order of the text and of dropout")]
    public long Seed { get; init; }

    /// <summary><c>skip</c> or <c>stop</c>.</summary>
    [Option("an update whose loss or gradient is not finite: skip it, or stop", Affects.Nothing)]
    public string OnNonFinite { get; init; } = "stop";

    /// <summary><c>keep</c>, <c>skip</c> or <c>stop</c>.</summary>
    [Option("an update whose loss is far above the ones before: keep it, skip it, or stop")]
    public string OnSpike { get; init; } = "keep";

    /// <summary>Nats above the running mean of the loss that make a spike.</summary>
    [Option("nats above the running mean of the loss from which on a loss is a spike")]
    public double SpikeNats { get; init; } = 1;

    /// <summary>Whether bytes that are no UTF-8 are refused.</summary>
    [Option("refuse text that is not UTF-8 rather than replace and count it", Affects.Nothing)]
    public bool StrictUtf8 { get; init; }

    /// <summary>Steps between evaluations; 0 only at the end.</summary>
    [Option("score the held-out text every so many steps; 0 only at the end", Affects.Nothing)]
    public long EvalSteps { get; init; } = 500;

    /// <summary>Tokens of each held-out file that are scored on the way.</summary>
    [Option("tokens of each held-out file that are scored on the way; at the end all are", Affects.Nothing)]
    public long EvalTokens { get; init; } = 65536;

    /// <summary>Steps between checkpoints; 0 for none by steps.</summary>
    [Option("write a checkpoint every so many steps; 0 only by time and at the end", Affects.Nothing)]
    public long SaveSteps { get; init; }

    /// <summary>Minutes between checkpoints; 0 for none by time.</summary>
    [Option("write a checkpoint when so many minutes have passed since the last one; 0 only by steps", Affects.Nothing)]
    public double SaveMinutes { get; init; } = 10;

    /// <summary>Checkpoints kept.</summary>
    [Option("how many checkpoints to keep, the newest ones", Affects.Nothing)]
    public int SaveTotalLimit { get; init; } = 2;

    /// <summary>A time limit; null for none.</summary>
    [Option("stop with a checkpoint after this time and exit with 75: 45m, 2h, 90s or h:mm:ss", Affects.Nothing)]
    public string? MaxTime { get; init; }

    /// <summary>Steps between reports.</summary>
    [Option("write loss and rate to metrics.jsonl every so many steps", Affects.Nothing)]
    public int LoggingSteps { get; init; } = 10;

    /// <summary><c>bfloat16</c> or <c>float32</c>.</summary>
    [Option("number format of the model that is written at the end: bfloat16 or float32", Affects.Nothing)]
    public string SaveDtype { get; init; } = "bfloat16";

    /// <summary>The run's folder.</summary>
    [Option("the run's folder; default runs/pretrain-<preset>-s<seed>-<time>", Affects.Nothing)]
    public string? OutputDir { get; init; }

    /// <summary>The objective without text: the task Bit Memory.</summary>
    public const string BitMemory = "bit-memory";

    /// <summary>The paths in <see cref="Data"/>.</summary>
    public IReadOnlyList<string> Paths => Listed(Data);

    /// <summary>The rules in <see cref="HeldOut"/>.</summary>
    /// <exception cref="UsageException">One is none.</exception>
    public IReadOnlyList<HeldOut> Rules => [.. Listed(HeldOut ?? "").Select(Pretraining.HeldOut.Parse)];

    /// <summary>The objective's name.</summary>
    public string ObjectiveName => Objective ?? Architecture switch { "bert" => "masked", "t5" or "conv-seq2seq" => "span-corruption", _ => "causal" };

    /// <summary>Sequences computed at a time.</summary>
    public int MicroBatch => Math.Min(BatchSize, MicroBatchSize ?? Math.Max(1, 8192 / Context));

    /// <summary><see cref="MaxTime"/> as a duration; null when there is no limit.</summary>
    /// <exception cref="UsageException">It cannot be read.</exception>
    public TimeSpan? MaxDuration => new CheckpointOptions { MaxTime = MaxTime }.MaxDuration;

    /// <summary>Whether the learning rate of a step depends on how many steps there are in all.</summary>
    public bool RateDependsOnLength => LrSchedulerType is "linear" or "cosine" || RampDown > 0;

    /// <summary>Refuses values that cannot be.</summary>
    /// <exception cref="UsageException">One is out of range, or they do not go together.</exception>
    public void Validate()
    {
        OptionCheck.OneOf("architecture", Architecture, [.. PretrainingConfig.Families.Select(family => family.ModelType)]);
        OptionCheck.OneOf("objective", ObjectiveName, "causal", "masked", "span-corruption", "mask-spans", BitMemory);
        string[] able = Architecture switch { "gpt2" => ["causal", BitMemory], "bert" => ["masked"], _ => ["span-corruption", "mask-spans"] };
        if (!able.Contains(ObjectiveName))
            throw new UsageException($"`objective` {ObjectiveName} does not go with `architecture` {Architecture}, which learns by {string.Join(" or ", able)}");
        if (ObjectiveName == BitMemory) CheckWithoutText();
        else if (Paths.Count == 0) throw new UsageException("`data` names no text: give files, or folders with them");
        else if (Tokenizer.Length == 0) throw new UsageException("`tokenizer` names no folder; `permafrost tokenizer train` makes one");
        OptionCheck.OneOf("optim", Optim, "adamw", "adam", "adafactor");
        OptionCheck.OneOf("lr_scheduler_type", LrSchedulerType, [.. LearningRateSchedule.Names]);
        OptionCheck.OneOf("dtype", Dtype, "bfloat16", "float32");
        OptionCheck.OneOf("save_dtype", SaveDtype, "bfloat16", "float32");
        OptionCheck.OneOf("on_non_finite", OnNonFinite, "skip", "stop");
        OptionCheck.OneOf("on_spike", OnSpike, "keep", "skip", "stop");
        OptionCheck.Between("layers", Layers ?? 1, 1, 1000);
        OptionCheck.Between("width", Width ?? 2, 2, 1 << 16);
        OptionCheck.Between("heads", Heads ?? 1, 1, 1 << 12);
        OptionCheck.Between("context", Context, 8, 1 << 17);
        OptionCheck.Between("batch_size", BatchSize, 1, 1 << 16);
        OptionCheck.Between("micro_batch_size", MicroBatchSize ?? 1, 1, 1 << 16);
        OptionCheck.Between("max_steps", MaxSteps, 1, int.MaxValue);
        OptionCheck.Between("learning_rate", LearningRate, 0, 1e3);
        OptionCheck.Between("weight_decay", WeightDecay, 0, 1e3);
        OptionCheck.Between("adam_beta1", AdamBeta1, 0, 0.999999);
        OptionCheck.Between("adam_beta2", AdamBeta2, 0, 0.99999999);
        OptionCheck.Between("max_grad_norm", MaxGradNorm, 0, double.MaxValue);
        OptionCheck.Between("warmup_steps", WarmupSteps, 0, int.MaxValue);
        OptionCheck.Between("ramp_down", RampDown, 0, 1);
        OptionCheck.Between("dropout", Dropout, 0, 0.99);
        OptionCheck.Between("spike_nats", SpikeNats, 1e-6, double.MaxValue);
        OptionCheck.Between("eval_steps", EvalSteps, 0, int.MaxValue);
        OptionCheck.Between("eval_tokens", EvalTokens, 1, long.MaxValue);
        OptionCheck.Between("save_steps", SaveSteps, 0, int.MaxValue);
        OptionCheck.Between("save_minutes", SaveMinutes, 0, 1e6);
        OptionCheck.Between("save_total_limit", SaveTotalLimit, 1, int.MaxValue);
        OptionCheck.Between("logging_steps", LoggingSteps, 1, int.MaxValue);
        (_, _) = (MaxDuration, Rules);
    }

    private void CheckWithoutText()
    {
        (string Name, bool Given)[] others =
        [
            ("data", Data.Length > 0), ("tokenizer", Tokenizer.Length > 0), ("held_out", HeldOut is not null), ("layers", Layers is not null), ("width", Width is not null),
            ("heads", Heads is not null), ("micro_batch_size", MicroBatchSize is not null), ("ramp_down", RampDown > 0), ("on_spike", OnSpike != "keep"),
        ];
        if (others.FirstOrDefault(one => one.Given) is { Name: { } name })
            throw new UsageException($"`{name}` does not go with `objective` {BitMemory}, which makes its own bits and takes its sizes from `preset`; leave it out");
        if (Optim == "adafactor") throw new UsageException($"`optim` adafactor does not go with `objective` {BitMemory}; take adamw or adam");
    }

    /// <summary>What the learning rate of a step is.</summary>
    /// <param name="step">Counted from 0.</param>
    public double RateAt(long step) =>
        LearningRate * LearningRateSchedule.Factor(LrSchedulerType, step, WarmupSteps, MaxSteps) * LearningRateSchedule.RampDown(step, MaxSteps, RampDown);

    /// <summary>One entry of a list, as <see cref="Data"/> and <see cref="HeldOut"/> hold it: a comma within it has a backslash in front.</summary>
    public static string Entry(string text) => text.Replace(",", @"\,", StringComparison.Ordinal);

    private static string[] Listed(string text) =>
        [.. Commas().Split(text).Select(entry => entry.Trim().Replace(@"\,", ",", StringComparison.Ordinal)).Where(entry => entry.Length > 0)];

    [GeneratedRegex(@"(?<!\\),")]
    private static partial Regex Commas();
}
