using System.Text;
using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;
using Permafrost.Tasks.Metrics;
using Permafrost.Training;

namespace Permafrost.Runs;

/// <summary>One training as a thing on disk that can stop and go on: options to data, body and model, and from there to scores.</summary>
public sealed partial class Finetuning : IDisposable
{
    private readonly Lazy<string> dataSha256;
    private readonly FrozenFeatures features;
    private readonly bool ownsWeights;
    private readonly string? ambiguity;
    private readonly string[] stillDrawn = [];  // of the new layers, what an adapter to start from does not hold
    private readonly TaskSpec spec;
    private bool trained;

    private Finetuning(RunOptions options, TaskSpec? knownSpec, bool withData, FrozenWeights? weights)
    {
        options.Validate();
        ModelOptions chosen = options.Model;
        DataOptions told = options.Data.Told();
        bool isTold = told != options.Data;
        options = (options with { Data = told, Model = chosen with { Dropout = chosen.Dropout ?? (Policy.Parse(chosen.Policy).IsOutputOnly ? 0 : 0.1) } }).Located();
        Options = options;
        MicroBatchSize = options.Schedule.PerDeviceTrainBatchSize;
        EvalBatchSize = options.Evaluation.PerDeviceEvalBatchSize;
        (Task, string reading) = TaskRegistry.Find(options.Data.Task);
        if (chosen.Threads > 0) Engine.Threads = chosen.Threads;
        Device = ParseDevice(chosen.Device);
        var source = BackboneSource.Resolve(chosen.Backbone);
        TaskOptions = options.Data.ForTask(reading, options.Seed, options.Schedule.Shuffle ? 0.1 : 0) with
        {
            Tokenizer = () => Weights!.LoadTokenizer(),
            LongestInput = () => Weights!.LongestInput,
            Trained = knownSpec is null ? null : Casting.Source(knownSpec),
        };
        TaskOptions.CheckTables(Task);
        dataSha256 = new(() => DataHash.Of(Data!));
        ambiguity = source.Note;
        IReadOnlyDictionary<string, Tensor>? start = chosen.InitAdapter is null ? null : PeftAdapter.Read(chosen.InitAdapter);
        if (weights is not null && knownSpec is null) CheckGiven(weights, source, chosen);
        Weights = weights ?? FrozenWeights.Load(source, chosen.Init, chosen.InitSeed, chosen.SkipWeights);
        ownsWeights = weights is null;
        try
        {
            asked = options;
            if (withData) LoadData(knownSpec is null);
            if (withData) Cast(knownSpec);
            if (isTold && Data is not null) Data = Data with { Notes = [AutoTask.Note(told.Path, Task.Name), .. Data.Notes] };
            if (Data is not null && knownSpec is null)
            {
                Trainer.CheckEarlyStopping(TrainerOptions(), ChoosingValidation is not null || toMake == ChoiceToMake.ByFolds);  // a finished run may be scored on any data
                Trainer.CreateSampler(TrainerOptions(), Data.Train);
                _ = Steps;
            }
            spec = SpecFor(knownSpec ?? Data!.Spec, knownSpec is null, start);
            if (options.Data.Casting == "text" && !FeedsOwnTokens(spec))
                throw new UsageException("`casting` text writes labels with the backbone's own tokens, which `input_layer` pretrained-embedding feeds; give that too");
            Model = Adapt();
            if (options.Contrast.Pairs) PairTraining.Check(Model);
            Model.OutputOnly = options.Contrast.Pairs;
            bool keeps = chosen.FeatureCache == "disk" && !options.Contrast.Pairs;  // what pairs have changed is no other run's
            features = new FrozenFeatures(Model, Device, chosen.FeatureCache != "none" || options.Contrast.Pairs, keeps ? new RunFeatureCache(this) : null);
            if (start is not null) stillDrawn = LoadStart(start, chosen.InitAdapter!);
        }
        catch
        {
            foreach (Tensor tensor in start?.Values ?? []) tensor.Dispose();
            Dispose();
            throw;
        }
    }

    /// <summary>The options, as they were resolved.</summary>
    public RunOptions Options { get; private set; }

    /// <summary>The task.</summary>
    public TaskDefinition Task { get; }

    /// <summary>The task's options.</summary>
    public TaskOptions TaskOptions { get; private set; }

