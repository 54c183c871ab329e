using System.Text;
using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Tasks;
using Permafrost.Tuning;

namespace Permafrost.Training;

/// <summary>What a training step reports.</summary>
/// <param name="Step">Updates done.</param>
/// <param name="Steps">Updates in all.</param>
/// <param name="Loss">Mean training loss in nats over the steps since the last report that had answers; NaN where none had.</param>
/// <param name="GradientNorm">Mean gradient norm before clipping, likewise.</param>
/// <param name="LearningRate">The rate of the last update.</param>
/// <param name="TokensPerSecond">Since the last report.</param>
public sealed record StepReport(long Step, long Steps, double Loss, double GradientNorm, double LearningRate, double TokensPerSecond);

/// <summary>Watches a run; the command line draws its progress from it.</summary>
public interface ITrainingObserver
{
    /// <summary>Something that takes a while begins, in a few words.</summary>
    void Phase(string what);

    /// <summary>A part of the present phase is done, from 0 to 1.</summary>
    void Progress(string what, double part) { }

    /// <summary>Something worth knowing that stays to be read.</summary>
    void Note(string what) { }

    /// <summary>Training begins.</summary>
    void Started(FinetuneRun run, long steps);

    /// <summary>A report is due (every <c>logging_steps</c>).</summary>
    void Stepped(StepReport report);

    /// <summary>A split was scored.</summary>
    void Evaluated(string split, long step, Metrics metrics);
}

/// <summary>One training from options to scores: load, freeze, train, check, score, write. The road of DESIGN section 4.</summary>
public sealed partial class FinetuneRun : IDisposable
{
    private readonly BackboneSource source;
    private readonly string reading;
    private readonly FeatureStore features;
    private readonly IReadOnlyList<int>? lengths;
    private readonly Lazy<string> dataSha256;
    private readonly string[] stillDrawn = [];  // of the new layers, what an adapter to start from does not hold
    private bool trained;

    private FinetuneRun(RunOptions options, TaskShape? knownShape, bool withData, bool wholeBackbone = false)
    {
        options.Validate();
        Options = options with { Dropout = options.Dropout ?? (Policy.Parse(options.Policy).IsOutputOnly ? 0 : 0.1) };
        MicroBatchSize = options.PerDeviceTrainBatchSize;
        EvalBatchSize = options.PerDeviceEvalBatchSize;
        dataSha256 = new(DataSha256);
        (Task, reading) = TaskRegistry.Find(options.Task);
        _ = Tuning.Readout.Parse(options.Readout ?? "last");
        if (options.Threads > 0) Engine.Threads = options.Threads;
        Device = ParseDevice(options.Device);
        double fallback = options.Shuffle ? 0.1 : 0;
        TaskOptions = new TaskOptions(options.Data, reading, options.TaskOptions, options.Seed, options.ValidationFraction ?? fallback, options.TestFraction ?? fallback, options.NumClasses);
        source = BackboneSource.Resolve(options.Backbone);
        Options = Located(Options);

        IReadOnlyDictionary<string, Tensor>? start = options.InitAdapter is null ? null : AdapterFolder.ReadFile(options.InitAdapter);
        if (withData) Data = Task.Load(TaskOptions);
        // A finished run may be scored on any data.
        if (knownShape is null && options.EarlyStoppingPatience > 0 && options.EvalSteps == 0)
            throw new UsageException($"--early-stopping-patience {options.EarlyStoppingPatience} counts validations on the way, and --eval-steps 0 has none; give --eval-steps");
        if (knownShape is null && withData && Data!.Validation is null && options.EarlyStoppingPatience > 0)
            throw new UsageException(
                $"--early-stopping-patience {options.EarlyStoppingPatience} watches the validation split, and there is none here; give --validation-fraction, or leave it out");
        if (withData) _ = Steps;
        if (withData && knownShape is null && options.GroupByLength) lengths = CheckLengths(Data!.Train);
        TaskShape shape = knownShape ?? Data!.Shape;
        if (options.NumClasses is { } classes && classes != shape.Classes) throw new UsageException($"--num-classes {classes}: the task {Task.Name} has {shape.Classes} classes");
        // A start value for the input table may have more rows than the ids that happen to occur.
        if (shape.Vocabulary is { } ids && options.InputLayer == "new" && start?.GetValueOrDefault("input_layer.weight") is { Dimensions: 2 } table && table.size(0) > ids)
            shape = shape with { Vocabulary = (int)table.size(0) };
        if (knownShape is not null && Data is not null && (Data.Shape.VectorSize != shape.VectorSize || Data.Shape.Vocabulary > shape.Vocabulary || Data.Shape.Targets != shape.Targets || Data.Shape.Classes > shape.Classes))
            throw new PermafrostException($"the data of {Task.Name} has another shape than the run was trained on (inputs, number of answers or classes); give the data of the run with --data");
        FrozenType = ParseFrozenType(options.FrozenDtype, Device);
        (Model, BackboneSha256) = Tune(shape, wholeBackbone);
        features = new FeatureStore(this);
        Model.Backbone.GradientCheckpointing = options.GradientCheckpointing;
        if (start is not null)
        {
            HashSet<string> left = [.. Model.LoadAdapter(start, options.InitAdapter!, complete: false)];
            stillDrawn = [.. Model.Parameters.Where(p => p.Group is GroupName.Input or GroupName.Output && left.Contains(p.Name)).Select(p => p.Name)];
            foreach (Tensor tensor in start.Values) tensor.Dispose();
        }
    }

