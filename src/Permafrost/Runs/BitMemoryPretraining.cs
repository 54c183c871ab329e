using System.Globalization;
using Permafrost.Formats;
using Permafrost.Models;
using Permafrost.Pretraining;
using Permafrost.Training;
using Permafrost.Training.Options;

namespace Permafrost.Runs;

/// <summary>
/// Pretraining without text (Lu et al. 2021, section 3.2): a GPT-2 with random weights learns Bit Memory, of whose 1,000 bits half are masked, with all its weights, and its body
/// is then frozen for other tasks. It is a run of that task, and leaves the body as a folder in Hugging Face's layout. The paper's own code and settings were not released.
/// </summary>
public sealed class BitMemoryPretraining : IDisposable
{
    private const string TaskName = PretrainingOptions.BitMemory, AllWeights = "*";

    private readonly RunFolder folder;
    private readonly RunLock held;
    private readonly Finetuning run;
    private readonly string? checkpoint;

    private BitMemoryPretraining(RunFolder folder, RunLock held, Finetuning run, string? checkpoint) =>
        (this.folder, this.held, this.run, this.checkpoint) = (folder, held, run, checkpoint);

    /// <summary>The body's folder.</summary>
    public string ModelPath => Path.Combine(folder.Path, "model");

    /// <summary>Whether a folder holds such a pretraining.</summary>
    public static bool IsIn(string path)
    {
        if (!File.Exists(RunFolder.At(path).Config) || PretrainingRun.IsIn(path)) return false;
        RunOptions options = RunFolder.Open(path).ReadOptions();
        return options is { Data.Task: TaskName, Model: { Policy: AllWeights, Init: "random" } };
    }

    /// <summary>The options of the run on the task.</summary>
    /// <exception cref="UsageException">One cannot be.</exception>
    public static RunOptions Options(PretrainingOptions options)
    {
        options.Validate();
        string preset = options.Preset ?? PretrainingConfig.Families.First(family => family.ModelType == options.Architecture).Default;
        if (ModelRegistry.Presets.FirstOrDefault(one => one.Name == preset)?.Config.ModelType != options.Architecture)
            throw new UsageException($"`preset` {preset} is no {options.Architecture}; `permafrost ls backbones` lists them");
        return new RunOptions
        {
            Seed = options.Seed,
            Model = new ModelOptions
            {
                Backbone = preset,
                Init = "random",
                InitSeed = options.Seed,
                Policy = AllWeights,
                Dropout = options.Dropout,
                FrozenDtype = options.Dtype == "float32" ? "float32" : "auto",
                Device = "cpu",
            },
            Data = new DataOptions { Task = TaskName },
            Optimizer = new OptimizerOptions
            {
                Optim = options.Optim,
                LearningRate = options.LearningRate,
                WeightDecay = options.WeightDecay,
                AdamBeta1 = options.AdamBeta1,
                AdamBeta2 = options.AdamBeta2,
                MaxGradNorm = options.MaxGradNorm,
            },
            Schedule = new ScheduleOptions
            {
                LrSchedulerType = options.LrSchedulerType,
                WarmupSteps = (int)options.WarmupSteps,
                MaxSteps = (int)options.MaxSteps,
                PerDeviceTrainBatchSize = options.BatchSize,
            },
            Evaluation = new EvaluationOptions { EvalSteps = (int)options.EvalSteps },
            Checkpoints = new CheckpointOptions
            {
                SaveSteps = (int)options.SaveSteps,
                SaveMinutes = options.SaveMinutes,
                SaveTotalLimit = options.SaveTotalLimit,
                MaxTime = options.MaxTime,
                LoggingSteps = options.LoggingSteps,
                OutputDir = options.OutputDir,
            },
        };
    }