    /// <summary>The data; null when only predictions are wanted.</summary>
    public TaskData? Data { get; private set; }

    /// <summary>The body.</summary>
    public FrozenWeights Weights { get; }

    /// <summary>The model.</summary>
    public AdaptedModel Model { get; }

    /// <summary>Where it computes.</summary>
    public Device Device { get; }

    /// <summary>Updates that the options ask for.</summary>
    public long Steps => Options.Schedule.Steps(Data!.Train.Count);

    /// <summary>Examples computed at a time: the batch, or less where memory is short. A resumed run keeps that of its checkpoint.</summary>
    public int MicroBatchSize { get; private set; }

    /// <summary>Examples scored at a time: as the options say, or less where memory is short.</summary>
    public int EvalBatchSize { get; private set; }

    /// <summary>What a user would try first, measured beside the score where it applies to the task; a program brings it.</summary>
    public IReadOnlyList<IStrongBaseline> StrongBaselines { get; set; } = [];

    /// <summary>What a user should know of what was loaded, a sentence each.</summary>
    public IReadOnlyList<string> Notes
    {
        get
        {
            List<string> notes = ambiguity is null ? [] : [ambiguity];
            if (Data is not null) notes.AddRange(Data.Notes);
            if (Weights.SkipWeights is { } skipped) notes.Add($"{ShownBackbone}: {Weights.SkippedWeights} tensor(s) left out, as `skip_weights` {skipped} says");
            if (Options.Model.GradientCheckpointing && !Model.Backbone.Traits.GradientCheckpointing)
                notes.Add($"`gradient_checkpointing`: a {Weights.Config.ModelType} backbone computes no layer again, so that it changes nothing here");
            return notes;
        }
    }

    // A backbone of the caller's own has no name that options could hold.
    private static void CheckGiven(FrozenWeights weights, BackboneSource source, ModelOptions chosen)
    {
        if (!ModelRegistry.Architectures.Any(known => known.ModelType == weights.Config.ModelType)) return;
        bool isBody = weights.Reference == source.Reference || (source.Folder is not null && weights.Folder == source.Folder);
        bool isInit = weights.Init == chosen.Init && (chosen.Init == "pretrained" || weights.Seed == chosen.InitSeed) && weights.SkipWeights == chosen.SkipWeights;
        if (isBody && isInit) return;
        string named = $"{source.Reference} (init {chosen.Init}, seed {chosen.InitSeed})";
        throw new ArgumentException($"the weights are of {weights.Reference} (init {weights.Init}, seed {weights.Seed}), where the options name {named}", nameof(weights));
    }

    /// <summary>The backbone as it would be typed here.</summary>
    internal string ShownBackbone
    {
        get
        {
            if (!Path.IsPathRooted(Options.Model.Backbone)) return Options.Model.Backbone;
            string near = Path.GetRelativePath(Environment.CurrentDirectory, Options.Model.Backbone);
            return near.StartsWith("..", StringComparison.Ordinal) ? Options.Model.Backbone : near;
        }
    }

    /// <summary>Loads everything that a training needs.</summary>
    /// <param name="options">The run.</param>
    /// <param name="fitMemory">Where a batch would not fit into memory, take it in parts (<see cref="MicroBatchSize"/>, <see cref="EvalBatchSize"/>).</param>
    /// <param name="weights">The body, where it is loaded already; not owned. It must be the one that the options name, unless its architecture is the caller's own.</param>
    /// <exception cref="PermafrostException">Something is missing, damaged, or does not fit.</exception>
    /// <exception cref="ArgumentException">The weights are not those of the body and init that the options name.</exception>
    public static Finetuning Prepare(RunOptions options, bool fitMemory = false, FrozenWeights? weights = null)
    {
        var run = new Finetuning(options, null, withData: true, weights);
        try
        {
            run.TrainerOptions().Validate(run.Model);
            if (fitMemory) run.FitMemory();
            return run;
        }
        catch
        {
            run.Dispose();
            throw;
        }
    }