    /// <summary>The options.</summary>
    public RunOptions Options { get; }

    /// <summary>The task.</summary>
    public TaskDefinition Task { get; }

    /// <summary>The task's options.</summary>
    public TaskOptions TaskOptions { get; }

    /// <summary>The data; null when only predictions are wanted.</summary>
    public TaskData? Data { get; }

    /// <summary>The model.</summary>
    public TunedModel Model { get; }

    /// <summary>Where it computes.</summary>
    public Device Device { get; }

    /// <summary>What --frozen-dtype came to on this machine.</summary>
    public ScalarType FrozenType { get; }

    /// <summary>SHA-256 of the backbone's weights before training.</summary>
    public string BackboneSha256 { get; }

    /// <summary>
    /// The examples of a split as the model takes them: where what the body computes from them never changes (<see cref="TunedModel.ReadsConstants"/>), the hidden
    /// states that the output layer reads, computed once and kept; else as they are.
    /// </summary>
    /// <param name="split"><c>train</c>, <c>validation</c> or <c>test</c>.</param>
    /// <param name="observer">Told of progress; null for nobody.</param>
    /// <param name="cancellation">Ends the computing.</param>
    /// <returns>Null when the data has no such split.</returns>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public IExamples? Examples(string split, ITrainingObserver? observer = null, CancellationToken cancellation = default)
    {
        IExamples? examples = split switch { "train" => Data?.Train, "validation" => Data?.Validation, "test" => Data?.Test, _ => throw new ArgumentException(split, nameof(split)) };
        return examples is null ? null : features.Of(split, examples, observer, cancellation);
    }

    /// <summary>Bytes of the features of a split; 0 where <see cref="Examples"/> gives the examples as they are.</summary>
    internal long FeatureBytes(IExamples? examples) => features.Bytes(examples);

    /// <summary>Updates that the options ask for.</summary>
    public long Steps
    {
        get
        {
            if (Options.MaxSteps is { } steps) return steps;
            if (Options.NumTrainEpochs is not { } epochs) return 2000;
            long perEpoch = Order.StepsPerEpoch ?? throw new UsageException($"--num-train-epochs: the task {Task.Name} generates examples without end; use --max-steps");
            return Math.Max(1, (long)Math.Ceiling(epochs * perEpoch));
        }
    }

