using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Formats;
using Permafrost.Tasks;
using Permafrost.Tasks.Metrics;
using Permafrost.Training;

namespace Permafrost.Runs;

/// <content>What is chosen before a run's first step: its learning rate where that is asked for, and its length where its examples are few and nothing was said of it.</content>
public sealed partial class Finetuning
{
    private ChoiceToMake toMake;
    private Scores? heldOut;
    private TaskData? uncast;  // as the task itself feeds it, for baselines

    private enum ChoiceToMake { None, RateOnOwnValidation, ByFolds }

    /// <summary>How learning rate and length were chosen; null where they were given.</summary>
    public RunChoice? Choice { get; private set; }

    /// <summary>Whether the output layer alone learns, of hidden states that are computed once.</summary>
    internal bool LearnsOutputOnly => Options.Contrast.Pairs || Model.ReadsConstants;

    // Examples drawn to be few are scored by the task's validation examples, and never chosen by them: whoever has few has no others.
    private IDataset? ChoosingValidation => Options.Data.TrainPerClass is null ? Data!.Validation : null;

    // Loads the data; few rows without a validation split of their own are all trained on, and held out in turn.
    private void LoadData(bool isNew)
    {
        TaskData Loaded()
        {
            TaskData data = Task.Load(TaskOptions);
            return Options.Data.TrainPerClass is { } perClass ? FewExamples.Draw(data, perClass, Options.Seed) : data;
        }
        Data = Loaded();
        if (!isNew) return;
        bool holdsOut = Task.ReadsTables && Options.Data is { ValidationFraction: null, ValidationData: null } && Options.Schedule.Shuffle && Data.Validation is not null;
        bool few = FewExampleDefaults.Apply(Options, Data.Spec, Data.Train) || (Options.Optimizer.Tune && Data.Train.Count <= FewExampleDefaults.Most);
        if (few && holdsOut && Data.Train.Count + Data.Validation!.Count <= FewExampleDefaults.Most)
        {
            Data.Dispose();
            Options = Options with { Data = Options.Data with { ValidationFraction = 0 } };
            TaskOptions = TaskOptions with { ValidationFraction = 0 };
            Data = Loaded();
        }
        bool byFolds = few && ChoosingValidation is null && !FewExampleDefaults.TooFew(Data.Train.Count!.Value);
        if (FewExampleDefaults.Apply(Options, Data.Spec, Data.Train))
        {
            bool outputOnly = Options.Contrast.Pairs || Policy.Parse(Options.Model.Policy).IsOutputOnly;
            Options = FewExampleDefaults.Resolve(Options, Data.Train.Count!.Value, outputOnly, byFolds || ChoosingValidation is not null);
        }
        if (byFolds) toMake = ChoiceToMake.ByFolds;
        else if (Options.Optimizer.Tune && ChoosingValidation is not null) toMake = ChoiceToMake.RateOnOwnValidation;
        else if (Options.Optimizer.Tune)
            throw new UsageException("`tune` chooses the learning rate on validation examples, and there are none here; give `validation_data`, or leave it out");
    }

    // Before the run is described: what is chosen is written into its options, which run again to the same result without choosing.
    private void Choose(RunFolder folder, IProgress<TrainingEvent>? progress, StopRequest stop, TimeProvider clock)
    {
        // A run that goes on finds what was chosen beside it.
        if (toMake == ChoiceToMake.None && File.Exists(folder.Config) && File.Exists(ChoiceFile.In(folder))) (Choice, heldOut) = ChoiceFile.Read(folder);
        if (toMake == ChoiceToMake.None) return;
        bool byFolds = toMake == ChoiceToMake.ByFolds;
        toMake = ChoiceToMake.None;
        long began = clock.GetTimestamp();
        void Check()
        {
            if (clock.GetElapsedTime(began) > Options.Checkpoints.MaxDuration)
                throw new StoppedException("`max_time` has passed while settings were chosen; start the run again with more of it", StopReason.OutOfTime);
        }
        try
        {
            (Choice, heldOut) = Choosing.Choose(this, AdaptAsNow, byFolds, progress, Check, stop.Token);
        }
        catch (OperationCanceledException)
        {
            throw new StoppedException($"stopped by {stop.Why} while settings were chosen; start the run again", stop.Reason);
        }
        Options = Options with { Optimizer = Options.Optimizer with { LearningRate = Choice!.LearningRate, Tune = false } };
        if (Choice.Steps is { } steps)
            Options = Options with
            {
                Schedule = Options.Schedule with { MaxSteps = (int)steps },
                Evaluation = Options.Evaluation with { EvalSteps = 0, EarlyStoppingPatience = 0 },
            };
        RunFolder.WriteJson(ChoiceFile.In(folder), ChoiceFile.Of(Choice, heldOut));
        string of = Choice.Steps is null ? "on the validation examples" : FormattableString.Invariant($"in {Choice.Folds} folds of {Choice.Rows} rows");
        string rate = Choice.Candidates.Count > 1 ? FormattableString.Invariant($"learning rate {Choice.LearningRate}") : "";
        string length = Choice.Steps is { } chosen ? FormattableString.Invariant($"{chosen:N0} steps") : "";
        progress?.Report(new TrainingNote($"chosen {of}: {string.Join(", ", new[] { rate, length }.Where(word => word.Length > 0))}"));
    }

    // With the start values of the run's own model, from an adapter perhaps.
    private AdaptedModel AdaptAsNow()
    {
        AdaptedModel model = Adapt();
        try
        {
            model.LoadAdapter(Model.Adapter(), "the run's start", complete: true);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    private void TrainOnPairs(IProgress<TrainingEvent>? progress, StopRequest stop)
    {
        if (!Options.Contrast.Pairs) return;
        Model.OutputOnly = false;
        try
        {
            PairTraining.Fit(Model, Data!.Train, Options.Contrast, TrainerOptions(), progress, stop.Token);
        }
        finally
        {
            Model.OutputOnly = true;
        }
    }

    /// <summary>Where the first metric of some scores would lie over all examples there could be, with 95 % confidence; null where it is no share of them.</summary>
    public ScoreInterval? Interval(Scores scores) => ScoreInterval.Of(Model.Spec, scores);

    private IReadOnlyDictionary<string, ScoreInterval>? Intervals(IReadOnlyDictionary<string, Scores> metrics)
    {
        var intervals = new OrderedDictionary<string, ScoreInterval>();
        foreach ((string split, Scores scores) in metrics)
            if (Interval(scores) is { } interval) intervals[split] = interval;
        return intervals.Count == 0 ? null : intervals;
    }

    private TaskData BaselineData => Options.Data.TrainPerClass is null ? uncast! : uncast! with { Validation = null, Test = uncast.Test ?? uncast.Validation };

    /// <summary>The class of every training example.</summary>
    internal long[] TrainClasses() => FewExamples.Classes(uncast!.Spec, uncast.Train, "repeated validation");

    // The data as the model reads and answers it.
    private void Cast(TaskSpec? known)
    {
        uncast = Data;
        if (Options.Model.InputLayer is "pretrained-embedding" or "fresh-embedding") Data = Casting.AsText(Task, Data!, TaskOptions, known);
        if (Options.Data.Casting == "text") Data = Casting.AsLabels(Task.Name, Data!, Weights.LoadTokenizer(), Weights.Config.OptionalInt("eos_token_id", 0));
    }
}