    /// <summary>Rebuilds a finished run's model with its adapter.</summary>
    /// <param name="path">The run's folder.</param>
    /// <param name="withData">Load the task's data too, to score it.</param>
    /// <param name="change">Changes to the saved options, such as another data folder.</param>
    /// <param name="weights">The body, where it is loaded already; not owned.</param>
    /// <exception cref="PermafrostException">The run is damaged, unfinished, or its backbone is not the one it was trained on.</exception>
    public static Finetuning Open(string path, bool withData, Func<RunOptions, RunOptions>? change = null, FrozenWeights? weights = null)
    {
        RunFolder folder = RunFolder.Open(path);
        RunOptions options = folder.ReadOptions();
        // What only trained, and as many threads as this machine takes: the run may come from a larger one.
        options = options with
        {
            Model = options.Model with { InitAdapter = null, Threads = Math.Min(options.Model.Threads, ModelOptions.MostThreads) },
            Schedule = options.Schedule with { WarmupSteps = 0, WarmupRatio = 0 },
        };
        if (change is not null) options = change(options);
        AdapterConfig config = AdapterConfig.Read(folder.Adapter);
        var run = new Finetuning(options, config.Spec, withData, weights);
        try
        {
            if (config.BackboneSha256 != run.Weights.Sha256)
            {
                string then = config.BackboneSha256?[..Math.Min(12, config.BackboneSha256.Length)] ?? "not set";
                throw new PermafrostException(
                    $"the backbone {options.Model.Backbone} is not the one that {path} was trained on, {config.Backbone ?? "which is not named"} " +
                    $"(SHA-256 {run.Weights.Sha256[..12]}..., then {then}...)");
            }
            using var scope = torch.NewDisposeScope();
            run.Model.LoadAdapter(AdapterFolder.ReadTensors(folder.Adapter), folder.Adapter, complete: true);
            return run;
        }
        catch
        {
            run.Dispose();
            throw;
        }
    }

    /// <summary>Scores the test split and the baselines of a run that was trained without and has been chosen, as if it had been trained to be scored.</summary>
    /// <param name="path">The run's folder.</param>
    /// <param name="cancellation">Ends the scoring.</param>
    /// <param name="weights">The body, where it is loaded already; not owned.</param>
    /// <param name="strong">What a user would try first; null for nothing beside what the library itself has.</param>
    /// <returns>What results.json holds now.</returns>
    /// <exception cref="PermafrostException">The run is unfinished or damaged.</exception>
    public static RunResult ScoreChosen(
        string path, CancellationToken cancellation, FrozenWeights? weights = null, IReadOnlyList<IStrongBaseline>? strong = null)
    {
        RunFolder folder = RunFolder.Open(path);
        RunResult result = RunResult.Read(folder);
        RunOptions options = folder.ReadOptions();
        if (options.Evaluation.ScoreTest) return result;
        RunOptions scored = options with { Evaluation = options.Evaluation with { ScoreTest = true, Baselines = true } };
        if (result.Test is null)
        {
            using Finetuning run = Open(path, withData: true, weights: weights);
            run.FitScoring();
            var metrics = new OrderedDictionary<string, Scores>(result.Metrics);
            // A line of an attempt that was killed is written again.
            using (var log = new MetricsLog(folder.Metrics, Checkpoint.All(folder) is [.., var last] ? Checkpoint.LogBytes(last) : long.MaxValue))
                if (run.Data!.Test is not null) metrics["test"] = run.ScoreTest(folder, result.ScoredStep ?? result.Steps, log, null, cancellation);
            run.StrongBaselines = strong ?? [];
            result = result with { Metrics = metrics, Intervals = run.Intervals(metrics), Baselines = run.MeasureBaselines(null, cancellation) };
            result.Write(folder);
        }
        RunDescription.Rewrite(folder, scored);
        return result;
    }

