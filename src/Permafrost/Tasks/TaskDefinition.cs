using Permafrost.Data;
using Permafrost.Tokenizers;

namespace Permafrost.Tasks;

/// <summary>A run's settings of its task: where the data is, and how it is read and split.</summary>
/// <param name="DataPath">A file or folder; null to look in the usual places.</param>
/// <param name="Reading">The part of the task's name after the <c>@</c>; empty for the plain name.</param>
/// <param name="Settings">The task's own settings (<c>task_options</c>).</param>
/// <param name="Seed">The seed of generated training examples.</param>
/// <param name="ValidationFraction">Share of the training examples held out for validation, where the task has no split of its own.</param>
/// <param name="TestFraction">Share held out for testing, likewise.</param>
/// <param name="NumClasses">Overrides the number of classes, where a task reads it from its data.</param>
public sealed record TaskOptions(
    string? DataPath = null, string Reading = "", IReadOnlyDictionary<string, string>? Settings = null, long Seed = 0,
    double ValidationFraction = 0.1, double TestFraction = 0.1, int? NumClasses = null)
{
    private const int UsualTextLength = 256;

    /// <summary>Gives the body's tokenizer, for tasks of texts; null where the body has none.</summary>
    public Func<Tokenizer?>? Tokenizer { get; init; }

    /// <summary>Gives the longest sequence that the body takes, in tokens; null where it takes any.</summary>
    public Func<int?> LongestInput { get; init; } = () => null;

    /// <summary>Most tokens of a text, special tokens included; null for 256, or less where the tokenizer or the body takes less.</summary>
    public int? MaxLength { get; init; }

    /// <summary>A file of validation examples, where a task takes several; null to hold out a share.</summary>
    public string? ValidationPath { get; init; }

    /// <summary>A file of test examples, where a task takes several; null to hold out a share.</summary>
    public string? TestPath { get; init; }

    /// <summary>The column of the texts, where a task reads tables; null where it is not of texts, or the file tells.</summary>
    public string? TextColumn { get; init; }

    /// <summary>The column of the labels, where a task reads tables.</summary>
    public string? LabelColumn { get; init; }

    /// <summary>What a finished run was trained for, where its data is loaded to score it: classes and encoding are the run's then; null for a new run.</summary>
    public TaskSpec? Trained { get; init; }

    /// <summary>Tokenises texts with the body's tokenizer.</summary>
    /// <param name="task">What feeds them, for errors, such as <c>`task` trec</c>.</param>
    /// <param name="texts">The texts.</param>
    /// <param name="targets">A class for each; -100 where none is known.</param>
    /// <exception cref="UsageException">The body has no tokenizer, or <c>max_length</c> leaves no room for a token.</exception>
    public TextRows Tokenize(string task, IReadOnlyList<string> texts, IReadOnlyList<long> targets)
    {
        Tokenizer tokenizer = Tokenizer?.Invoke() ??
            throw new UsageException($"{task} feeds texts, and the backbone has no tokenizer of its own ({TokenizerFiles.Wanted}); all-MiniLM-L6-v2, for example, has one");
        int positions = LongestInput() ?? int.MaxValue;
        if (MaxLength > positions) throw new UsageException($"`max_length` is {MaxLength}, and the backbone has {positions} positions; take at most {positions}");
        return new TextRows(texts, targets, tokenizer, MaxLength ?? Math.Min(Math.Min(UsualTextLength, positions), tokenizer.LongestText ?? UsualTextLength));
    }

    /// <summary>A whole-number setting.</summary>
    /// <exception cref="UsageException">The setting is not a number, or is out of range.</exception>
    public int Int(string key, int fallback, int minimum, int maximum)
    {
        if (Settings?.GetValueOrDefault(key) is not { } text) return fallback;
        if (int.TryParse(text, out int value) && value >= minimum && value <= maximum) return value;
        throw new UsageException($"task_options.{key} is '{text}'; it must be a whole number from {minimum} to {maximum}");
    }

    /// <summary>Refuses what only tables have, for a task that reads none.</summary>
    /// <exception cref="UsageException">A column or a split's file was named.</exception>
    public void CheckTables(TaskDefinition task)
    {
        (string Key, string? Value)[] given = [("text_column", TextColumn), ("label_column", LabelColumn), ("validation_data", ValidationPath), ("test_data", TestPath)];
        if (!task.ReadsTables && Array.Find(given, option => option.Value is not null) is { Value: not null } stray)
            throw new UsageException($"`{stray.Key}` {stray.Value}: the task {task.Name} reads no tables; leave it out, or take the task csv");
        if (!task.NamesColumns && Array.Find(given[..2], option => option.Value is not null) is { Value: not null } column)
            throw new UsageException(
                $"`{column.Key}` {column.Value}: the data of the task {task.Name} has no columns with names; leave it out " +
                $"(`permafrost show task {task.Name}` says where labels stand)");
    }

    /// <summary>Refuses settings that the task does not have.</summary>
    /// <exception cref="UsageException">There is a setting that the task does not have.</exception>
    public void CheckSettings(string task, params string[] known)
    {
        if (Settings?.Keys.FirstOrDefault(key => !known.Contains(key)) is not { } stray) return;
        string there = known.Length == 0 ? "it has no options" : $"there are {string.Join(", ", known)}";
        throw new UsageException($"task_options.{stray} does not exist for the task {task}; {there}");
    }

    /// <summary>Refuses data, for a task that generates its examples and reads none.</summary>
    /// <exception cref="UsageException">Data was given.</exception>
    public void CheckNoData(string task)
    {
        if (DataPath is not null) throw new UsageException($"`data` {DataPath}: the task {task} generates its examples and reads no data; leave `data` out");
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
    public virtual string Description => Summary;

    /// <summary>Other readings of the task, after <c>@</c>.</summary>
    public virtual IReadOnlyList<string> Readings => [];

    /// <summary>Whether it reads tables, so that columns and files for each split can be named.</summary>
    public virtual bool ReadsTables => false;

    /// <summary>Whether columns (or keys) of its data have names, so that those of texts and labels can be named.</summary>
    internal virtual bool NamesColumns => ReadsTables;

    /// <summary>What <see cref="ReadInputs"/> accepts, for <c>permafrost predict --help</c> and errors.</summary>
    public virtual string InputFormat => "nothing: it answers no new inputs";

    /// <summary>The words of a task's ids, for a body that reads them as text; an empty word is not written. Null where its inputs are no ids, or have no words.</summary>
    /// <param name="spec">What the task feeds.</param>
    public virtual IReadOnlyList<string>? Words(TaskSpec spec) => null;

    /// <summary>Loads or prepares the data.</summary>
    /// <exception cref="PermafrostException">The data is missing or damaged.</exception>
    public abstract TaskData Load(TaskOptions options);

    /// <summary>Scores of trivial rules that only this task knows, on the test split, by name.</summary>
    public virtual IReadOnlyDictionary<string, double> OwnBaselines(TaskData data) => new Dictionary<string, double>();

    /// <summary>Reads unlabelled inputs for predictions; their targets are -100.</summary>
    /// <param name="path">A file; <c>-</c> for standard input, where the format is text.</param>
    /// <param name="spec">The shapes that the adapter was trained for.</param>
    /// <param name="options">The run's options.</param>
    /// <param name="partSize">The most examples in a part, where a format can be read in parts: no more are in memory, and the first are there before the last are read.</param>
    /// <returns>Parts of the inputs, in order.</returns>
    /// <exception cref="PermafrostException">The file is missing, damaged or of another shape.</exception>
    public virtual IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize) =>
        throw new PermafrostException($"{path}: the task {Name} reads {InputFormat}");
}