    /// <summary>Loads everything that a training needs.</summary>
    /// <param name="options">The run.</param>
    /// <param name="wholeBackbone">Keep also what the run's inputs never reach, to save the backbone afterwards.</param>
    /// <param name="fitMemory">Where a batch would not fit into memory, take it in parts (<see cref="MemoryEstimate.Fit"/>, <see cref="MicroBatchSize"/>, <see cref="EvalBatchSize"/>).</param>
    /// <exception cref="PermafrostException">Something is missing, damaged, or does not fit.</exception>
    public static FinetuneRun Prepare(RunOptions options, bool wholeBackbone = false, bool fitMemory = false)
    {
        var run = new FinetuneRun(options, null, withData: true, wholeBackbone);
        if (fitMemory && run.Device.type == DeviceType.CPU) (run.MicroBatchSize, run.EvalBatchSize) = MemoryEstimate.Fit(run, EnvironmentInfo.AvailableMemoryBytes);
        return run;
    }

    /// <summary>Rebuilds a finished run's model with its adapter.</summary>
    /// <param name="path">The run's folder.</param>
    /// <param name="withData">Load the task's data too, to score it.</param>
    /// <param name="change">Changes to the saved options, such as another data folder.</param>
    /// <exception cref="PermafrostException">The run is damaged, unfinished, or its backbone is not the one it was trained on.</exception>
    public static FinetuneRun Open(string path, bool withData, Func<RunOptions, RunOptions>? change = null)
    {
        RunFolder folder = RunFolder.Open(path);
        RunOptions options = folder.ReadOptions();
        // What only trained, and as many threads as this machine takes: the run may come from a larger one.
        options = options with { InitAdapter = null, WarmupSteps = 0, WarmupRatio = 0, Threads = Math.Min(options.Threads, RunOptions.MostThreads) };
        if (change is not null) options = change(options);
        JsonObject config = AdapterFolder.ReadConfig(folder.Adapter);
        var run = new FinetuneRun(options, ShapeFrom(config, folder.Adapter), withData);
        if (config["backbone_sha256"]?.ToString() != run.BackboneSha256)
            throw new PermafrostException($"the backbone {options.Backbone} is not the one that {path} was trained on (SHA-256 {run.BackboneSha256[..12]}..., then {Short(config["backbone_sha256"])})");
        using var scope = torch.NewDisposeScope();
        run.Model.LoadAdapter(AdapterFolder.ReadTensors(folder.Adapter), folder.Adapter, complete: true);
        return run;
    }

