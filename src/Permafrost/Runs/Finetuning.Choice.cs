using Permafrost.Adaptation;
using Permafrost.Data;
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
    private RunOptions asked = new();  // before anything was set that few examples set

    private enum ChoiceToMake { None, RateOnOwnValidation, ByFolds }

    /// <summary>How learning rate and length were chosen; null where they were given.</summary>
    public RunChoice? Choice { get; private set; }

    /// <summary>Whether the length is not chosen, although rows are held out in turn: it was given, or the learning rate of a step goes by it.</summary>
    internal bool KeepsLength { get; private set; }

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
            try
            {
                return Options.Data.TrainPerClass is { } perClass ? FewExamples.Draw(data, perClass, Options.Seed) : data;
            }
            catch
            {
                data.Dispose();
                throw;
            }
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
        KeepsLength = byFolds && FewExampleDefaults.KeepLength(Options);
        if (FewExampleDefaults.Apply(Options, Data.Spec, Data.Train))
        {
            bool outputOnly = Options.Contrast.Pairs || Policy.Parse(Options.Model.Policy).IsOutputOnly;
            Options = FewExampleDefaults.Resolve(Options, Data.Train.Count!.Value, outputOnly, ChoosingValidation is not null || (byFolds && !KeepsLength));
        }
        if (byFolds) toMake = ChoiceToMake.ByFolds;
        else if (Options.Optimizer.Tune && ChoosingValidation is not null) toMake = ChoiceToMake.RateOnOwnValidation;
        else if (Options.Optimizer.Tune)
            throw new UsageException("`tune` chooses the learning rate on validation examples, and there are none here; give `validation_data`, or leave it out");
    }

    // What is chosen is written into the run's options, which run again to the same result without choosing. Returns whether anything was tried. The command is null for a run that
    // goes on from a checkpoint, and is described already.
    private bool Choose(RunFolder folder, string? command, TimeLimit limit, IProgress<TrainingEvent>? progress, StopRequest stop, TimeProvider clock)
    {
        // A run that goes on finds what was chosen beside it.
        if (toMake == ChoiceToMake.None && File.Exists(folder.Config) && File.Exists(ChoiceFile.In(folder))) (Choice, heldOut) = ChoiceFile.Read(folder);
        if (toMake == ChoiceToMake.None) return false;
        bool byFolds = toMake == ChoiceToMake.ByFolds;
        // Stopped from here on, it goes on by what was asked for.
        if (command is not null) RunDescription.Write(folder, asked, command);
        HashData(progress);
        var tries = new Tries(folder, Identity());
        MicroBatchSize = tries.MicroBatchSize;
        if (tries.AreOfAnother) progress?.Report(new TrainingNote("choosing.json is of other settings or data: everything is tried again"));
        if (tries.Before > 0) progress?.Report(new TrainingNote($"{tries.Before} training(s) by which settings are chosen were done before"));
        try
        {
            (Choice, heldOut) = Choosing.Choose(this, AdaptAsNow, byFolds, tries, limit, clock, progress, stop.Token);
        }
        catch (OperationCanceledException error)
        {
            if (error is OutOfTimeException) stop.Ask(StopReason.OutOfTime);
            if (stop.Reason == StopReason.OutOfTime && tries.Now == 0)
                throw new PermafrostException(
                    $"{folder.Path}: `max_time` {Options.Checkpoints.MaxTime} has passed within one of the trainings by which settings are chosen, of which only whole ones are " +
                    "kept: going on would end here again; give it more time");
            throw new StoppedException($"stopped by {stop.Why} while settings were chosen", stop.Reason, folder.Path);
        }
        toMake = ChoiceToMake.None;
        Options = Options with { Optimizer = Options.Optimizer with { LearningRate = Choice!.LearningRate, Tune = false } };
        if (Choice.Steps is { } steps && !KeepsLength)
            Options = Options with
            {
                Schedule = Options.Schedule with { MaxSteps = (int)steps },
                Evaluation = Options.Evaluation with { EvalSteps = 0, EarlyStoppingPatience = 0, StopAtScore = null },
            };
        RunFolder.WriteJson(ChoiceFile.In(folder), ChoiceFile.Of(Choice, heldOut));
        if (command is not null) RunDescription.Write(folder, Options, command);
        tries.Remove();
        string of = Choice.Steps is null ? "on the validation examples"
            : FormattableString.Invariant($"in {Choice.Folds} folds of {Choice.Rows} rows, all of which are trained on now");
        string rate = Choice.Candidates.Count > 1 ? FormattableString.Invariant($"learning rate {Choice.LearningRate}") : "";
        string length = Choice.Steps is { } chosen ? FormattableString.Invariant($"{chosen:N0} steps{(KeepsLength ? " as given" : "")}") : "";
        progress?.Report(new TrainingNote($"chosen {of}: {string.Join(", ", new[] { rate, length }.Where(word => word.Length > 0))}"));
        return tries.Now > 0;
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

    // Pairs have no checkpoints: a limit that ends them in a call that did nothing else would end them in every call.
    private void TrainOnPairs(bool hasChosen, IProgress<TrainingEvent>? progress, StopRequest stop)
    {
        if (!Options.Contrast.Pairs) return;
        Model.OutputOnly = false;
        try
        {
            PairTraining.Fit(Model, Data!.Train, Options.Contrast, TrainerOptions(), progress, stop.Token);
        }
        catch (OperationCanceledException) when (stop.Reason == StopReason.OutOfTime && !hasChosen)
        {
            throw new PermafrostException(
                $"`max_time` {Options.Checkpoints.MaxTime} has passed while training on pairs, of which nothing is kept: give it more time, or fewer `pair_steps`");
        }
        catch (OperationCanceledException stopped)
        {
            throw new OperationCanceledException("stopped while training on pairs", stopped, stop.Token);
        }
        finally
        {
            Model.OutputOnly = true;
        }
    }

    /// <summary>
    /// Where the first metric of a split's scores would lie over all examples there could be, with 95 % confidence; null where it is no share of them, or something was chosen by
    /// them (validation examples, but of runs whose training examples were drawn, which choose nothing by those).
    /// </summary>
    /// <param name="split">As in results.json.</param>
    /// <param name="scores">Its scores.</param>
    public ScoreInterval? Interval(string split, Scores scores) =>
        split == "test" || (split == "validation" && Options.Data.TrainPerClass is not null) ? ScoreInterval.Of(Model.Spec, scores) : null;

    private IReadOnlyDictionary<string, ScoreInterval>? Intervals(IReadOnlyDictionary<string, Scores> metrics)
    {
        var intervals = new OrderedDictionary<string, ScoreInterval>();
        foreach ((string split, Scores scores) in metrics)
            if (Interval(split, scores) is { } interval) intervals[split] = interval;
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
