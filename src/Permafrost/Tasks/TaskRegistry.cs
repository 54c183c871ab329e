namespace Permafrost.Tasks;

/// <summary>Every task. Adding one: a file beside this one, and a line here.</summary>
public static class TaskRegistry
{
    /// <summary>The tasks, in the order of their names.</summary>
    public static IReadOnlyList<TaskDefinition> All { get; } =
    [
        new AgNews(), new AutoTask(), new BitMemory(), new BitXor(), new Cifar10(), new Cifar10Lra(), new CivilComments(), new Cogs(), new CsvTask(), new FastaTask(),
        new IdxTask(), new ImagesTask(), new Imdb(), new JsonlTask(), new ListOps(), new Mnist(), new MultiNli(), new PairMatch(), new ParquetTask(),
        new RemoteHomology(), new Sentiment140(), new Squad(), new Sst2(), new TensorsTask(), new TimeSeriesTask(), new Trec(), new Waveforms(), new WikiToxic(),
        new WordKinds(),
    ];

    /// <summary>Finds <c>name</c> or <c>name@reading</c>.</summary>
    /// <exception cref="UsageException">There is no such task or reading.</exception>
    public static (TaskDefinition Task, string Reading) Find(string text)
    {
        string[] parts = text.Split('@', 2);
        TaskDefinition task = All.FirstOrDefault(known => known.Name == parts[0])
            ?? throw new UsageException($"`task` '{text}' does not exist; there are {string.Join(", ", All.SelectMany(Names))}");
        string reading = parts.Length > 1 ? parts[1] : "";
        if (reading.Length > 0 && !task.Readings.Contains(reading))
            throw new UsageException($"`task` '{text}': {task.Name} has no reading '{reading}'; there are {string.Join(", ", Names(task))}");
        return (task, reading);
    }

    /// <summary>A task's name, and its name with each reading.</summary>
    public static IEnumerable<string> Names(TaskDefinition task) => task.Readings.Select(reading => $"{task.Name}@{reading}").Prepend(task.Name);
}