    /// <summary>Trains, scores and writes the run folder.</summary>
    /// <param name="folder">The run's folder.</param>
    /// <param name="command">The command line, for the record.</param>
    /// <param name="observer">Told of progress.</param>
    /// <param name="stop">Asked to stop through this, the run saves a checkpoint and ends with <see cref="StoppedException"/>.</param>
    /// <param name="checkpoint">A verified checkpoint of the same run to go on from; null to begin.</param>
    /// <param name="clock">Tells the time of day, for the log, and how long things take, for everything else.</param>
    /// <returns>What results.json holds.</returns>
    /// <exception cref="StoppedException">It was asked to stop.</exception>
    /// <exception cref="DivergedException">The loss is not finite.</exception>
    /// <exception cref="PermafrostException">A file cannot be written, or a promise about frozen weights is broken.</exception>
    public JsonObject Train(RunFolder folder, string command, ITrainingObserver observer, StopRequest stop, string? checkpoint = null, TimeProvider? clock = null)
    {
        if (trained) throw new InvalidOperationException("a run trains once");
        trained = true;
        clock ??= TimeProvider.System;
        TaskData data = Data ?? throw new InvalidOperationException("the run was opened without data");
        AtomicFile.RemoveLeftovers(folder.Path);
        if (checkpoint is null) Describe(folder, command);
        // Before the first step: a stop must not have to wait for it.
        if (!Task.IsGenerated && !dataSha256.IsValueCreated) observer.Phase("reading the data once, to know it again");
        _ = dataSha256.Value;
        string frozenBefore = Model.FrozenSha256();
        if (checkpoint is null && stillDrawn.Length > 0) observer.Note($"{Options.InitAdapter} does not hold {string.Join(" and ", stillDrawn)}: they start at random");
        observer.Started(this, Steps);
        Model.Train(true);
        using var loop = new TrainingLoop(this, folder, observer, stop, checkpoint, clock);
        if (checkpoint is not null) DescribeAgain(folder, command, loop);
        TrainerState state = loop.State;
        if (checkpoint is not null && loop.GoesOn) folder.PutResultsAside(state.Step);
        using var log = new MetricsLog(folder.Metrics, state.LogBytes, clock);
        loop.Run(log);
        if (Model.FrozenSha256() != frozenBefore) throw new PermafrostException("frozen weights changed during training; this is a defect of permafrost: please report it with the run's config.yaml and env.json");

        long step = state.Step;
        if (Options.LoadBestModelAtEnd && state.BestStep >= 0 && state.BestStep < state.Step)
        {
            using var scope = torch.NewDisposeScope();
            Model.LoadAdapter(AdapterFolder.ReadTensors(folder.Best), folder.Best, complete: true);
            step = state.BestStep;
        }
        folder.CheckStillThere();
        AdapterFolder.Write(folder.Adapter, AdapterConfig(step), Model.Adapter());
        try
        {
            var metrics = new JsonObject();
            if (Examples("validation", observer, stop.Token) is { } validation) metrics["validation"] = Score("validation", validation, step, log, observer, null, stop.Token, announce: step != state.EvaluatedStep).ToJson();
            if (Options.ScoreTest && Examples("test", observer, stop.Token) is { } test) metrics["test"] = ScoreTest(test, folder, step, log, observer, stop.Token).ToJson();
            var floors = new JsonObject();
            if (Options.Floors && Options.ScoreTest)
            {
                observer.Phase("measuring floors");
                foreach ((string rule, double score) in Floors.Measure(Task, data)) floors[rule] = score;
            }
            JsonObject results = Results(state, step, metrics, floors);
            if (features.Active) results["feature_seconds"] = Math.Round(features.Seconds, 3);
            RunFolder.WriteJson(folder.Results, results);
            return results;
        }
        catch (OperationCanceledException)
        {
            throw new StoppedException($"stopped while scoring, after the last step; go on with: permafrost finetune --resume-from-checkpoint {ShellWord.Quoted(folder.Path)}", stop.Reason);
        }
    }

    /// <summary>Scores the test split and the floors of a run that was trained with <c>--no-score-test</c> and has been chosen, as if it had been trained to be scored.</summary>
    /// <returns>What results.json holds now.</returns>
    /// <exception cref="PermafrostException">The run is unfinished or damaged.</exception>
    public static JsonObject ScoreChosen(string path, CancellationToken cancellation)
    {
        RunFolder folder = RunFolder.Open(path);
        JsonObject results = JsonFile.Read(folder.Results);
        RunOptions options = folder.ReadOptions();
        if (options.ScoreTest) return results;
        if (results["scored_step"] is not JsonValue value || !value.TryGetValue(out long step) || results["metrics"] is not JsonObject metrics) throw new PermafrostException($"{folder.Results} is damaged: it lacks scored_step or metrics");
        if (metrics["test"] is not null)
        {
            // It was stopped between the two files.
            Redescribe(folder, options with { ScoreTest = true });
            return results;
        }
        using FinetuneRun run = Open(path, withData: true);
        run.EvalBatchSize = MemoryEstimate.FitScoring(run, run.EvalBatchSize, EnvironmentInfo.AvailableMemoryBytes);
        // A line of an attempt that was killed is written again.
        using (var log = new MetricsLog(folder.Metrics, Checkpoint.All(folder) is [.., var last] ? Checkpoint.LogBytes(last) : long.MaxValue))
            if (run.Examples("test", null, cancellation) is { } test) metrics["test"] = run.ScoreTest(test, folder, step, log, null, cancellation).ToJson();
        results["floors"] = new JsonObject(Floors.Measure(run.Task, run.Data!).Select(floor => KeyValuePair.Create(floor.Key, (JsonNode?)floor.Value)));
        RunFolder.WriteJson(folder.Results, results);
        Redescribe(folder, options with { ScoreTest = true });
        return results;
    }