    /// <summary>Begins a pretraining.</summary>
    /// <exception cref="UsageException">An option cannot be, or the folder holds a run.</exception>
    /// <exception cref="PermafrostException">The folder cannot be written.</exception>
    public static BitMemoryPretraining Begin(PretrainingOptions options)
    {
        RunOptions made = Options(options);
        made.Validate();
        string place = options.OutputDir
            ?? Path.Combine("runs", FormattableString.Invariant($"pretrain-{TaskName}-{made.Model.Backbone}-s{options.Seed}-{DateTime.Now:yyyyMMdd-HHmmss}"));
        RunFolder folder = options.OutputDir is null ? RunFolder.CreateUnused(place) : RunFolder.Create(place);
        var held = new RunLock(folder.Path);
        try
        {
            folder.CheckNew();
            made = made with { Checkpoints = made.Checkpoints with { OutputDir = folder.Path } };
            return new BitMemoryPretraining(folder, held, Finetuning.Prepare(made, fitMemory: true), null);
        }
        catch
        {
            held.Dispose();
            folder.RemoveIfUnused();
            throw;
        }
    }

    /// <summary>Goes on with a pretraining from its newest sound checkpoint, or from its beginning where it had come to none.</summary>
    /// <param name="path">Its folder.</param>
    /// <param name="warn">Told of damaged checkpoints.</param>
    /// <exception cref="PermafrostException">There is no sound checkpoint, or something cannot be read.</exception>
    public static BitMemoryPretraining Resume(string path, Action<string> warn)
    {
        RunFolder folder = RunFolder.Open(path);
        RunOptions saved = folder.ReadOptions(), options = saved with { Checkpoints = saved.Checkpoints with { OutputDir = path } };
        var held = new RunLock(path);
        Finetuning? run = null;
        try
        {
            Checkpoint.Recover(folder);
            string? checkpoint = folder.HasOnlyBegun() ? null : Checkpoint.Newest(folder, warn);
            run = Finetuning.Prepare(options, fitMemory: checkpoint is null);
            if (checkpoint is null) run.CheckSameOptions(folder, []);
            else run.CheckSameRun(checkpoint, []);
            return new BitMemoryPretraining(folder, held, run, checkpoint);
        }
        catch
        {
            run?.Dispose();
            held.Dispose();
            throw;
        }
    }

    /// <summary>Trains, scores the task's test split, and writes the body.</summary>
    /// <param name="command">The command line, for the records.</param>
    /// <param name="progress">Told of what happens.</param>
    /// <param name="stop">Asks it to stop.</param>
    /// <exception cref="StoppedException">It was asked to stop.</exception>
    /// <exception cref="DivergedException">The loss is not finite.</exception>
    public RunResult Train(string command, IProgress<TrainingEvent>? progress, StopRequest stop)
    {
        RunResult result = run.Train(folder, command, progress, stop, checkpoint);
        BackboneFolder.Save(run.Model.Backbone, run.Weights, ModelPath);
        string Score(string name) =>
            result.Test is { } test && test.Values.TryGetValue(name, out double value) ? value.ToString("P2", CultureInfo.InvariantCulture) : "not scored";
        AtomicFile.WriteText(Path.Combine(ModelPath, "README.md"), $"""
            # {run.Options.Model.Backbone}, pretrained on Bit Memory by Permafrost

            The body of a {run.Options.Model.Backbone} that learned Bit Memory with all its weights, from random ones, in {result.Steps} steps of
            {run.Options.Schedule.PerDeviceTrainBatchSize} examples; it has read no text, its token table is as it was drawn, and so are the positions behind those
            of the task {run.Task.Name}. Bits restored on the test split: {Score("accuracy")}; of the masked ones:
            {Score("masked_accuracy")}.
            Copying what is visible and guessing the rest restores 75 %.

            Made by:

            ```
            {command}
            ```

            """);
        return result;
    }

    /// <summary>Frees the model and the folder's lock.</summary>
    public void Dispose()
    {
        run.Dispose();
        held.Dispose();
    }
}
