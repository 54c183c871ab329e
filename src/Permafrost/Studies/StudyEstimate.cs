using System.Diagnostics;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Runs;
using Permafrost.Training;

namespace Permafrost.Studies;

/// <summary>What a cell is expected to take on this machine.</summary>
/// <param name="Cell">Arm and task.</param>
/// <param name="Seconds">Of all its runs that have not finished; null where it was not measured.</param>
/// <param name="PeakBytes">The most memory that one of them is expected to take; null where it was not measured.</param>
/// <param name="Why">Why it was not measured; null where it was.</param>
public sealed record CellEstimate(StudyCell Cell, double? Seconds, long? PeakBytes, string? Why);

/// <summary>
/// What a study is expected to take, before it begins: one update and one scored batch are timed for every body, task and policy that differ, and multiplied by how many there will
/// be. Loading, baselines and what ends early are not counted.
/// </summary>
/// <param name="Cells">The cells that have something left to run.</param>
public sealed record StudyEstimate(IReadOnlyList<CellEstimate> Cells)
{
    // Runs shorter than this take no longer than measuring them.
    private const int WorthMeasuring = 20;

    /// <summary>Seconds of all that was measured.</summary>
    public double Seconds => Cells.Sum(cell => cell.Seconds ?? 0);

    /// <summary>The most memory that a run is expected to take; null where nothing was measured.</summary>
    public long? PeakBytes => Cells.Max(cell => cell.PeakBytes);

    /// <summary>Measures.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="root">The folder of all studies' runs: what has finished there is not counted.</param>
    /// <param name="stop">The request that ends it early.</param>
    /// <param name="index">Which part of the plan, from 1.</param>
    /// <param name="count">Of how many.</param>
    public static StudyEstimate Of(StudyPlan plan, string root, StopRequest stop, int index = 1, int count = 1)
    {
        var measured = new Dictionary<string, (Trial? Trial, string? Why)>();
        var cells = new List<CellEstimate>();
        foreach (StudyCell cell in plan.Part(index, count))
        {
            int left = Left(cell, root);
            if (left == 0) continue;
            if (stop.Reason != StopReason.None) throw new StoppedException($"stopped because of {stop.Why}, while measuring", stop.Reason);
            if (cell.Options.Schedule.MaxSteps is { } most && most < WorthMeasuring)
            {
                cells.Add(new CellEstimate(cell, null, null, $"fewer than {WorthMeasuring} updates"));
                continue;
            }
            RunOptions options = cell.Run(cell.Seeds[0], cell.Rates[0]);
            // A step takes as long whatever the weights are.
            string kind = StudyPlan.Id(options with { Seed = 0, Model = options.Model with { Init = "", InitSeed = 0 } });
            if (!measured.TryGetValue(kind, out (Trial? Trial, string? Why) one)) measured[kind] = one = Measure(options);
            cells.Add(one.Trial is { } trial ? new CellEstimate(cell, left * trial.RunSeconds, trial.PeakBytes, null) : new CellEstimate(cell, null, null, one.Why));
        }
        return new StudyEstimate(cells);
    }

    private sealed record Trial(double RunSeconds, long PeakBytes);

    // Rates with the first seed, and the chosen one with the others; what diverged has ended.
    private static int Left(StudyCell cell, string root)
    {
        bool Ended(RunOptions options)
        {
            string folder = StudyTable.Folder(root, options);
            return File.Exists(Path.Combine(folder, "results.json")) || File.Exists(StudyTable.Diverged(folder));
        }
        int rates = cell.Rates.Count(rate => !Ended(cell.Run(cell.Seeds[0], rate)));
        double? chosen = StudyTable.ChosenRate(root, cell);
        return rates + cell.Seeds.Skip(1).Count(seed => chosen is not { } rate || !Ended(cell.Run(seed, rate)));
    }

    private static (Trial? Trial, string? Why) Measure(RunOptions options)
    {
        try
        {
            using Finetuning run = Finetuning.Prepare(options);
            MemoryTrial memory = run.MeasureMemory();
            int batch = run.MicroBatchSize, scored = run.EvalBatchSize;
            double update = Time(run, run.Data!.Train, batch, train: true) * options.Schedule.GradientAccumulationSteps;
            double score = run.Data.Validation is { } validation ? Time(run, validation, scored, train: false) * Math.Ceiling((validation.Count ?? 0) / (double)scored) : 0;
            int every = options.Evaluation.EvalSteps;
            double scorings = 1 + (every > 0 ? run.Steps / every : 0);
            return (new Trial(run.Steps * update + scorings * score, memory.PeakBytes(batch, scored)), null);
        }
        catch (Exception error) when (error is EngineException or PermafrostException)
        {
            return (null, error.Message);
        }
    }

    // The second of two: the first compiles and makes buffers.
    private static double Time(Finetuning run, IDataset data, int size, bool train)
    {
        long[] rows = [.. Enumerable.Range(0, (int)Math.Min(size, data.Count ?? size)).Select(row => (long)row)];
        double seconds = 0;
        (long step, bool training) = (run.Model.DropoutKeys.Step, run.Model.training);
        try
        {
            for (int attempt = 0; attempt < 2; attempt++)
            {
                using DisposeScope scope = torch.NewDisposeScope();
                Batch batch = data.Get(rows).To(run.Device);
                long began = Stopwatch.GetTimestamp();
                if (train) Train(run, batch);
                else Score(run, batch);
                seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
            }
        }
        finally
        {
            foreach (Adaptation.AdaptedParameter parameter in run.Model.Trained) parameter.Parameter.Value.grad = null;
            run.Model.DropoutKeys.Step = step;
            run.Model.train(training);
        }
        return seconds;
    }

    // The loss is read, so that a device has finished.
    private static void Train(Finetuning run, Batch batch)
    {
        run.Model.train();
        TrainStep.AddGradients(run.Model, [batch]);
    }

    private static void Score(Finetuning run, Batch batch)
    {
        run.Model.eval();
        using var noGrad = torch.no_grad();
        using Tensor read = run.Model.Forward(batch).sum().cpu();
    }
}
