using Permafrost.Runs;

namespace Permafrost.Studies;

/// <summary>A claim of a paper as a file: what is compared on what, how it is run at each scale, what was published, and what would decide it (<c>studies/*.yaml</c>).</summary>
public sealed record StudyFile
{
    /// <summary>The file's name without its ending.</summary>
    public required string Name { get; init; }

    /// <summary>Where it was read from.</summary>
    public required string Source { get; init; }

    /// <summary>Whether it comes with the program.</summary>
    public bool IsBuiltIn { get; init; }

    /// <summary>What it is called on the command line: its name, or its file.</summary>
    public string Reference => IsBuiltIn ? Name : Source;

    /// <summary>A few words.</summary>
    public required string Title { get; init; }

    /// <summary>What it asks.</summary>
    public required string Question { get; init; }

    /// <summary>The published tables and figures that it runs again, such as <c>lu-table-9</c>.</summary>
    public required IReadOnlyList<string> Reproduces { get; init; }

    /// <summary>What a reader should know beside the table.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>Whether the four arms of Rothermel et al. 2021 stand beside its own: pretrained and random, frozen and trained whole.</summary>
    public bool Controls { get; init; } = true;

    /// <summary>What stands beside each score: <c>updates</c>, <c>trained</c>, <c>speed</c> (<see cref="StudyMeasure"/>).</summary>
    public IReadOnlyList<string> Also { get; init; } = [];

    /// <summary>What is compared, in the table's order.</summary>
    public required IReadOnlyList<StudyArm> Arms { get; init; }

    /// <summary>On what.</summary>
    public required IReadOnlyList<StudyTask> Tasks { get; init; }

    /// <summary>How it is run at each scale.</summary>
    public required IReadOnlyDictionary<string, StudyScale> Scales { get; init; }

    /// <summary>What would decide it.</summary>
    public IReadOnlyList<StudyClaim> Claims { get; init; } = [];

    /// <summary>Published scores.</summary>
    public IReadOnlyList<PublishedScore> Published { get; init; } = [];

    /// <summary>Options of every run.</summary>
    internal StudyChanges Options { get; init; } = StudyChanges.None;
}

/// <summary>A column of a study's table.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Summary">What it is.</param>
public sealed record StudyArm(string Name, string Summary)
{
    /// <summary>Options of its runs.</summary>
    internal StudyChanges Options { get; init; } = StudyChanges.None;
}

/// <summary>A row of a study's table.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Task">The task, with its reading.</param>
/// <param name="Asks">What it asks, in a few words.</param>
public sealed record StudyTask(string Name, string Task, string Asks)
{
    /// <summary>The metric that is shown, where it is not the task's main one; the rate is chosen by that one all the same.</summary>
    public string? Metric { get; init; }

    /// <summary>Options of its runs.</summary>
    internal StudyChanges Options { get; init; } = StudyChanges.None;

    /// <summary>Options of its runs at one scale.</summary>
    internal IReadOnlyDictionary<string, StudyChanges> AtScale { get; init; } = new Dictionary<string, StudyChanges>();
}

/// <summary>How a study is run: in seconds, in hours, or as the paper did.</summary>
/// <param name="Seeds">The seeds of each arm; the learning rate is chosen with the first.</param>
/// <param name="Rates">The learning rates that each arm tries.</param>
/// <param name="Tasks">The names of the tasks.</param>
/// <param name="Missing">Arms that cannot be run at this scale, and why.</param>
public sealed record StudyScale(IReadOnlyList<long> Seeds, IReadOnlyList<double> Rates, IReadOnlyList<string> Tasks, IReadOnlyDictionary<string, string> Missing)
{
    /// <summary>Options of every run.</summary>
    internal StudyChanges Options { get; init; } = StudyChanges.None;

    /// <summary>Commands that bring the body of an arm: where it is not at hand, the arm is missing, and its command is named.</summary>
    public IReadOnlyDictionary<string, string> Get { get; init; } = new Dictionary<string, string>();

    /// <summary>Options of an arm's runs.</summary>
    internal IReadOnlyDictionary<string, StudyChanges> Arms { get; init; } = new Dictionary<string, StudyChanges>();
}

/// <summary>Something that the table decides: one arm above another, or at least as good.</summary>
/// <param name="Text">The claim.</param>
/// <param name="Arm">The arm that it is about.</param>
/// <param name="Other">What that is compared with.</param>
/// <param name="Margin">Null where it must be above; else how much lower, as a share, still counts as just as good.</param>
/// <param name="Tasks">The tasks that count; empty for all.</param>
public sealed record StudyClaim(string Text, string Arm, string Other, double? Margin, IReadOnlyList<string> Tasks);

/// <summary>A published score, or another number that stands beside one.</summary>
/// <param name="Arm">The arm.</param>
/// <param name="Task">The task.</param>
/// <param name="Value">The score, as a share; of another measure, as it is.</param>
/// <param name="Source">Where it was published.</param>
/// <param name="How">How it came here: <c>read</c>, <c>second-hand</c>, <c>from memory</c>.</param>
public sealed record PublishedScore(string Arm, string Task, double Value, string Source, string How)
{
    /// <summary>One of <see cref="StudyMeasure.All"/>; null for the score.</summary>
    public string? Measure { get; init; }
}

/// <summary>Options of runs, as they stand in a study's file.</summary>
/// <param name="Lines">Key, value, and file with line.</param>
internal sealed record StudyChanges(IReadOnlyList<(string Key, string Value, string Where)> Lines)
{
    public static StudyChanges None { get; } = new([]);

    public RunOptions Apply(RunOptions options) => Lines.Aggregate(options, (current, line) => OptionTable.With(current, line.Key, line.Value, line.Where));
}
