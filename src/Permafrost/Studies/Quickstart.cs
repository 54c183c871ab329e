using System.Text.Json.Nodes;
using Permafrost.Adaptation;
using Permafrost.Formats;
using Permafrost.Models;
using Permafrost.Runs;

namespace Permafrost.Studies;

/// <summary>A frozen body on a task.</summary>
/// <param name="Init">Where the body's weights come from: <c>pretrained</c>, <c>random</c>, <c>statistics</c>.</param>
/// <param name="Run">The run whose learning rate was chosen.</param>
/// <param name="StepsToAllRight">Updates until a validation without a wrong answer; null where the cap came first, or where that was not looked for.</param>
public sealed record QuickstartArm(string Init, StudyRun Run, long? StepsToAllRight)
{
    /// <summary>The test accuracy, a share from 0 to 1.</summary>
    public double Accuracy => Run.Result.Test!["accuracy"];

    /// <summary>Its standard error over the test examples; one seed knows no other.</summary>
    public double StandardError => Math.Sqrt(Accuracy * (1 - Accuracy) / Run.Result.Test!.Count);
}

/// <summary>A task on the three bodies.</summary>
/// <param name="Task">The task's name.</param>
/// <param name="Asks">What it asks, in a few words.</param>
/// <param name="Arms">The pretrained body, then its controls.</param>
/// <param name="Baselines">What else a user would try, by name, the best first.</param>
/// <param name="Cap">Where runs stop when all is right: the most updates that they had; null elsewhere.</param>
public sealed record QuickstartRow(
    string Task, string Asks, IReadOnlyList<QuickstartArm> Arms, IReadOnlyList<(string Name, double Score)> Baselines, long? Cap);

/// <summary>A word that is in none of the lists.</summary>
/// <param name="Word">The word.</param>
/// <param name="Kind">Its kind, as written down beforehand.</param>
/// <param name="Answer">What the pretrained body's adapter says.</param>
public sealed record QuickstartWord(string Word, string Kind, ClassPrediction Answer)
{
    /// <summary>Whether it is right.</summary>
    public bool Right => Answer.Label == Kind;
}

/// <summary>What the quickstart came to.</summary>
/// <param name="Rows">The tasks.</param>
/// <param name="Words">Words in none of the lists, answered.</param>
public sealed record QuickstartResult(IReadOnlyList<QuickstartRow> Rows, IReadOnlyList<QuickstartWord> Words);

/// <summary>
/// The main result in three minutes, without data: one language-pretrained body, frozen, beside the same body with random weights and one with nothing of it but its statistics,
/// on a task of words and on two without. All have the same budget, and each has its own learning rate.
/// </summary>
/// <param name="root">The folder.</param>
/// <param name="seed">The seed of every run and of the drawn bodies.</param>
/// <param name="scale">Multiplies every number of steps.</param>
public sealed class Quickstart(string root, long seed, double scale)
{
    private const string Record = "quickstart.json";
    private readonly string record = Path.Combine(root, Record);

    /// <summary>Where the learning rates come from.</summary>
    public const string RatesFile = "studies/quickstart-rates.csv";

    /// <summary>Says what is missing before anything is begun.</summary>
    /// <exception cref="PermafrostException">The body is not there.</exception>
    public static void CheckBody() => BackboneSource.Resolve(QuickstartPlan.Body);

    /// <summary>Begins in a new or empty folder, or goes on in one where the same quickstart was stopped.</summary>
    /// <returns>Whether it goes on with what was stopped.</returns>
    /// <exception cref="UsageException">The folder holds something else, or another quickstart.</exception>
    public bool Begin()
    {
        static bool Counts(string entry) => Path.GetFileName(entry) != ".lock" && Path.GetExtension(entry) is not (".tmp" or ".probe");
        bool used = Directory.Exists(root) && Directory.EnumerateFileSystemEntries(root).Any(Counts);
        if (!used)
        {
            RunFolder.Create(root);
            RunFolder.WriteJson(record, new JsonObject { ["seed"] = seed, ["scale"] = scale });
            return false;
        }
        if (!File.Exists(record)) throw new UsageException($"`output_dir` {root} is not empty; choose another folder, or remove it");
        JsonObject known = JsonFile.Read(record);
        if (known["finished"] is not null) throw new UsageException($"`output_dir` {root} holds a quickstart that has finished; choose another folder, or remove it");
        if (known["seed"]?.ToString() != JsonValue.Create(seed).ToString() || known["scale"]?.ToString() != JsonValue.Create(scale).ToString())
            throw new UsageException(
                $"`output_dir` {root} holds another quickstart (`seed` {known["seed"]} `scale` {known["scale"]}); choose another folder, or go on with that one");
        return true;
    }

    /// <summary>Marks the folder's quickstart as finished.</summary>
    public void End() => RunFolder.WriteJson(record, new JsonObject { ["seed"] = seed, ["scale"] = scale, ["finished"] = true });

