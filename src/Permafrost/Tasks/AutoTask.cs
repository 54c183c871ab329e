using Permafrost.Data;
using Permafrost.Formats;

namespace Permafrost.Tasks;

/// <summary>Takes the task on one's own data that a file's name or content tells. A run is one of that task, and says so.</summary>
public sealed class AutoTask : TaskDefinition
{
    /// <summary>What is written where the task is to be chosen.</summary>
    internal const string TaskName = "auto";

    // What was taken, for whoever reads inputs later.
    private const string TakenKey = "task";

    private static readonly (string Ending, string Task)[] Endings =
    [
        (".csv", "csv"), (".tsv", "csv"), (".jsonl", "jsonl"), (".ts", "timeseries"), (".fasta", "fasta"), (".fa", "fasta"), (".faa", "fasta"), (".fna", "fasta"),
        (".parquet", "parquet"), (".safetensors", "tensors"),
    ];

    private static readonly string[] Packed = ["csv", "jsonl", "timeseries", "fasta", "idx"];

    /// <inheritdoc/>
    public override string Name => TaskName;

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override bool ReadsTables => true;

    /// <inheritdoc/>
    public override string Summary => "your own data, whatever it is: the task that its name or content tells";

    /// <inheritdoc/>
    public override string Description => """
        Input    auto: what the task takes that is chosen by `data`: csv (.csv, .tsv), jsonl, timeseries (.ts), fasta (.fasta, .fa, .faa, .fna), parquet, tensors (.safetensors),
                 idx (by its first bytes) or images (a folder of folders of pictures); of csv, jsonl, timeseries, fasta and idx packed ones (.gz) too. Which was taken is said,
                 and the run is one of that task.
        Output   that task's
        Splits   that task's
        Data     `data`: a file or folder; where nothing tells, it is refused, and a task is to be named
        """;

    /// <inheritdoc/>
    public override string InputFormat => "text, or what else the task reads that was taken";

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        TaskDefinition task = options.Trained is { } trained ? Taken(trained) : TaskRegistry.Find(Choose(options.DataPath)).Task;
        options.CheckTables(task);
        TaskData data = task.Load(options);
        return data with
        {
            Spec = data.Spec with { Preprocessing = new Dictionary<string, string>(data.Spec.Preprocessing) { [TakenKey] = task.Name } },
            Notes = [Note(options.DataPath, task.Name), .. data.Notes],
        };
    }

    /// <inheritdoc/>
    public override IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize) => Taken(spec).ReadInputs(path, spec, options, partSize);

    /// <summary>The name of the task that reads some data.</summary>
    /// <param name="path">A file or folder.</param>
    /// <exception cref="UsageException">There is no data.</exception>
    /// <exception cref="PermafrostException">Nothing tells what the data is.</exception>
    internal static string Choose(string? path)
    {
        if (path is null) throw new UsageException("`task` auto needs `data`, a file or folder that tells the task");
        if (Directory.Exists(path))
            return HoldsPictures(path) ? "images" : throw new PermafrostException($"{path} is a folder without folders of PNG, JPEG or WebP files; {Ask}");
        bool packed = path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase);
        string name = packed ? path[..^3] : path;
        string? task = OfContent(path) ?? Array.Find(Endings, one => name.EndsWith(one.Ending, StringComparison.OrdinalIgnoreCase)).Task;
        if (task is null) throw new PermafrostException($"neither the name nor the first bytes of {path} tell what it holds; {Ask}");
        return !packed || Packed.Contains(task) ? task : throw new PermafrostException($"{path} is packed, and the task {task} reads no such file; unpack it (gunzip), or {Ask}");
    }

    /// <summary>Says what was taken.</summary>
    internal static string Note(string? path, string task) => $"{path} is taken for data of the task {task}";

    private static string Ask => $"name a `task`: {string.Join(", ", Endings.Select(one => one.Task).Concat(["idx", "images"]).Distinct())}";

    private static TaskDefinition Taken(TaskSpec spec) => spec.Preprocessing.GetValueOrDefault(TakenKey) is { } name ? TaskRegistry.Find(name).Task
        : throw new PermafrostException("the run's adapter_config.json does not say which task was taken (preprocessing); it may be damaged");

    private static string? OfContent(string path)
    {
        try
        {
            using Stream content = Gzip.Unpacked(File.OpenRead(path));
            Span<byte> first = stackalloc byte[4];
            int count = content.ReadAtLeast(first, 4, throwOnEndOfStream: false);
            return first[..count] switch
            {
                [0, 0, 8, 3 or 4] => "idx",
                [(byte)'P', (byte)'A', (byte)'R', (byte)'1'] => "parquet",
                [(byte)'>', ..] => "fasta",
                _ => null,
            };
        }
        catch (InvalidDataException)
        {
            throw new PermafrostException($"{path} is damaged: it begins as a packed file and is none");
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
    }

    private static bool HoldsPictures(string folder)
    {
        try
        {
            return Directory.EnumerateDirectories(folder).Any(own => Directory.EnumerateFiles(own).Any(Formats.Images.ImageFile.IsNamedSo));
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw new PermafrostException($"cannot read {folder}: {error.Message.TrimEnd('.')}");
        }
    }
}