    /// <summary>Trains, scores and writes the run folder.</summary>
    /// <param name="folder">The run's folder.</param>
    /// <param name="command">The command line, for the record.</param>
    /// <param name="progress">Told of what happens, from the thread that trains; null for nobody.</param>
    /// <param name="stop">Asked to stop through this, the run saves a checkpoint and ends with <see cref="StoppedException"/>.</param>
    /// <param name="checkpoint">A verified checkpoint of the same run to go on from; null to begin.</param>
    /// <param name="clock">Tells the time of day, for the log, and how long things take, for everything else.</param>
    /// <exception cref="StoppedException">It was asked to stop.</exception>
    /// <exception cref="DivergedException">The loss is not finite.</exception>
    /// <exception cref="PermafrostException">A file cannot be written, or a promise about frozen weights is broken.</exception>
    public RunResult Train(RunFolder folder, string command, IProgress<TrainingEvent>? progress, StopRequest stop, string? checkpoint = null, TimeProvider? clock = null)
    {
        if (trained) throw new InvalidOperationException("a run trains once");
        if (Data is null) throw new InvalidOperationException("the run was opened without data");
        trained = true;
        clock ??= TimeProvider.System;
        AtomicFile.RemoveLeftovers(folder.Path);
        var limit = new TimeLimit(Options.Checkpoints, clock);
        using ITimer? timer = StartTimer(stop, clock);
        bool hasChosen = Choose(folder, checkpoint is null ? command : null, limit, progress, stop, clock);
        if (checkpoint is null) RunDescription.Write(folder, Options, command);
        HashData(progress);
        foreach (string note in Notes) progress?.Report(new TrainingNote(note));
        if (checkpoint is null && stillDrawn.Length > 0)
            progress?.Report(new TrainingNote($"{Options.Model.InitAdapter} does not hold {string.Join(" and ", stillDrawn)}: they start at random"));
        using var recorder = new RunRecorder(this, folder, command, progress, checkpoint, clock);
        try
        {
            if (checkpoint is null) TrainOnPairs(hasChosen, progress, stop);
            TrainerOptions how = TrainerOptions() with { Checkpoints = limit.Left() };
            TrainingOutcome outcome = Trainer.Fit(Model, new TrainingData(Data.Train, ChoosingValidation), how, recorder, recorder, clock, stop.Token);
            return Finish(folder, outcome, recorder, progress, stop);
        }
        catch (OperationCanceledException error) when (recorder.Outcome is null)
        {
            if (error is OutOfTimeException) stop.Ask(StopReason.OutOfTime);
            throw new StoppedException($"{error.Message.Replace("stopped ", $"stopped by {stop.Why} ", StringComparison.Ordinal)}", stop.Reason, folder.Path);
        }
        catch (OperationCanceledException)
        {
            throw new StoppedException("stopped while scoring, after the last step", stop.Reason, folder.Path);
        }
    }

    // Before the first step: a stop must not have to wait for it.
    private void HashData(IProgress<TrainingEvent>? progress)
    {
        if (!Data!.IsGenerated && !dataSha256.IsValueCreated) progress?.Report(new PhaseStarted("reading the data once, to know it again"));
        _ = dataSha256.Value;
    }

    /// <summary>What this run is, for its checkpoints: options, backbone, data and versions.</summary>
    public RunIdentity Identity() => new()
    {
        Options = OptionTable.All.ToDictionary(field => field.Key, field => field.Format(Options)),
        BackboneSha256 = Weights.Sha256,
        MicroBatchSize = MicroBatchSize,
        TaskVersion = Task.Version,
        EvalBatchSize = EvalBatchSize < Options.Evaluation.PerDeviceEvalBatchSize ? EvalBatchSize : null,
        FrozenType = Model.FrozenType.ToString().ToLowerInvariant(),
        DataSha256 = dataSha256.Value,
        PermafrostVersion = EnvironmentInfo.Version.Split('+', '-')[0],
        LibtorchVersion = Engine.Version,
        Features = features.Active ? "computed once" : RunIdentity.EveryStep,
    };

    /// <summary>Refuses to go on from a checkpoint of another run; what does not change the result may differ.</summary>
    /// <param name="checkpoint">The checkpoint.</param>
    /// <param name="allowed">Names of differences to accept.</param>
    /// <exception cref="UsageException">Something differs; each difference is named.</exception>
    public void CheckSameRun(string checkpoint, IReadOnlyCollection<string> allowed)
    {
        RunIdentity saved = Checkpoint.Identity(checkpoint);
        MicroBatchSize = saved.MicroBatchSize;
        if (saved.EvalBatchSize is { } scored) EvalBatchSize = Math.Min(EvalBatchSize, scored);
        RunIdentity.Refuse(checkpoint, Identity().Differences(saved, lengthIsHarmless: !Options.Schedule.RateDependsOnLength), allowed);
    }

