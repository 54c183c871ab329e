using Permafrost.Data;
using Permafrost.Models;
using Permafrost.Tasks;
using Permafrost.Training.Options;

namespace Permafrost.Runs;

/// <summary>Which body, and what of it trains.</summary>
public sealed record ModelOptions
{
    /// <summary>A model folder, a model in the Hugging Face cache, or a preset's name.</summary>
    [Option("all-MiniLM-L6-v2, a model folder, a model in the Hugging Face cache, or with `init` random a preset (`permafrost ls backbones`)", Affects.Place)]
    public string Backbone { get; init; } = "";

    /// <summary>One of <see cref="BackboneInit.All"/>.</summary>
    [Option("where the backbone's weights come from: pretrained, random, random-gpt2-2021, statistics, shuffled")]
    public string Init { get; init; } = "pretrained";

    /// <summary>Seed of a body that is drawn.</summary>
    [Option("seed of a random, statistics or shuffled backbone; apart from `seed`, so that runs can share a body")]
    public long InitSeed { get; init; }

    /// <summary>Patterns of the checkpoint's tensors that are left out; null for none.</summary>
    [Option("tensors of the checkpoint that the backbone does not have, such as another head's, to leave out: patterns with commas, such as v_head.*", Affects.Nothing)]
    public string? SkipWeights { get; init; }

    /// <summary>What trains, as <see cref="Adaptation.Policy.Parse"/> reads it.</summary>
    [Option("what trains: fpt, output, *, or groups such as input,output,ln,attn[-1] (`permafrost ls policies`)")]
    public string Policy { get; init; } = "fpt";

    /// <summary><c>new</c>, <c>pretrained-embedding</c> or <c>fresh-embedding</c>; null for the second where texts are fed, else for the first.</summary>
    [Option("new; pretrained-embedding: any task as text, through the backbone's token table; fresh-embedding: a new table; default: the second for texts, else new")]
    public string? InputLayer { get; init; }

    /// <summary>As <see cref="Adaptation.Readout.Parse"/> reads it; null for the task's own.</summary>
    [Option("where answers are read: last, first, mean, last:K, all, or an encoder-decoder's decoder; default: the task's own")]
    public string? Readout { get; init; }

    /// <summary>Probability of every dropout; null for 0.1, or 0 where only the output layer trains.</summary>
    [Option("probability of every dropout, in the body and after a linear input layer; default 0.1, or 0 where only the output layer trains")]
    public double? Dropout { get; init; }

    /// <summary><c>auto</c>, <c>float32</c> or <c>bfloat16</c>.</summary>
    [Option("number format of frozen weights: float32, bfloat16 (faster, half the memory), or auto: bfloat16 where the hardware multiplies it natively")]
    public string FrozenDtype { get; init; } = "auto";

    /// <summary>A file or an adapter's folder with start values of trained parameters; null for none.</summary>
    [Option("start values of trained parameters: a .safetensors file, or an adapter's folder, PEFT's LN_TUNING among them", Affects.Place)]
    public string? InitAdapter { get; init; }

    /// <summary>Whether layers are computed again for their gradients.</summary>
    [Option("keep only what flows between layers and compute each layer again for its gradient: less memory, about a third more time")]
    public bool GradientCheckpointing { get; init; }

    /// <summary><c>memory</c>, <c>disk</c> or <c>none</c>.</summary>
    [Option("where the body's outputs are kept if only the output layer trains, without dropout: memory, disk (for later runs too) or none", Affects.Nothing)]
    public string FeatureCache { get; init; } = "memory";

    /// <summary>As <see cref="Kernels.Devices.Parse"/> reads it.</summary>
    [Option("auto, cpu, cuda or cuda:N")]
    public string Device { get; init; } = "auto";

    /// <summary>Threads of the process within an operator; 0 leaves them as they are.</summary>
    [Option("threads within an operator; 0 leaves libtorch's choice")]
    public int Threads { get; init; }

    /// <summary>Threads that this machine can be asked for: with many times more than it has cores, they wait for each other for minutes.</summary>
    internal static int MostThreads => Math.Max(64, 4 * Environment.ProcessorCount);