    /// <summary>Runs the parts that have not finished yet.</summary>
    /// <param name="sweep">Trains the runs.</param>
    /// <param name="say">Receives a sentence about each part before it begins.</param>
    /// <exception cref="PermafrostException">The body is not there.</exception>
    /// <exception cref="StoppedException">It was asked to stop.</exception>
    public QuickstartResult Run(Sweep sweep, Action<string> say)
    {
        var runs = new Dictionary<(string Task, string Init), StudyRun>();
        // A body at a time: it is read, drawn and packed once.
        foreach (string init in QuickstartPlan.Inits)
        {
            say(init switch
            {
                "pretrained" => $"the frozen body: {QuickstartPlan.Body}, pretrained on language; norms, positions and a new output layer train",
                "random" => "a control: the same architecture with random weights",
                _ => "a control: every frozen tensor redrawn with its own mean and standard deviation, so that nothing of the body is left but its statistics",
            });
            using var weights = FrozenWeights.Load(QuickstartPlan.Body, init, init == "pretrained" ? 0 : seed);
            foreach (QuickstartTask task in QuickstartPlan.Tasks)
            {
                double[] rates = [SweptRate.Best(SweptRate.Committed, task.Name, init)];
                runs[(task.Name, init)] = sweep.Choose(
                    Options(task, init), rates, Path.Combine(root, $"{task.Name}-{init}"), weights, withStrong: init == "pretrained");
            }
        }
        QuickstartRow[] rows = [.. QuickstartPlan.Tasks.Select(task => Row(task, init => runs[(task.Name, init)]))];
        return new QuickstartResult(rows, Answer(rows[0].Arms[0].Run));
    }

    /// <summary>Tries every learning rate of every arm, with another seed than the quickstart's own and without the test split.</summary>
    /// <param name="root">The folder of the runs.</param>
    /// <param name="sweep">Trains the runs.</param>
    /// <param name="say">Receives a sentence about each run before it begins.</param>
    /// <exception cref="StoppedException">It was asked to stop.</exception>
    public static IReadOnlyList<SweptRate> SweepRates(string root, Sweep sweep, Action<string> say)
    {
        var rates = new List<SweptRate>();
        foreach (string init in QuickstartPlan.Inits)
        {
            using var weights = FrozenWeights.Load(QuickstartPlan.Body, init, init == "pretrained" ? 0 : QuickstartPlan.SweepSeed);
            foreach (QuickstartTask task in QuickstartPlan.Tasks)
            {
                RunOptions options = QuickstartPlan.Options(task, init, QuickstartPlan.SweepSeed, task.SweepSteps, scale: 1);
                foreach (double rate in QuickstartPlan.Rates)
                {
                    say(FormattableString.Invariant($"{task.Name}, {init}, learning rate {rate}"));
                    RunResult result = sweep.TrainUnscored(options, rate, Path.Combine(root, $"{task.Name}-{init}"), weights).Result;
                    rates.Add(new SweptRate(task.Name, result.TaskVersion, init, rate, result.Steps, result.Validation!["accuracy"], result.Validation!.Loss));
                }
            }
        }
        return [.. rates.OrderBy(rate => rate.Task, StringComparer.Ordinal)];
    }

    private QuickstartRow Row(QuickstartTask task, Func<string, StudyRun> runOf)
    {
        QuickstartArm[] arms = [.. QuickstartPlan.Inits.Select(init => new QuickstartArm(init, runOf(init), task.UntilAllRight ? StepsToAllRight(runOf(init)) : null))];
        RunBaselines measured = arms[0].Run.Result.Baselines;
        IEnumerable<(string, double)> baselines = measured.Strong.Concat(measured.Trivial)
            .OrderByDescending(pair => pair.Value).Select(pair => (QuickstartText.Short(pair.Key), pair.Value));
        long? cap = task.UntilAllRight ? Options(task, "pretrained").Schedule.MaxSteps : null;
        return new QuickstartRow(task.Name, task.Asks, arms, [.. baselines], cap);
    }

    private RunOptions Options(QuickstartTask task, string init) => QuickstartPlan.Options(task, init, seed, task.Steps, scale);

    private static long? StepsToAllRight(StudyRun run) => MetricsLog.Read(Path.Combine(run.Folder, "metrics.jsonl"))
        .Where(line => line["eval/accuracy"] is { } value && (double)value >= 1).Select(line => (long?)line["step"]!).FirstOrDefault();

    private QuickstartWord[] Answer(StudyRun run)
    {
        string file = Path.Combine(root, "words.txt");
        AtomicFile.WriteText(file, string.Concat(QuickstartPlan.Words.Select(word => word.Word + "\n")));
        using Finetuning trained = Finetuning.Open(run.Folder, withData: false);
        return [.. QuickstartPlan.Words.Zip(trained.Predict(file, 64), (word, answer) => new QuickstartWord(word.Word, word.Kind, (ClassPrediction)answer))];
    }
}
