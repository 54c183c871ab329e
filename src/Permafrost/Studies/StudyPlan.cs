using System.Security.Cryptography;
using System.Text;
using Permafrost.Models;
using Permafrost.Runs;
using Permafrost.Tasks;

namespace Permafrost.Studies;

/// <summary>One arm on one task, with its own learning rates and all seeds.</summary>
/// <param name="Task">The row.</param>
/// <param name="Arm">The column.</param>
/// <param name="Seeds">The seeds; the rate is chosen with the first.</param>
/// <param name="Rates">The learning rates.</param>
/// <param name="Missing">Why it is not run at this scale; null where it is.</param>
public sealed record StudyCell(StudyTask Task, StudyArm Arm, IReadOnlyList<long> Seeds, IReadOnlyList<double> Rates, string? Missing)
{
    /// <summary>The options of its runs, without seed and rate.</summary>
    internal RunOptions Options { get; init; } = new();

    /// <summary>The name in lists and locks.</summary>
    public string Name => $"{Task.Name}-{Arm.Name}";

    /// <summary>The options of a run: a drawn body has the run's seed, so that seeds differ in all that is drawn.</summary>
    internal RunOptions Run(long seed, double rate) => Options with
    {
        Seed = seed,
        Model = Options.Model with { InitSeed = Options.Model.Init == "pretrained" ? 0 : seed },
        Optimizer = Options.Optimizer with { LearningRate = rate },
        Evaluation = Options.Evaluation with { ScoreTest = false, Baselines = false },
    };
}

/// <summary>What a study runs at a scale, fixed before the first run. A run is known by the hash of its options, so that no two studies run the same one twice.</summary>
public sealed record StudyPlan(StudyFile Study, string Scale, IReadOnlyList<StudyCell> Cells)
{
    /// <summary>The plan of a scale.</summary>
    /// <param name="study">The study.</param>
    /// <param name="scale">The scale's name.</param>
    /// <exception cref="UsageException">The study has no such scale, or a run's options cannot be.</exception>
    public static StudyPlan Of(StudyFile study, string scale)
    {
        if (!study.Scales.TryGetValue(scale, out StudyScale? chosen))
            throw new UsageException($"{study.Source} has no scale '{scale}'; there are {string.Join(", ", study.Scales.Keys)}");
        IEnumerable<StudyCell> cells =
            from task in study.Tasks
            where chosen.Tasks.Contains(task.Name)
            from arm in study.Arms
            select Cell(study, scale, chosen, task, arm);
        StudyCell[] own = [.. cells];
        return new StudyPlan(study, scale, [.. own.GroupBy(cell => cell.Task.Name).SelectMany(row => row.Concat(Controls(study, scale, chosen, own, row.First().Task)))]);
    }

    /// <summary>The columns: the study's arms, and its controls.</summary>
    public IReadOnlyList<StudyArm> Arms => [.. Cells.Select(cell => cell.Arm).DistinctBy(arm => arm.Name)];

    private static IEnumerable<StudyCell> Controls(StudyFile study, string scale, StudyScale chosen, IReadOnlyList<StudyCell> own, StudyTask task)
    {
        foreach (StudyArm arm in StudyControls.Of(study, chosen, own))
        {
            StudyCell cell = Cell(study, scale, chosen, task, arm);
            yield return cell with { Rates = StudyControls.Rates(arm, chosen.Rates) };
        }
    }

    internal static StudyCell Cell(StudyFile study, string scale, StudyScale chosen, StudyTask task, StudyArm arm)
    {
        var cell = new StudyCell(task, arm, chosen.Seeds, chosen.Rates, chosen.Missing.GetValueOrDefault(arm.Name));
        string? get = chosen.Get.GetValueOrDefault(arm.Name);
        if (cell.Missing is { } why) return get is null ? cell : cell with { Missing = $"{why}; `{get}` brings one" };
        StudyChanges[] changes =
        [
            study.Options, chosen.Options, task.Options, task.AtScale.GetValueOrDefault(scale, StudyChanges.None),
            arm.Options, chosen.Arms.GetValueOrDefault(arm.Name, StudyChanges.None),
        ];
        RunOptions options = changes.Aggregate(new RunOptions(), (current, change) => change.Apply(current));
        options = options with { Data = options.Data with { Task = task.Task } };
        try
        {
            TaskRegistry.Find(task.Task);
            options.Validate();
        }
        catch (UsageException error)
        {
            throw new UsageException($"{study.Source}: {task.Name}, {arm.Name}: {error.Message}");
        }
        // What is fed as text needs the tokenizer that lies beside a checkpoint, even where the weights are drawn.
        bool asText = options.Model.InputLayer is not (null or "new");
        bool lacking = get is not null && !BackboneSource.IsAtHand(options.Model.Backbone, asText ? "pretrained" : options.Model.Init);
        return cell with { Options = options, Missing = lacking ? $"{options.Model.Backbone} is not at hand; `{get}` brings it, and the same study then runs it" : null };
    }

    /// <summary>Runs of it: an arm's learning rates with the first seed, and the chosen one with the others.</summary>
    public int Runs => Cells.Where(cell => cell.Missing is null).Sum(cell => cell.Rates.Count + cell.Seeds.Count - 1);

    /// <summary>Updates of all runs together, where none ends early.</summary>
    public long Updates => Cells.Where(cell => cell.Missing is null).Sum(cell => (cell.Rates.Count + cell.Seeds.Count - 1) * (cell.Options.Schedule.MaxSteps ?? 0L));

    /// <summary>The bodies that it needs.</summary>
    public IReadOnlyList<string> Bodies => [.. Cells.Where(cell => cell.Missing is null).Select(cell => cell.Options.Model.Backbone).Distinct()];

    /// <summary>The cells that are the i-th of n parts, in an order in which those of one body follow each other.</summary>
    internal IReadOnlyList<StudyCell> Part(int index, int count) =>
        [.. Cells.Where(cell => cell.Missing is null).OrderBy(cell => (cell.Options.Model.Backbone, cell.Options.Model.Init)).Where((_, i) => i % count == index - 1)];

    /// <summary>The folder's name of a run with these options.</summary>
    internal static string Id(RunOptions options)
    {
        RunOptions bare = options with { Checkpoints = options.Checkpoints with { OutputDir = null } };
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(RunConfig.ToYaml(bare, ""))))[..16];
    }
}