    /// <summary>The same for a run that was ended before its first checkpoint, and begins again: its options are all there is to compare.</summary>
    /// <exception cref="UsageException">Something differs; each difference is named.</exception>
    public void CheckSameOptions(RunFolder folder, IReadOnlyCollection<string> allowed) =>
        RunIdentity.Refuse(folder.Path, RunIdentity.Differences(folder.ReadOptions().Located(), asked), allowed);

    /// <summary>Number counts as in results.json.</summary>
    public RunParameters ParameterCounts()
    {
        ParameterCounts counts = Model.Counts;
        bool hasTable = Model.Backbone.Traits.LongestInput is not null && Model.Parameters.Any(parameter => parameter.Group == GroupName.Pos && !parameter.Unused);
        int positionRows = hasTable ? Model.Spec.Input.Length : 0;
        return new RunParameters(counts.Total, counts.Trained, Math.Round(counts.TrainedPercent, 4), counts.Unused, positionRows);
    }

    /// <summary>What training takes, measured on a first micro-batch.</summary>
    public MemoryTrial MeasureMemory() => MemoryTrial.Measure(Model, Data!.Train, Device, TrainerOptions().OptimizerSlots);

    /// <summary>The device of a name.</summary>
    /// <exception cref="UsageException">It does not exist.</exception>
    public static Device ParseDevice(string text)
    {
        try
        {
            return Devices.Parse(text);
        }
        catch (FormatException error)
        {
            throw new UsageException($"`device` {error.Message}");
        }
    }

    /// <summary>Frees the model, the data and, where it loaded them itself, the weights.</summary>
    public void Dispose()
    {
        features?.Dispose();
        Model?.Dispose();
        Data?.Dispose();
        if (ownsWeights) Weights.Dispose();
    }

    internal TrainerOptions TrainerOptions() => new()
    {
        Optimizer = Options.Optimizer,
        Schedule = Options.Schedule,
        Evaluation = Options.Evaluation with { PerDeviceEvalBatchSize = EvalBatchSize },
        Checkpoints = Options.Checkpoints,
        Seed = Options.Seed,
        Device = Device,
        MicroBatchSize = MicroBatchSize,
        Features = features,
    };

    private AdaptedModel Adapt()
    {
        ModelOptions chosen = Options.Model;
        var model = new AdaptedModel(Weights, spec, new AdaptationOptions
        {
            Policy = Policy.Parse(chosen.Policy),
            Readout = Readout.Parse(chosen.Readout ?? spec.Readout),
            PretrainedEmbedding = FeedsOwnTokens(spec),
            Dropout = chosen.Dropout!.Value,
            Seed = Options.Seed,
            Device = Device,
            FrozenType = chosen.FrozenDtype switch { "bfloat16" => ScalarType.BFloat16, "float32" => ScalarType.Float32, _ => null },
        });
        model.Backbone.GradientCheckpointing = chosen.GradientCheckpointing;
        return model;
    }

    private RunResult Finish(RunFolder folder, TrainingOutcome outcome, RunRecorder recorder, IProgress<TrainingEvent>? progress, StopRequest stop)
    {
        recorder.Outcome = outcome;
        (TrainerState state, long step) = (outcome.State, outcome.ScoredStep);
        folder.CheckStillThere();
        AdapterFolder.Write(folder.Adapter, AdapterConfig.Of(this, step), Model.Adapter());
        var metrics = new OrderedDictionary<string, Scores>();
        if (heldOut is not null) metrics["cross_validation"] = heldOut;
        if (Data!.Validation is not null)
        {
            metrics["validation"] = Evaluator.Evaluate(Model, features.Of("validation", Data.Validation, progress, stop.Token), EvalBatchSize, Device, cancellation: stop.Token);
            if (step != state.EvaluatedStep) progress?.Report(new SplitScored("validation", step, metrics["validation"]));
        }
        if (Options.Evaluation.ScoreTest && Data.Test is not null) metrics["test"] = ScoreTest(folder, step, recorder.Log, progress, stop.Token);
        var result = new RunResult
        {
            Task = Options.Data.Task,
            TaskVersion = Task.Version,
            Backbone = ShownBackbone,
            BackboneSha256 = Weights.Sha256,
            Init = Options.Model.Init,
            InitSeed = Options.Model.InitSeed,
            Policy = Options.Model.Policy,
            Seed = Options.Seed,
            Steps = state.Step,
            ScoredStep = step,
            LearningRate = Options.Optimizer.LearningRate,
            MicroBatchSize = MicroBatchSize,
            Parameters = ParameterCounts(),
            Metrics = metrics,
            Intervals = Intervals(metrics),
            Choice = Choice,
            Baselines = Options.Evaluation is { Baselines: true, ScoreTest: true } ? MeasureBaselines(progress, stop.Token) : RunBaselines.None,
            FrozenUnchanged = true,
            Seconds = Math.Round(state.Seconds, 3),
            TokensPerSecond = Math.Round(state.Tokens / Math.Max(1e-9, state.Seconds), 1),
            PeakMemoryBytes = ProcessMemory.Peak,
            FeatureSeconds = outcome.FeatureSeconds is { } seconds ? Math.Round(seconds, 3) : null,
        };
        result.Write(folder);
        return result;
    }

