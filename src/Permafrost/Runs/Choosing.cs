using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Tasks;
using Permafrost.Tasks.Metrics;
using Permafrost.Training;

namespace Permafrost.Runs;

/// <summary>Chooses a learning rate, and how long to train, by trainings that hold rows out. Nothing of the test split is looked at.</summary>
internal static class Choosing
{
    /// <summary>Tries every rate on every fold.</summary>
    /// <param name="run">The run.</param>
    /// <param name="adapt">Makes a model as the run's is at its start.</param>
    /// <param name="byFolds">Whether training rows are held out in turn; otherwise the task's own validation split tells.</param>
    /// <param name="progress">Told of progress; null for nobody.</param>
    /// <param name="tries">What was tried before, and where what is tried now is kept.</param>
    /// <param name="limit">How long it may take.</param>
    /// <param name="clock">Tells how long it takes.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <exception cref="OperationCanceledException">It was cancelled, or its time has passed (<see cref="OutOfTimeException"/>).</exception>
    /// <returns>The choice, and the scores of what was held out; those are null where the task's own split told.</returns>
    public static (RunChoice Choice, Scores? Held) Choose(
        Finetuning run, Func<AdaptedModel> adapt, bool byFolds, Tries tries, TimeLimit limit, TimeProvider clock, IProgress<TrainingEvent>? progress,
        CancellationToken cancellation)
    {
        TaskData data = run.Data!;
        MetricInfo metric = data.Spec.Metrics[0];
        long rows = (byFolds ? data.Train : data.Validation!).Count!.Value;
        int rounds = byFolds ? FewExampleDefaults.Rounds(rows, run.Options.Contrast.Pairs) : 1;
        (IDataset Train, IDataset Held)[] folds = byFolds
            ? [.. FewExamples.Folds(run.TrainClasses(), FewExampleDefaults.Parts, rounds, run.Options.Seed)
                .Select(fold => (FewExamples.Choose(data.Train, fold.Train), FewExamples.Choose(data.Train, fold.Held)))]
            : [(data.Train, data.Validation!)];
        double[] rates = FewExampleDefaults.Rates(run.Options, run.LearnsOutputOnly);
        string what = folds.Length == 1 ? "trying learning rates" : rates.Length == 1 ? $"validating in {folds.Length} folds" : $"trying learning rates in {folds.Length} folds";
        progress?.Report(new PhaseStarted(what));
        int done = 0;
        for (int fold = 0; fold < folds.Length; fold++)
        {
            double[] left = [.. rates.Where(rate => tries.Find(fold, rate) is null)];
            done += rates.Length - left.Length;
            if (left.Length == 0) continue;
            (IDataset train, IDataset held) = folds[fold];
            using AdaptedModel model = adapt();
            using var start = new Weights(model);
            if (run.Options.Contrast.Pairs)
            {
                PairTraining.Fit(model, train, run.Options.Contrast, run.TrainerOptions(), cancellation: cancellation);
                start.Keep();
            }
            foreach (double rate in left)
            {
                start.Restore();
                var validations = new Validations();
                Trainer.Fit(model, new TrainingData(train, held), At(rate, run, limit), progress: validations, clock: clock, cancellation: cancellation);
                tries.Keep(new Try(fold, rate, validations.Scores));
                progress?.Report(new PhaseProgress(what, (double)++done / (folds.Length * rates.Length)));
            }
        }
        RunCandidate[] candidates = [.. rates.Select(rate => Best(rate, [.. folds.Select((_, fold) => new Curve(tries.Find(fold, rate)!))], metric))];
        RunCandidate best = candidates[0];
        foreach (RunCandidate other in candidates[1..]) if (IsBetter(metric, other, best)) best = other;
        var choice = new RunChoice(best.LearningRate, byFolds ? best.Step : null, rows, folds.Length, rounds, candidates);
        // Every row counts once: another round answers it again, and makes it no second one.
        Scores? score = byFolds ? new Scores(rows, best.Loss, new Dictionary<string, double> { [metric.Name] = best.Score }) : null;
        return (choice, score);
    }

    private static TrainerOptions At(double rate, Finetuning run, TimeLimit limit)
    {
        TrainerOptions options = run.TrainerOptions();
        options = options with { Optimizer = options.Optimizer with { LearningRate = rate }, Checkpoints = limit.Left(), Features = null };
        // The run will train as long, and ends nowhere else: what it comes to there counts alone.
        return !run.KeepsLength ? options : options with
        {
            Schedule = options.Schedule with { MaxSteps = (int)Math.Min(run.Steps, int.MaxValue) },
            Evaluation = options.Evaluation with { EvalSteps = 0 },
        };
    }

    private static RunCandidate Best(double rate, IReadOnlyList<Curve> curves, MetricInfo metric)
    {
        RunCandidate? best = null;
        double all = curves.Sum(curve => curve.Count);
        foreach (long step in curves.SelectMany(curve => curve.Steps).Distinct().Order())
        {
            double Mean(Func<Scores, double> of) => curves.Sum(curve => of(curve.At(step)) * curve.Count) / all;
            var candidate = new RunCandidate(rate, step, Mean(scores => scores[metric.Name]), Mean(scores => scores.Loss));
            if (best is null || IsBetter(metric, candidate, best)) best = candidate;
        }
        return best!;
    }

    private static bool IsBetter(MetricInfo metric, RunCandidate own, RunCandidate other) =>
        metric.IsBetter(own.Score, other.Score) || (own.Score == other.Score && own.Loss < other.Loss);

    // Hears the validations of one training.
    private sealed class Validations : IProgress<TrainingEvent>
    {
        public Dictionary<long, Scores> Scores { get; } = [];

        public void Report(TrainingEvent value)
        {
            if (value is SplitScored scored) Scores[scored.Step] = scored.Scores;
        }
    }

    private sealed class Curve(Try one)
    {
        private readonly SortedDictionary<long, Scores> scores = new(one.Validations.ToDictionary());

        public IEnumerable<long> Steps => scores.Keys;

        public long Count => scores.Values.First().Count;

        // A training that ended before had not got better for long: its last validation stands for what would have followed.
        public Scores At(long step) => scores.Last(pair => pair.Key <= step || pair.Key == scores.Keys.First()).Value;
    }

    // What every rate begins from.
    private sealed class Weights : IDisposable
    {
        private readonly AdaptedModel model;
        private readonly MemoryCheckpoints kept = new();

        public Weights(AdaptedModel model)
        {
            this.model = model;
            Keep();
        }

        public void Keep() => kept.SaveBest(new TrainerState(), model);

        public void Restore() => kept.RestoreBest(model);

        public void Dispose() => kept.Dispose();
    }
}