    internal void Validate()
    {
        if (Backbone.Length == 0) throw new UsageException("`backbone` is missing; give a model folder, or a preset with `init` random, such as gpt2-mini");
        if (InputLayer is not null) OptionCheck.OneOf("input_layer", InputLayer, "new", "pretrained-embedding", "fresh-embedding");
        OptionCheck.OneOf("frozen_dtype", FrozenDtype, "auto", "float32", "bfloat16");
        OptionCheck.OneOf("feature_cache", FeatureCache, "disk", "memory", "none");
        OptionCheck.Between("dropout", Dropout ?? 0, 0, 0.999);
        OptionCheck.Between("threads", Threads, 0, MostThreads);
        _ = Adaptation.Policy.Parse(Policy);
        _ = Adaptation.Readout.Parse(Readout ?? "last");
    }
}

/// <summary>Which task, on which data.</summary>
public sealed record DataOptions
{
    /// <summary>A task's name, as <see cref="TaskRegistry.Find"/> takes it; empty for the one that <see cref="Path"/> tells.</summary>
    [Option("the task, such as bit-xor or mnist@paper (`permafrost ls tasks`); without it the one that `data` tells (auto)")]
    public string Task { get; init; } = "";

    /// <summary>Settings of the task.</summary>
    [Option("settings of the task, as task_options.length=8 (`permafrost show task NAME`)")]
    public IReadOnlyDictionary<string, string> TaskOptions { get; init; } = new Dictionary<string, string>();

    /// <summary>A file or folder; null to look in the usual places.</summary>
    [Option("the task's data: a file or folder, also one in $PERMAFROST_DATA or the cache; without it the task's own is looked for there", Affects.Place, Key = "data")]
    public string? Path { get; init; }

    /// <summary>Number of classes; null where the data tells.</summary>
    [Option("number of classes, for tasks that read it from their data")]
    public int? NumClasses { get; init; }

    /// <summary>A file of validation examples; null to hold out a share.</summary>
    [Option("a file of validation examples, for tasks that read tables; without it a share is held out", Affects.Place)]
    public string? ValidationData { get; init; }

    /// <summary>A file of test examples; null to hold out a share.</summary>
    [Option("a file of test examples, likewise", Affects.Place)]
    public string? TestData { get; init; }

    /// <summary>The column of the texts; null where there are none.</summary>
    [Option("the column that holds the texts, for tasks that read tables")]
    public string? TextColumn { get; init; }

    /// <summary>The column of the labels.</summary>
    [Option("the column that holds the labels, for tasks that read tables")]
    public string? LabelColumn { get; init; }

    /// <summary>Most tokens of a text; null for 256.</summary>
    [Option("most tokens of a text, special tokens included; longer texts are cut, and counted; default 256, or less where the backbone's tokenizer says so")]
    public int? MaxLength { get; init; }

    /// <summary>Share held out for validation; null for 0.1, or 0 where rows are fed in order.</summary>
    [Option("share of the data held out for validation, for tasks without a split of their own (0 where `shuffle` is off)")]
    public double? ValidationFraction { get; init; }

    /// <summary>Share held out for the test; null for 0.1, or 0 where rows are fed in order.</summary>
    [Option("share of the data held out for the test, likewise")]
    public double? TestFraction { get; init; }

    /// <summary><c>class</c>, or <c>text</c>: an encoder-decoder writes the class's label.</summary>
    [Option("class: an output layer with a number for each class; text: an encoder-decoder writes the class's label with its own tokens")]
    public string Casting { get; init; } = "class";

    /// <summary>Training examples of every class, drawn by the run's seed; null for all.</summary>
    [Option("train on so many examples of every class, drawn by `seed`; validation examples are then scored, and nothing is chosen by them")]
    public int? TrainPerClass { get; init; }

    /// <summary>The options as the task takes them.</summary>
    /// <param name="reading">The part of the task's name after the <c>@</c>.</param>
    /// <param name="seed">Of generated examples.</param>
    /// <param name="held">Share held out for validation, and for the test, where nothing was said.</param>
    internal TaskOptions ForTask(string reading, long seed, double held) =>
        new(DataHome.Located(Path), reading, TaskOptions, seed, ValidationFraction ?? held, TestFraction ?? held, NumClasses)
        {
            MaxLength = MaxLength,
            TextColumn = TextColumn,
            LabelColumn = LabelColumn,
            ValidationPath = DataHome.Located(ValidationData),
            TestPath = DataHome.Located(TestData),
        };