    private RunBaselines MeasureBaselines(IProgress<TrainingEvent>? progress, CancellationToken cancellation) =>
        RunBaselines.Measure(Model, BaselineData, Task, StrongBaselines, TrainerOptions(), progress, cancellation);

    private Scores ScoreTest(RunFolder folder, long step, MetricsLog log, IProgress<TrainingEvent>? progress, CancellationToken cancellation)
    {
        progress?.Report(new PhaseStarted("scoring the test split"));
        IDataset test = features.Of("test", Data!.Test!, progress, cancellation);
        Scores? scores = null;
        AtomicFile.Write(Path.Combine(folder.Path, "predictions.jsonl"), stream =>
            scores = Evaluator.Evaluate(
                Model, test, EvalBatchSize, Device, prediction => stream.Write(Encoding.UTF8.GetBytes(PredictionJson.Of(prediction).ToJsonString() + "\n")), cancellation));
        log.Write("test", step, scores!);
        progress?.Report(new SplitScored("test", step, scores!));
        return scores!;
    }

    private bool FeedsOwnTokens(TaskSpec spec) => (Options.Model.InputLayer ?? (spec.Input is TextInput ? "pretrained-embedding" : "new")) == "pretrained-embedding";

    private TaskSpec SpecFor(TaskSpec spec, bool isNew, IReadOnlyDictionary<string, Tensor>? start)
    {
        if (Options.Data.MaxLength is { } longest && spec.Input is not TextInput)
            throw new UsageException($"`max_length` {longest} is of texts, and the task {Task.Name} feeds none here; leave it out");
        if (Options.Data.NumClasses is { } classes && spec.Output is ClassOutput output && classes != output.Classes)
            throw new UsageException($"`num_classes` {classes}: the task {Task.Name} has {output.Classes} classes");
        // A start value for the input table may have more rows than the ids that happen to occur.
        if (isNew && spec.Input is IdInput ids && !FeedsOwnTokens(spec)
            && start?.GetValueOrDefault("input_layer.weight") is { Dimensions: 2 } table && table.size(0) > ids.Vocabulary)
            spec = spec with { Input = ids with { Vocabulary = (int)table.size(0) } };
        if (!isNew && Data is not null && !Data.Spec.FitsModelOf(spec))
            throw new PermafrostException(
                $"the data of {Task.Name} has another shape than the run was trained on (inputs, number of answers or classes); " +
                "give the data of the run with `data`");
        return spec;
    }

    private string[] LoadStart(IReadOnlyDictionary<string, Tensor> start, string path)
    {
        HashSet<string> left = [.. Model.LoadAdapter(start, path, complete: false)];
        foreach (Tensor tensor in start.Values) tensor.Dispose();
        return [.. Model.Parameters.Where(p => p.Group is GroupName.Input or GroupName.Output && left.Contains(p.Name)).Select(p => p.Name)];
    }

    private void FitMemory()
    {
        MicroBatchSize = Trainer.FitBatch(Model, Data!.Train, TrainerOptions(), Device);
        FitScoring(training: true);
    }

    private ITimer? StartTimer(StopRequest stop, TimeProvider clock) => Options.Checkpoints.MaxDuration is { } limit && limit < TimeSpan.FromDays(30)
        ? clock.CreateTimer(_ => stop.Ask(StopReason.OutOfTime), null, limit, Timeout.InfiniteTimeSpan) : null;
}
