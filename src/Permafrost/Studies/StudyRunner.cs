using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Runs;
using Permafrost.Tasks.Baselines;

namespace Permafrost.Studies;

/// <summary>A run of a study that failed.</summary>
/// <param name="Cell">Arm and task.</param>
/// <param name="Folder">The run's folder.</param>
/// <param name="Error">What happened.</param>
public sealed record StudyFailure(string Cell, string Folder, string Error);

/// <summary>
/// Runs a study, or a part of it. What has finished is not run again, what was stopped goes on, and any number of processes may work in one folder: each takes what no other has.
/// A run that fails is noted, and the others go on.
/// </summary>
/// <param name="plan">What is run.</param>
/// <param name="root">The folder of all studies' runs.</param>
/// <param name="sweep">Trains the runs.</param>
/// <param name="stop">The request that ends it early.</param>
public sealed class StudyRunner(StudyPlan plan, string root, Sweep sweep, StopRequest stop) : IDisposable
{
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    private readonly List<StudyFailure> failures = [];
    private readonly Dictionary<(string Data, string Baseline, long Seed), BaselineScore?> baselines = [];
    private FrozenWeights? weights;
    private string? body;

    /// <summary>Runs the cells of a part.</summary>
    /// <param name="say">Receives a sentence about each cell before it begins.</param>
    /// <param name="index">Which part, from 1.</param>
    /// <param name="count">Of how many.</param>
    /// <returns>The runs that failed.</returns>
    /// <exception cref="StoppedException">It was asked to stop.</exception>
    /// <exception cref="PermafrostException">The folder cannot be written.</exception>
    public IReadOnlyList<StudyFailure> Run(Action<string> say, int index = 1, int count = 1)
    {
        var left = new Queue<StudyCell>(plan.Part(index, count));
        (int all, int waited) = (left.Count, 0);
        while (left.TryDequeue(out StudyCell? cell))
        {
            if (stop.Reason != StopReason.None) throw new StoppedException($"stopped because of {stop.Why}", stop.Reason);
            string place = Path.Combine(root, "cells", $"{plan.Study.Name}-{plan.Scale}-{cell.Name}");
            AtomicFile.MakeFolder(place);
            using RunLock? mine = RunLock.TryTake(place);
            if (mine is null)
            {
                // Another process works on it: look again when all others are done, in case it is killed.
                if (waited++ == 0) say($"{cell.Name}: another process has it");
                left.Enqueue(cell);
                if (waited > left.Count) stop.Token.WaitHandle.WaitOne(Pause);
                continue;
            }
            waited = 0;
            say($"{cell.Name} ({all - left.Count} of {all}): {string.Join(", ", cell.Rates.Select(rate => FormattableString.Invariant($"{rate}")))} with seed {cell.Seeds[0]}"
                + (cell.Seeds.Count > 1 ? $", the best with {string.Join(", ", cell.Seeds.Skip(1))}" : ""));
            RunCell(cell);
        }
        return failures;
    }

    /// <inheritdoc/>
    public void Dispose() => weights?.Dispose();

    private void RunCell(StudyCell cell)
    {
        foreach (double rate in cell.Rates) Train(cell, cell.Run(cell.Seeds[0], rate));
        // None where a run of the sweep has failed: the best of the others may not be the best.
        if (StudyTable.ChosenRate(root, cell) is not { } chosen) return;
        foreach (long seed in cell.Seeds)
        {
            RunOptions options = cell.Run(seed, chosen);
            if (!Train(cell, options)) continue;
            // Strong baselines stand beside the first seed of each arm: which arms a study shares with another is none of theirs.
            IReadOnlyList<IStrongBaseline> strong = seed == cell.Seeds[0] ? Remembered(options) : [];
            Guarded(cell, options, () => Finetuning.ScoreChosen(Folder(options), stop.Token, Body(options), strong));
        }
    }

    private IReadOnlyList<IStrongBaseline> Remembered(RunOptions options)
    {
        string data = StudyPlan.Id(new RunOptions { Data = options.Data });
        return [.. sweep.StrongBaselines.Select(baseline => new RememberedBaseline(baseline, data, baselines))];
    }

    private string Folder(RunOptions options) => StudyTable.Folder(root, options);

    // Whether there is a result.
    private bool Train(StudyCell cell, RunOptions options)
    {
        string folder = Folder(options);
        if (File.Exists(StudyTable.Diverged(folder))) return false;
        return File.Exists(Path.Combine(folder, "results.json")) || Guarded(cell, options, () => sweep.Train(options, folder, Body(options)));
    }

    // Arms that studies share are the same runs: whoever comes second waits, and finds a result.
    private RunLock Lock(RunOptions options)
    {
        string place = Path.Combine(root, "locks", StudyPlan.Id(options));
        AtomicFile.MakeFolder(place);
        while (true)
        {
            if (RunLock.TryTake(place) is { } mine) return mine;
            stop.Token.WaitHandle.WaitOne(Pause);
            if (stop.Reason != StopReason.None) throw new StoppedException($"stopped because of {stop.Why}", stop.Reason);
        }
    }

    private bool Guarded(StudyCell cell, RunOptions options, Action run)
    {
        string folder = Folder(options);
        using RunLock mine = Lock(options);
        try
        {
            run();
            return true;
        }
        catch (DivergedException error)
        {
            // A rate that is too high is an answer of the sweep, not a failure.
            AtomicFile.WriteText(StudyTable.Diverged(folder), error.Message + "\n");
            return false;
        }
        catch (Exception error) when (error is EngineException or (PermafrostException and not StoppedException))
        {
            failures.Add(new StudyFailure(cell.Name, folder, error.Message));
            return false;
        }
    }

    // One body at a time is in memory, for all runs in a row that name it.
    private FrozenWeights Body(RunOptions options)
    {
        ModelOptions model = options.Model;
        string wanted = $"{model.Backbone}|{model.Init}|{model.InitSeed}|{model.SkipWeights}";
        if (wanted == body) return weights!;
        weights?.Dispose();
        (weights, body) = (null, null);
        weights = FrozenWeights.Load(BackboneSource.Resolve(model.Backbone), model.Init, model.InitSeed, model.SkipWeights);
        body = wanted;
        return weights;
    }
}
