using Permafrost.Adaptation;
using Permafrost.Formats;
using Permafrost.Training;
using Permafrost.Training.Optimizers;

namespace Permafrost.Runs;

/// <summary>Writes a training into its folder: checkpoints, best weights, and the lines of metrics.jsonl; and passes on what happens to whoever watches.</summary>
internal sealed class RunRecorder : ICheckpointStore, IProgress<TrainingEvent>, IDisposable
{
    private readonly Finetuning run;
    private readonly RunFolder folder;
    private readonly string command;
    private readonly IProgress<TrainingEvent>? watcher;
    private readonly string? checkpoint;
    private readonly TimeProvider clock;
    private MetricsLog? log;
    private (long Step, long LogBytes) saved = (-1, -1);

    public RunRecorder(Finetuning run, RunFolder folder, string command, IProgress<TrainingEvent>? watcher, string? checkpoint, TimeProvider clock)
    {
        (this.run, this.folder, this.command) = (run, folder, command);
        (this.watcher, this.checkpoint, this.clock) = (watcher, checkpoint, clock);
    }

    /// <summary>metrics.jsonl.</summary>
    public MetricsLog Log => log ?? throw new InvalidOperationException("the training has not begun");

    /// <summary>What the training came to; null until it has.</summary>
    public TrainingOutcome? Outcome { get; set; }

    private bool KeepsBest => run.Options.Evaluation.LoadBestModelAtEnd;

    public TrainerState? Restore(AdaptedModel model, Optimizer optimizer)
    {
        if (checkpoint is null)
        {
            log = new MetricsLog(folder.Metrics, 0, clock);
            return null;
        }
        TrainerState state = Checkpoint.Restore(checkpoint, model, optimizer);
        if (state.Step > run.Steps)
            throw new UsageException($"{checkpoint} has done {state.Step} steps, more than `max_steps` or `num_train_epochs` ask for ({run.Steps}); ask for at least as many");
        if (KeepsBest && state.BestStep >= 0) Checkpoint.RestoreBest(checkpoint, folder, state, AdapterConfig.Of(run, state.BestStep));
        long logBytes = Checkpoint.LogBytes(checkpoint);
        Checkpoint.PutAside(folder, state.Step);
        int every = run.Options.Evaluation.EvalSteps;
        bool validatedHere = state.EvaluatedStep == state.Step && (every == 0 || state.Step % every != 0);
        // Whatever stops it from now on, the description and the checkpoint it goes on from belong together.
        if (RunDescription.GoOn(folder, run.Options, command, state.Step, validatedHere)) Checkpoint.Write(folder, state, logBytes, model, optimizer, run.Identity(), KeepsBest);
        bool goesOn = state.Step < run.Steps && !Trainer.Ends(run.Options.Evaluation, state, run.Model.Spec.Metrics[0]);
        if (goesOn) folder.PutResultsAside(state.Step);
        log = new MetricsLog(folder.Metrics, logBytes, clock);
        saved = (state.Step, logBytes);
        return state;
    }

    public void Save(TrainerState state, AdaptedModel model, Optimizer optimizer)
    {
        if (saved == (state.Step, Log.Length)) return;
        folder.CheckStillThere();
        saved = (state.Step, Log.Length);
        Checkpoint.Write(folder, state, Log.Length, model, optimizer, run.Identity(), KeepsBest);
        Checkpoint.RemoveOldCheckpoints(folder, run.Options.Checkpoints.SaveTotalLimit);
    }

    public void SaveBest(TrainerState state, AdaptedModel model)
    {
        folder.CheckStillThere();
        AdapterFolder.Write(folder.Best, AdapterConfig.Of(run, state.BestStep), model.Adapter());
    }

    public void RestoreBest(AdaptedModel model)
    {
        using var scope = torch.NewDisposeScope();
        model.LoadAdapter(AdapterFolder.ReadTensors(folder.Best), folder.Best, complete: true);
    }

    public void Report(TrainingEvent value)
    {
        if (value is StepReport step) Log.Write(step);
        if (value is SplitScored { Split: "validation" } scored) Log.Write("eval", scored.Step, scored.Scores);
        watcher?.Report(value);
    }

    public void Dispose() => log?.Dispose();
}
