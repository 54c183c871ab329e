using Permafrost.Formats;
using Permafrost.Models;
using Permafrost.Runs;
using Permafrost.Tasks.Baselines;
using Permafrost.Training;

namespace Permafrost.Studies;

/// <summary>A run of a study: its folder and its results.</summary>
/// <param name="Folder">The run's folder.</param>
/// <param name="Result">The results, as in its results.json.</param>
public sealed record StudyRun(string Folder, RunResult Result);

/// <summary>Runs that belong together, in folders beside each other: a run that has finished is not run again, and one that was stopped goes on.</summary>
/// <param name="command">The command that started them, for their records.</param>
/// <param name="stop">The request that ends them early.</param>
public sealed class Sweep(string command, StopRequest stop)
{
    /// <summary>Shows a run's training. It is given the run and a function that trains it, which takes the receiver of progress. Null for no display.</summary>
    public Func<Finetuning, Func<IProgress<TrainingEvent>?, RunResult>, RunResult>? Display { get; init; }

    /// <summary>What a user would try first, measured beside each score where it applies to the task.</summary>
    public IReadOnlyList<IStrongBaseline> StrongBaselines { get; init; } = [];

    /// <summary>Receives a message about each damaged checkpoint that is passed over.</summary>
    public Action<string>? Warn { get; init; }

    /// <summary>Trains a run from its start or from its newest checkpoint; reads its results where it has finished.</summary>
    /// <param name="options">The run's options.</param>
    /// <param name="folder">The run's folder.</param>
    /// <param name="weights">The body that the options name, where it is loaded already; not owned.</param>
    /// <exception cref="StoppedException">It was asked to stop.</exception>
    public RunResult Train(RunOptions options, string folder, FrozenWeights? weights = null)
    {
        if (File.Exists(Path.Combine(folder, "results.json"))) return RunResult.Read(RunFolder.Open(folder));
        AtomicFile.MakeFolder(folder);
        // Before anything is looked at, so that no other process's beginning is taken for a leftover.
        using var held = new RunLock(folder);
        if (File.Exists(Path.Combine(folder, "results.json"))) return RunResult.Read(RunFolder.Open(folder));
        bool begun = File.Exists(Path.Combine(folder, "config.yaml"));
        if (begun) Checkpoint.Recover(RunFolder.Open(folder));
        begun = begun && Checkpoint.All(RunFolder.Open(folder)).Count > 0;
        if (!begun) Clear(folder);
        RunFolder target = begun ? RunFolder.Open(folder) : RunFolder.Create(folder);
        using Finetuning run = Finetuning.Prepare(options with { Checkpoints = options.Checkpoints with { OutputDir = folder } }, weights: weights);
        run.StrongBaselines = StrongBaselines;
        string? checkpoint = begun ? Checkpoint.Newest(target, text => Warn?.Invoke(text)) : null;
        if (checkpoint is not null) run.CheckSameRun(checkpoint, []);
        RunResult Go(IProgress<TrainingEvent>? progress) => run.Train(target, command, progress, stop, checkpoint);
        return Display is null ? Go(null) : Display(run, Go);
    }

    // What an attempt without a checkpoint left, but for the lock that is held, and for what it has tried before choosing.
    private static void Clear(string folder)
    {
        foreach (string file in Directory.EnumerateFiles(folder).Where(file => Path.GetFileName(file) is not (".lock" or Tries.FileName))) File.Delete(file);
        foreach (string inner in Directory.EnumerateDirectories(folder)) Directory.Delete(inner, recursive: true);
    }

    /// <summary>A run with one learning rate, to choose by: neither the test split nor baselines are scored.</summary>
    /// <param name="options">The run's options.</param>
    /// <param name="rate">The learning rate.</param>
    /// <param name="folder">The beginning of the name of the run's folder; <c>-lr</c> and the rate follow.</param>
    /// <param name="weights">The body, where it is loaded already; not owned.</param>
    /// <exception cref="StoppedException">It was asked to stop.</exception>
    public StudyRun TrainUnscored(RunOptions options, double rate, string folder, FrozenWeights? weights = null)
    {
        string own = FormattableString.Invariant($"{folder}-lr{rate}");
        RunOptions unscored = options with
        {
            Optimizer = options.Optimizer with { LearningRate = rate },
            Evaluation = options.Evaluation with { ScoreTest = false, Baselines = false },
        };
        return new StudyRun(own, Train(unscored, own, weights));
    }

    /// <summary>
    /// One run for each learning rate; the best on validation is chosen, and only that one sees the test split. Every arm of a comparison needs its own rates: with one rate for
    /// all, whichever it suits better would win (Rothermel et al. 2021).
    /// </summary>
    /// <param name="options">The run's options.</param>
    /// <param name="rates">The learning rates.</param>
    /// <param name="folder">The beginning of the names of the runs' folders; <c>-lr</c> and the rate follow.</param>
    /// <param name="weights">The body, where it is loaded already; not owned.</param>
    /// <param name="withStrong">Whether <see cref="StrongBaselines"/> are measured: of the arms of a comparison one is enough, where they do not depend on the body.</param>
    /// <exception cref="StoppedException">It was asked to stop.</exception>
    public StudyRun Choose(RunOptions options, IReadOnlyList<double> rates, string folder, FrozenWeights? weights = null, bool withStrong = true)
    {
        StudyRun? best = null;
        foreach (double rate in rates)
        {
            StudyRun run = TrainUnscored(options, rate, folder, weights);
            if (best is null || run.Result.Validation!["accuracy"] > best.Result.Validation!["accuracy"]) best = run;
        }
        return best! with { Result = Finetuning.ScoreChosen(best.Folder, stop.Token, weights, withStrong ? StrongBaselines : []) };
    }
}