    /// <summary>Which examples each step sees.</summary>
    internal DataOrder Order => new(Data!.Train.Count, GlobalBatchSize, Options.Shuffle, Options.Seed, lengths);

    /// <summary>Examples computed at a time: the batch, or less where memory is short. A resumed run keeps that of its checkpoint.</summary>
    public int MicroBatchSize { get; private set; }

    /// <summary>Examples scored at a time: <c>--per-device-eval-batch-size</c>, or less where memory is short.</summary>
    public int EvalBatchSize { get; private set; }

    /// <summary>Examples of one update: batch size times accumulation.</summary>
    public int GlobalBatchSize => checked(Options.PerDeviceTrainBatchSize * Options.GradientAccumulationSteps);

    /// <summary>What this run is, for its checkpoints: options, backbone, data and versions.</summary>
    public JsonObject Identity()
    {
        var options = new JsonObject();
        foreach (OptionField field in OptionTable.All) options[field.Key] = field.FormatAny(Options);
        return new JsonObject
        {
            ["options"] = options,
            ["backbone_sha256"] = BackboneSha256,
            ["micro_batch_size"] = MicroBatchSize,
            ["eval_batch_size"] = EvalBatchSize < Options.PerDeviceEvalBatchSize ? EvalBatchSize : null,
            ["frozen_type"] = FrozenType.ToString().ToLowerInvariant(),
            ["data_sha256"] = dataSha256.Value,
            ["permafrost_version"] = EnvironmentInfo.Version.Split('+')[0],
            ["libtorch_version"] = Engine.Version,
            // Batches of their own give other rounding than the batches of the steps.
            ["features"] = features.Active ? "computed once" : EveryStep,
        };
    }

    /// <summary>Refuses to go on from a checkpoint of another run; what does not change the result may differ.</summary>
    /// <param name="checkpoint">The checkpoint.</param>
    /// <param name="allowed">Names of differences to accept.</param>
    /// <exception cref="UsageException">Something differs; each difference is named.</exception>
    public void CheckSameRun(string checkpoint, IReadOnlyCollection<string> allowed)
    {
        JsonObject saved = Checkpoint.Identity(checkpoint);
        CheckNames(allowed);
        if (saved["micro_batch_size"] is { } micro) MicroBatchSize = (int)micro;
        if (saved["eval_batch_size"] is { } scored) EvalBatchSize = Math.Min(EvalBatchSize, (int)scored);
        JsonObject own = Identity();
        var differences = new List<string>();
        void Compare(string name, JsonNode? then, JsonNode? now)
        {
            if (then?.ToString() != now?.ToString() && !allowed.Contains(name)) differences.Add($"{name} was {Short(then)}, is {Short(now)}");
        }
        foreach ((string key, JsonNode? value) in own)
        {
            if (key == "features") Compare(key, saved[key] ?? EveryStep, value);
            else if (key == "eval_batch_size") continue;  // taken over above
            else if (key != "options") Compare(key, saved[key], value);
            else
                foreach ((string option, JsonNode? text) in value!.AsObject())
                    if (!HarmlessOptions.Contains(option) && !IsOnlyLength(option))
                        // An option that is younger than the checkpoint was at its default.
                        Compare(option, saved["options"]?[option] ?? OptionTable.All.First(field => field.Key == option).DefaultText, text);
        }
        if (differences.Count > 0) throw Other(checkpoint, differences);
    }

