using System.Globalization;
using Permafrost.Runs;
using Permafrost.Training.Options;

namespace Permafrost.Studies;

/// <summary>A task of the quickstart.</summary>
/// <param name="Name">The task's name.</param>
/// <param name="Asks">What it asks, in a few words.</param>
/// <param name="Steps">Updates of a run; of one that stops when all is right, the most.</param>
/// <param name="BatchSize">Examples of an update.</param>
/// <param name="UntilAllRight">Whether a run stops at the first validation without a wrong answer.</param>
internal sealed record QuickstartTask(string Name, string Asks, int Steps, int BatchSize, bool UntilAllRight)
{
    /// <summary>Updates of a run of the sweep, which has more patience than a newcomer.</summary>
    public int SweepSteps => UntilAllRight ? 1500 : Steps;
}

/// <summary>What the quickstart trains: fixed before its first run, the same for every arm.</summary>
internal static class QuickstartPlan
{
    /// <summary>The body in the box.</summary>
    public const string Body = "all-MiniLM-L6-v2";

    /// <summary>The seed of the sweep's runs; the quickstart's own are of another.</summary>
    public const long SweepSeed = 1;

    /// <summary>The tasks, in the order of the table.</summary>
    public static readonly QuickstartTask[] Tasks =
    [
        new("word-kinds", "what kind of thing is this word?", 160, 32, UntilAllRight: false),
        new("bit-xor", "exclusive or of two strings of 5 bits", 500, 16, UntilAllRight: true),
        new("waveforms", "which wave is behind a noisy series?", 300, 16, UntilAllRight: false),
    ];

    /// <summary>What is compared: the body as it was pretrained, and its two controls.</summary>
    public static readonly string[] Inits = ["pretrained", "random", "statistics"];

    /// <summary>The learning rates that the sweep tries.</summary>
    public static readonly double[] Rates = [1e-3, 3e-3, 1e-2];

    /// <summary>Words that stand in none of the lists of word-kinds, and their kinds: for a look at what was learned, not for a score.</summary>
    public static readonly (string Word, string Kind)[] Words =
        [("otter", "animal"), ("sombrero", "clothing"), ("archipelago", "landscape"), ("tugboat", "vehicle"), ("blacksmith", "occupation")];

    /// <summary>The options of a task's runs on one body, without a learning rate.</summary>
    /// <param name="task">The task.</param>
    /// <param name="init">One of <see cref="Inits"/>.</param>
    /// <param name="seed">The seed of the run and of a drawn body.</param>
    /// <param name="steps">Updates.</param>
    /// <param name="scale">Multiplies every number of steps.</param>
    public static RunOptions Options(QuickstartTask task, string init, long seed, int steps, double scale)
    {
        int Scaled(int steps) => Math.Max(2, (int)(steps * scale));
        return new()
        {
            Seed = seed,
            Model = new ModelOptions { Backbone = Body, Init = init, InitSeed = init == "pretrained" ? 0 : seed, Dropout = 0 },
            Data = new DataOptions { Task = task.Name },
            Schedule = new ScheduleOptions { PerDeviceTrainBatchSize = task.BatchSize, MaxSteps = Scaled(steps) },
            Evaluation = new EvaluationOptions { EvalSteps = Scaled(task.UntilAllRight ? 50 : steps / 4), StopAtScore = task.UntilAllRight ? 1 : null },
            Checkpoints = new CheckpointOptions { SaveMinutes = 5 },
        };
    }
}

/// <summary>A run of the sweep that chose learning rates.</summary>
/// <param name="Task">The task's name.</param>
/// <param name="TaskVersion">Its version.</param>
/// <param name="Init">The body's weights.</param>
/// <param name="LearningRate">The rate.</param>
/// <param name="Steps">Updates done.</param>
/// <param name="Accuracy">On validation, of the best weights.</param>
/// <param name="Loss">On validation, of the same.</param>
public sealed record SweptRate(string Task, int TaskVersion, string Init, double LearningRate, long Steps, double Accuracy, double Loss)
{
    private const string Header = "task,task_version,init,learning_rate,steps,validation_accuracy,validation_loss";

    private static readonly string[] CommittedLines = ReadCommitted();

    /// <summary>The committed sweep, <c>studies/quickstart-rates.csv</c>.</summary>
    internal static IReadOnlyList<SweptRate> Committed { get; } = [.. CommittedLines.Skip(2).Select(line => Parse(line.Split(',')))];

    /// <summary>The command that made it.</summary>
    internal static string CommittedBy => CommittedLines[0].TrimStart('#', ' ');

    /// <summary>As a table: a comment with the command that made it, names of columns, a line a run.</summary>
    public static string Table(string command, IEnumerable<SweptRate> rates) => string.Concat(rates
        .Select(rate => FormattableString.Invariant($"{rate.Task},{rate.TaskVersion},{rate.Init},{rate.LearningRate:R},{rate.Steps},{rate.Accuracy:R},{rate.Loss:R}\n"))
        .Prepend($"# {command}\n{Header}\n"));

    /// <summary>Updates after which a run of the committed sweep had all answers right; null where it did not get there.</summary>
    internal static long? StepsToAllRight(string task, string init, double rate) =>
        Committed.FirstOrDefault(run => run.Task == task && run.Init == init && run.LearningRate == rate && run.Accuracy >= 1)?.Steps;

    /// <summary>The rate that did best on validation: most answers right, then fewest steps, then the lowest loss.</summary>
    /// <exception cref="InvalidOperationException">The sweep has no such run.</exception>
    internal static double Best(IEnumerable<SweptRate> sweep, string task, string init) => sweep.Where(rate => rate.Task == task && rate.Init == init)
        .OrderByDescending(rate => rate.Accuracy).ThenBy(rate => rate.Steps).ThenBy(rate => rate.Loss).First().LearningRate;

    private static SweptRate Parse(string[] fields)
    {
        double Number(int at) => double.Parse(fields[at], CultureInfo.InvariantCulture);
        return new(fields[0], (int)Number(1), fields[2], Number(3), (long)Number(4), Number(5), Number(6));
    }

    private static string[] ReadCommitted()
    {
        using var reader = new StreamReader(typeof(SweptRate).Assembly.GetManifestResourceStream("Studies/quickstart-rates.csv")!);
        return reader.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }
}
