using System.Globalization;
using Permafrost.Formats;
using Permafrost.Runs;
using Permafrost.Tasks;
using YamlDotNet.RepresentationModel;

namespace Permafrost.Studies;

/// <summary>Reads studies from YAML, and refuses what it does not know, by file and line.</summary>
internal static class StudyReader
{
    /// <summary>The scales there are.</summary>
    public static readonly string[] Scales = ["smoke", "small", "paper"];

    private static readonly string[] Hows = ["read", "second-hand", "from memory"];

    /// <exception cref="PermafrostException">The file cannot be read.</exception>
    /// <exception cref="UsageException">It is not YAML, lacks something, or holds what is not known.</exception>
    public static StudyFile Read(string path)
    {
        try
        {
            return Parse(File.ReadAllText(path), path);
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
    }

    /// <exception cref="UsageException">It is not YAML, lacks something, or holds what is not known.</exception>
    public static StudyFile Parse(string text, string source)
    {
        YamlMappingNode root = RunConfig.Root(text, source) ?? throw new UsageException($"{source} is empty; a study has title, question, tasks, arms and scales");
        var map = new YamlMap(root, source);
        map.Only("title", "question", "reproduces", "notes", "options", "tasks", "arms", "scales", "claims", "published", "controls", "also");
        StudyTask[] tasks = [.. map.Maps("tasks").Select(Task)];
        StudyArm[] arms = [.. map.Maps("arms").Select(Arm)];
        Unique(tasks.Select(task => task.Name), "tasks", source);
        Unique(arms.Select(arm => arm.Name), "arms", source);
        string[] taskNames = [.. tasks.Select(task => task.Name)], armNames = [.. arms.Select(arm => arm.Name)];
        YamlMap scales = map.Map("scales") ?? throw new UsageException($"{map.Where}: `scales` is missing; give at least smoke");
        scales.Only(Scales);
        foreach (string measure in map.Texts("also")) Known(measure, StudyMeasure.All, "measure", map.WhereOf("also"));
        string controls = map.Optional("controls") ?? "on";
        Known(controls, ["on", "off"], "`controls`", map.WhereOf("controls"));
        return new StudyFile
        {
            Name = Path.GetFileNameWithoutExtension(source),
            Source = source,
            Title = map.Text("title"),
            Question = map.Text("question"),
            Reproduces = map.Texts("reproduces"),
            Notes = map.Texts("notes"),
            Controls = controls == "on",
            Also = map.Texts("also"),
            Options = Changes(map),
            Tasks = tasks,
            Arms = arms,
            Scales = scales.Keys.ToDictionary(name => name, name => Scale(scales.Map(name)!, taskNames, armNames)),
            Claims = [.. map.Maps("claims").Select(claim => Claim(claim, taskNames, armNames))],
            Published = [.. map.Maps("published").SelectMany(scores => Published(scores, taskNames, armNames))],
        };
    }

    private static StudyTask Task(YamlMap map)
    {
        map.Only("name", "task", "asks", "metric", "options", "scales");
        string task = map.Text("task");
        try
        {
            TaskRegistry.Find(task);
        }
        catch (UsageException error)
        {
            throw new UsageException($"{map.WhereOf("task")}: {error.Message}");
        }
        YamlMap? scales = map.Map("scales");
        scales?.Only(Scales);
        return new StudyTask(map.Optional("name") ?? task, task, map.Optional("asks") ?? "")
        {
            Metric = map.Optional("metric"),
            Options = Changes(map),
            AtScale = scales?.Keys.ToDictionary(scale => scale, scale => Flat(scales.Map(scale)!)) ?? [],
        };
    }

    private static StudyArm Arm(YamlMap map)
    {
        map.Only("name", "is", "options");
        return new StudyArm(map.Text("name"), map.Optional("is") ?? "") { Options = Changes(map) };
    }

    private static StudyScale Scale(YamlMap map, string[] tasks, string[] arms)
    {
        map.Only("seeds", "rates", "tasks", "options", "arms", "missing", "get");
        string[] chosen = map.Has("tasks") ? [.. map.Texts("tasks")] : tasks;
        foreach (string task in chosen) Known(task, tasks, "task", map.WhereOf("tasks"));
        (YamlMap? changed, YamlMap? missing, YamlMap? get) = (map.Map("arms"), map.Map("missing"), map.Map("get"));
        foreach (string arm in changed?.Keys ?? []) Known(arm, arms, "arm", changed!.WhereOf(arm));
        foreach (string arm in missing?.Keys ?? []) Known(arm, arms, "arm", missing!.WhereOf(arm));
        foreach (string arm in get?.Keys ?? []) Known(arm, arms, "arm", get!.WhereOf(arm));
        long[] seeds = [.. map.Texts("seeds").Select(seed => Seed(seed, map.WhereOf("seeds")))];
        double[] rates = [.. map.Texts("rates").Select(rate => Number(rate, map.WhereOf("rates")))];
        if (seeds.Length == 0 || rates.Length == 0) throw new UsageException($"{map.Where}: a scale has `seeds` and `rates`, at least one of each");
        if (seeds.Distinct().Count() < seeds.Length) throw new UsageException($"{map.WhereOf("seeds")}: a seed stands there twice");
        if (rates.Distinct().Count() < rates.Length) throw new UsageException($"{map.WhereOf("rates")}: a learning rate stands there twice");
        if (rates.Any(rate => rate is not (> 0 and < 10))) throw new UsageException($"{map.WhereOf("rates")}: a learning rate is above 0 and below 10");
        return new StudyScale(seeds, rates, chosen, missing?.Keys.ToDictionary(arm => arm, missing.Text) ?? [])
        {
            Get = get?.Keys.ToDictionary(arm => arm, get.Text) ?? [],
            Options = Changes(map),
            Arms = changed?.Keys.ToDictionary(arm => arm, arm => Flat(changed.Map(arm)!)) ?? [],
        };
    }

    private static StudyClaim Claim(YamlMap map, string[] tasks, string[] arms)
    {
        map.Only("text", "arm", "above", "at_least", "margin", "tasks");
        (string? above, string? atLeast) = (map.Optional("above"), map.Optional("at_least"));
        if (above is null == atLeast is null) throw new UsageException($"{map.Where}: a claim has either `above` or `at_least`, an arm's name");
        Known(map.Text("arm"), arms, "arm", map.WhereOf("arm"));
        Known(above ?? atLeast!, arms, "arm", map.WhereOf(above is null ? "at_least" : "above"));
        foreach (string task in map.Texts("tasks")) Known(task, tasks, "task", map.WhereOf("tasks"));
        double margin = map.Optional("margin") is { } text ? Number(text, map.WhereOf("margin")) : 0.01;
        return new StudyClaim(map.Text("text"), map.Text("arm"), above ?? atLeast!, above is null ? margin : null, map.Texts("tasks"));
    }

    private static IEnumerable<PublishedScore> Published(YamlMap map, string[] tasks, string[] arms)
    {
        map.Only(["source", "how", "percent", .. StudyMeasure.All]);
        string how = map.Text("how");
        Known(how, Hows, "`how`", map.WhereOf("how"));
        string[] given = [.. StudyMeasure.All.Prepend("percent").Where(map.Has)];
        if (given.Length == 0) throw new UsageException($"{map.Where}: `percent` is missing, a map of arms, of tasks, of scores");
        foreach (string measure in given)
        {
            YamlMap numbers = map.Map(measure)!;
            foreach (string arm in numbers.Keys)
            {
                Known(arm, arms, "arm", numbers.WhereOf(arm));
                YamlMap row = numbers.Map(arm)!;
                foreach (string task in row.Keys)
                {
                    Known(task, tasks, "task", row.WhereOf(task));
                    double value = Number(row.Text(task), row.WhereOf(task));
                    yield return measure == "percent" ? new PublishedScore(arm, task, value / 100, map.Text("source"), how)
                        : new PublishedScore(arm, task, value, map.Text("source"), how) { Measure = measure };
                }
            }
        }
    }

    private static StudyChanges Changes(YamlMap map) => map.Map("options") is { } options ? Flat(options) : StudyChanges.None;

    // Tried on default options at once, so that a wrong key is refused before the first run.
    private static StudyChanges Flat(YamlMap map)
    {
        var changes = new StudyChanges([.. map.Leaves()]);
        foreach ((string Key, string Value, string Where) line in changes.Lines)
        {
            RunOptions one = OptionTable.With(new RunOptions { Model = new ModelOptions { Backbone = "any" } }, line.Key, line.Value, line.Where);
            try
            {
                one.Model.Validate();
            }
            catch (UsageException error)
            {
                throw new UsageException($"{line.Where}: {error.Message}");
            }
        }
        return changes;
    }

    private static void Known(string name, IReadOnlyCollection<string> all, string what, string where)
    {
        if (!all.Contains(name)) throw new UsageException($"{where}: the {what} '{name}' does not exist; there are {string.Join(", ", all)}");
    }

    private static void Unique(IEnumerable<string> names, string what, string source)
    {
        string[] all = [.. names];
        if (all.Length == 0) throw new UsageException($"{source}: `{what}` is missing, or empty");
        if (all.GroupBy(name => name).FirstOrDefault(group => group.Count() > 1) is { } twice) throw new UsageException($"{source}: `{what}` has '{twice.Key}' twice");
    }

    private static long Seed(string text, string where) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long seed) ? seed
            : throw new UsageException($"{where}: '{text}' is no seed; seeds are whole numbers from 0");

    private static double Number(string text, string where) =>
        double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && double.IsFinite(number) ? number
            : throw new UsageException($"{where}: '{text}' is not a number");
}
