namespace Permafrost.Tasks;

/// <summary>What a run says about a task's data.</summary>
/// <param name="DataPath">A file or folder; null to look in the usual places.</param>
/// <param name="Reading">After the <c>@</c> of the task's name; empty for the plain one.</param>
/// <param name="Settings">The task's own settings (<c>task_options</c>).</param>
/// <param name="Seed">Of generated training examples and random splits.</param>
/// <param name="ValidationFraction">Share of the training examples held out for validation, where the task has no split of its own.</param>
/// <param name="TestFraction">Share held out for testing, likewise.</param>
/// <param name="NumClasses">Overrides the number of classes, where a task reads it from its data.</param>
public sealed record TaskOptions(
    string? DataPath = null, string Reading = "", IReadOnlyDictionary<string, string>? Settings = null, long Seed = 0,
    double ValidationFraction = 0.1, double TestFraction = 0.1, int? NumClasses = null)
{
    /// <summary>A whole-number setting.</summary>
    /// <exception cref="UsageException">It is no number, or out of range.</exception>
    public int Int(string key, int fallback, int minimum, int maximum)
    {
        if (Settings?.GetValueOrDefault(key) is not { } text) return fallback;
        return int.TryParse(text, out int value) && value >= minimum && value <= maximum ? value : throw new UsageException($"task_options.{key} is '{text}'; it must be a whole number from {minimum} to {maximum}");
    }

    /// <summary>Refuses settings that the task does not have.</summary>
    /// <exception cref="UsageException">There is one.</exception>
    public void CheckSettings(string task, params string[] known)
    {
        foreach (string key in Settings?.Keys ?? [])
            if (!known.Contains(key)) throw new UsageException($"task_options.{key} does not exist for the task {task}; " + (known.Length == 0 ? "it has no options" : $"there are {string.Join(", ", known)}"));
    }
}

/// <summary>A task: where examples come from, how they are encoded, what is asked and how it is scored. One file each; listed in <see cref="TaskRegistry"/>.</summary>
public abstract class TaskDefinition
{
    /// <summary>The name after <c>--task</c>.</summary>
    public abstract string Name { get; }

    /// <summary>Raised when examples or scoring change, so that scores of different versions are not compared.</summary>
    public abstract int Version { get; }

    /// <summary>One line for <c>permafrost ls tasks</c>.</summary>
    public abstract string Summary { get; }

    /// <summary>Several lines for <c>permafrost show task</c>: encoding, splits, options, source, traps.</summary>
    public abstract string Description { get; }

    /// <summary>Other readings of the task, after <c>@</c>.</summary>
    public virtual IReadOnlyList<string> Readings => [];

    /// <summary>What <see cref="ReadInputs"/> accepts, for <c>permafrost predict --help</c> and errors.</summary>
    public abstract string InputFormat { get; }

    /// <summary>Whether the examples follow from version and options alone, without any file.</summary>
    public virtual bool IsGenerated => false;

    /// <summary>Loads or prepares the data.</summary>
    /// <exception cref="PermafrostException">The data is missing or damaged.</exception>
    public abstract TaskData Load(TaskOptions options);

    /// <summary>Scores of trivial rules that only this task knows, on the test split, by name.</summary>
    public virtual IReadOnlyDictionary<string, double> OwnFloors(TaskData data) => new Dictionary<string, double>();

    /// <summary>Reads unlabelled inputs for predictions; their targets are -100.</summary>
    /// <param name="path">A file; <c>-</c> for standard input, where the format is text.</param>
    /// <param name="shape">The shape that the adapter was trained for.</param>
    /// <param name="options">The run's options.</param>
    /// <exception cref="PermafrostException">The file is missing, damaged or of another shape.</exception>
    public abstract IExamples ReadInputs(string path, TaskShape shape, TaskOptions options);
}