    /// <summary>The same for a run that was ended before its first checkpoint, and begins again: its options are all there is to compare.</summary>
    /// <exception cref="UsageException">Something differs; each difference is named.</exception>
    public void CheckSameOptions(RunFolder folder, IReadOnlyCollection<string> allowed)
    {
        CheckNames(allowed);
        RunOptions saved = Located(folder.ReadOptions());
        // No checkpoint's checksums stand for what these three name.
        bool Harmless(string key) => HarmlessOptions.Contains(key) && key is not ("backbone" or "data" or "init_adapter");
        string[] differences = [.. OptionTable.All.Where(field => !Harmless(field.Key) && !IsOnlyLength(field.Key) && !allowed.Contains(field.Key) && field.FormatAny(saved) != field.FormatAny(Options))
            .Select(field => $"{field.Key} was {Short(field.FormatAny(saved))}, is {Short(field.FormatAny(Options))}")];
        if (differences.Length > 0) throw Other(folder.Path, differences);
    }

    /// <summary>Refuses a rate for a group of which nothing trains.</summary>
    /// <exception cref="UsageException">There is one.</exception>
    public void CheckRates()
    {
        if (Options.LearningRates.Keys.FirstOrDefault(key => Model.Trained.All(p => !p.Group.ToString().Equals(key, StringComparison.OrdinalIgnoreCase))) is { } idle)
            throw new UsageException($"learning_rates.{idle}: --policy {Options.Policy} trains nothing of that group; leave it out");
    }

    private static void CheckNames(IReadOnlyCollection<string> allowed)
    {
        string[] known = [.. OptionTable.All.Select(field => field.Key), "backbone_sha256", "micro_batch_size", "frozen_type", "data_sha256", "permafrost_version", "libtorch_version", "features"];
        if (allowed.FirstOrDefault(name => !known.Contains(name)) is { } unknown) throw new UsageException($"--allow-changes {unknown}: there is no such difference{Spelling.Hint(unknown, known, "; the refusal names them, such as learning_rate or data_sha256")}");
    }

    private static UsageException Other(string source, IEnumerable<string> differences) =>
        new($"{source} belongs to another run: {string.Join("; ", differences)}; undo the change, start anew in another --output-dir, or accept it with --allow-changes NAME where the shapes allow");

    /// <summary>Number counts as in results.json.</summary>
    public JsonObject ParameterCounts()
    {
        (long total, long train, long unused) = Model.Counts;
        return new JsonObject
        {
            ["total"] = total,
            ["trained"] = train,
            ["trained_percent"] = Math.Round(100.0 * train / total, 4),
            ["unused"] = unused,
            ["position_rows_used"] = Model.Backbone.MaxPositions is null ? 0 : Model.Shape.SequenceLength,
        };
    }

    /// <summary>Frees the model and the data.</summary>
    public void Dispose()
    {
        features.Dispose();
        Model.Dispose();
        Data?.Dispose();
    }

    // The model owns the backbone; one that does not fit the task is freed.
    private (TunedModel Model, string BackboneSha256) Tune(TaskShape shape, bool wholeBackbone)
    {
        var policy = Policy.Parse(Options.Policy);
        bool ownTokens = Options.InputLayer == "pretrained-embedding";
        var hashes = new List<(string Name, byte[] Hash)>();
        Backbone backbone = source.Load(Options.Init, Options.InitSeed, (body, name, parameter) =>
        {
            hashes.Add((name, BackboneSource.Sha256(name, parameter)));
            if (!wholeBackbone) TunedModel.Settle(body, name, parameter, policy, ownTokens, FrozenType, Device);
        });
        try
        {
            if (ownTokens && shape.Vocabulary > backbone.Config.Int("vocab_size", int.MaxValue))
                throw new PermafrostException($"the task feeds ids up to {shape.Vocabulary - 1}, but the backbone's token table has {backbone.Config.Int("vocab_size", 0)} rows; use --input-layer new");
            var model = new TunedModel(backbone, shape, Tuning.Readout.Parse(Options.Readout ?? shape.Readout), policy, ownTokens, Options.Dropout!.Value, Options.Seed, Device, FrozenType);
            return (model, BackboneSource.Sha256(hashes));
        }
        catch
        {
            backbone.Dispose();
            throw;
        }
    }