    /// <summary>With the task that the data tells, where none is named.</summary>
    /// <exception cref="PermafrostException">Nothing tells it.</exception>
    internal DataOptions Told() => Task == AutoTask.TaskName || (Task.Length == 0 && Path is not null) ? this with { Task = AutoTask.Choose(DataHome.Located(Path)) } : this;

    internal void Validate()
    {
        if (Task.Length > 0) _ = TaskRegistry.Find(Task);
        else if (Path is null) throw new UsageException($"`task` is missing; there are {string.Join(", ", TaskRegistry.All.SelectMany(TaskRegistry.Names))}");
        OptionCheck.Between("validation_fraction", ValidationFraction ?? 0, 0, 0.9);
        OptionCheck.Between("test_fraction", TestFraction ?? 0, 0, 0.9);
        if (ValidationFraction + TestFraction >= 0.99) throw new UsageException("`validation_fraction` and `test_fraction` leave nothing to train on; lower one");
        OptionCheck.Between("num_classes", NumClasses ?? 2, 2, 1 << 24);
        OptionCheck.Between("max_length", MaxLength ?? 3, 3, 1 << 20);
        OptionCheck.OneOf("casting", Casting, "class", "text");
        OptionCheck.Between("train_per_class", TrainPerClass ?? 1, 1, 1 << 24);
    }
}

/// <summary>
/// Everything that describes a run, in groups. A field's name in snake_case is its YAML key, with dashes its flag; names follow Hugging Face's Trainer where it has one, default
/// values the paper (Lu et al. 2021). The resolved options are saved as the run's config.yaml and run again to the same result.
/// </summary>
public sealed record RunOptions
{
    /// <summary>Which body, and what of it trains.</summary>
    public ModelOptions Model { get; init; } = new();

    /// <summary>Which task, on which data.</summary>
    public DataOptions Data { get; init; } = new();

    /// <summary>What becomes of gradients.</summary>
    public OptimizerOptions Optimizer { get; init; } = new();

    /// <summary>What is trained on pairs of examples first.</summary>
    public PairOptions Contrast { get; init; } = new();

    /// <summary>How long it trains, on what in which order, and how the learning rate goes.</summary>
    public ScheduleOptions Schedule { get; init; } = new();

    /// <summary>What is scored, and what follows from it.</summary>
    public EvaluationOptions Evaluation { get; init; } = new();

    /// <summary>What is written down on the way, and when the training stops of itself.</summary>
    public CheckpointOptions Checkpoints { get; init; } = new();

    /// <summary>Seed of new layers, data order, generated examples and dropout.</summary>
    [Option("seed of new layers, data order, generated examples and dropout")]
    public long Seed { get; init; }

    /// <summary>Refuses values that cannot be.</summary>
    /// <exception cref="UsageException">One is out of range, named by its key.</exception>
    public void Validate()
    {
        Data.Validate();
        Model.Validate();
        Optimizer.Validate();
        Contrast.Validate();
        Schedule.Validate();
        Evaluation.Validate();
        Checkpoints.Validate();
    }

    /// <summary>Options with paths as they are found from any other folder.</summary>
    internal RunOptions Located()
    {
        static string? Absolute(string? path) => path is not null && Path.Exists(path) ? RunFolder.Full(path) : path;
        static string? OfData(string? path) => Absolute(DataHome.Located(path));
        string backbone = Model.Backbone;
        return this with
        {
            Model = Model with { Backbone = BackboneSource.IsFolder(backbone) ? RunFolder.Full(backbone) : backbone, InitAdapter = Absolute(Model.InitAdapter) },
            Data = Data with { Path = OfData(Data.Path), ValidationData = OfData(Data.ValidationData), TestData = OfData(Data.TestData) },
            Checkpoints = Checkpoints with { OutputDir = Checkpoints.OutputDir is null ? null : RunFolder.Full(Checkpoints.OutputDir) },
        };
    }
}