    private const string EveryStep = "computed at every step";

    // Whether an option only says when to end: where the rate does not depend on it.
    private bool IsOnlyLength(string option) => option is "max_steps" or "num_train_epochs" && Options.LrSchedulerType is "constant" or "constant_with_warmup" && Options.WarmupRatio == 0;

    // Options that change neither what is computed nor on what.
    private static readonly string[] HarmlessOptions =
        ["output_dir", "logging_steps", "save_steps", "save_minutes", "save_total_limit", "max_time", "floors", "per_device_eval_batch_size", "feature_cache", "data", "backbone", "init_adapter", "score_test"];

    private static string Short(JsonNode? node) => node?.ToString() is { Length: > 0 } text ? text.Length > 24 ? text[..12] + "..." : text : "not set";

    private Metrics Score(string split, IExamples examples, long step, MetricsLog log, ITrainingObserver? observer, Action<Prediction>? onPrediction, CancellationToken cancellation, bool announce = true)
    {
        Metrics metrics = Evaluator.Evaluate(Model, examples, EvalBatchSize, Device, onPrediction, cancellation);
        if (split != "validation") log.Write(step, metrics.ToLog(split));
        if (announce) observer?.Evaluated(split, step, metrics);
        return metrics;
    }

    private Metrics ScoreTest(IExamples test, RunFolder folder, long step, MetricsLog log, ITrainingObserver? observer, CancellationToken cancellation)
    {
        observer?.Phase("scoring the test split");
        Metrics? metrics = null;
        AtomicFile.Write(Path.Combine(folder.Path, "predictions.jsonl"), stream =>
            metrics = Score("test", test, step, log, observer, prediction => stream.Write(Encoding.UTF8.GetBytes(ToJson(prediction, Model.Shape).ToJsonString() + "\n")), cancellation));
        return metrics!;
    }

    // Paths are written down so that they are found again from any other folder.
    private static RunOptions Located(RunOptions options)
    {
        static string? Absolute(string? path) => path is not null && Path.Exists(path) ? RunFolder.Full(path) : path;
        return options with
        {
            Backbone = BackboneSource.IsFolder(options.Backbone) ? RunFolder.Full(options.Backbone) : options.Backbone,
            Data = Absolute(options.Data),
            InitAdapter = Absolute(options.InitAdapter),
            OutputDir = options.OutputDir is null ? null : RunFolder.Full(options.OutputDir),
        };
    }

    /// <summary>What --frozen-dtype means here; auto: bfloat16 where the processor or the GPU multiplies it natively.</summary>
    public static ScalarType ParseFrozenType(string text, Device device) =>
        text == "bfloat16" || text == "auto" && (device.type == DeviceType.CUDA || KernelSet.MultipliesBFloat16) ? ScalarType.BFloat16 : ScalarType.Float32;

    private IReadOnlyList<int> CheckLengths(IExamples train)
    {
        if (train.Count is null) throw new UsageException($"--group-by-length: the task {Options.Task} generates examples without end, which cannot be sorted; leave it out");
        IReadOnlyList<int>? found = train.Lengths;
        return found is not null && found.Distinct().Skip(1).Any() ? found : throw new UsageException($"--group-by-length: the training examples of {Options.Task} all have the same length; leave it out");
    }

    /// <summary>The device of <c>--device</c>.</summary>
    /// <exception cref="UsageException">It does not exist.</exception>
    public static Device ParseDevice(string text)
    {
        try
        {
            return Devices.Parse(text);
        }
        catch (FormatException error)
        {
            throw new UsageException($"--device {error.Message}");
        }
    }
}
