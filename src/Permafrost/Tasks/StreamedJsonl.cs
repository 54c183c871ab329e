using Permafrost.Data;
using Permafrost.Tokenizers;

namespace Permafrost.Tasks;

/// <summary>JSON lines of texts that are larger than memory: one pass finds where lines begin and which classes they have; texts are read again when they are asked for.</summary>
/// <param name="options">The run's.</param>
/// <param name="parse">The text and the label of a line, given its name for errors.</param>
internal sealed class StreamedJsonl(TaskOptions options, Func<string, string, (string Text, string Label)> parse)
{
    // From so many bytes on, files of texts are not kept in memory unless that is asked for.
    private const long Large = 256L << 20;

    /// <summary>The setting that says whether, and its values.</summary>
    public const string Setting = "stream";

    private readonly Dictionary<string, int> numbers = [];
    private readonly List<LineIndex> opened = [];

    /// <summary>Whether a run's data is to be read so.</summary>
    /// <exception cref="UsageException">The setting is none of its values.</exception>
    public static bool IsWanted(TaskOptions options) => (options.Settings?.GetValueOrDefault(Setting) ?? "auto") switch
    {
        "always" => true,
        "never" => false,
        "auto" => options.DataPath is { } path && File.Exists(path) && !path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) && new FileInfo(path).Length > Large,
        var other => throw new UsageException($"task_options.{Setting} is '{other}'; it must be auto, always or never"),
    };

    /// <summary>The data.</summary>
    /// <param name="path">The file to train on.</param>
    /// <param name="shape">Rows without any text, as the body's tokenizer would tokenise them.</param>
    /// <param name="tokenizer">The body's.</param>
    public TaskData Load(string path, TextRows shape, Tokenizer tokenizer)
    {
        try
        {
            return LoadOpened(path, shape, tokenizer);
        }
        catch
        {
            foreach (LineIndex index in opened) index.Dispose();
            throw;
        }
    }

    private TaskData LoadOpened(string path, TextRows shape, Tokenizer tokenizer)
    {
        (LineIndex train, Chunked<int> classes) = Read(path);
        IReadOnlyList<string> labels = (options.Trained?.Output as ClassOutput)?.Labels ?? [.. numbers.Keys.Order(StringComparer.Ordinal)];
        if (labels.Count < 2) throw new PermafrostException($"{path}: every example has the label '{labels[0]}'; a classifier needs at least two");
        (double validation, double test) = (options.ValidationPath is null ? options.ValidationFraction : 0, options.TestPath is null ? options.TestFraction : 0);
        Chunked<int>[] own = [new(), new(), new()];
        for (int row = 0; row < train.Count; row++)
        {
            double place = new CounterRandom("jsonl/stream", 0, row).NextDouble();
            own[place < validation ? 1 : place < validation + test ? 2 : 0].Add(row);
        }
        if (own[0].Count == 0) throw new PermafrostException($"{path}: no line is left to train on; lower `validation_fraction` and `test_fraction`");
        StreamedTexts? Split(LineIndex index, Chunked<int> of, Chunked<int> rows) => rows.Count == 0 ? null
            : new StreamedTexts(index, rows, Place(index, of, labels), (where, line) => parse(where, line).Text, tokenizer, shape.MaxLength);
        StreamedTexts? Given(string? file, int split)
        {
            if (file is null) return Split(train, classes, own[split]);
            (LineIndex index, Chunked<int> of) = Read(file);
            var all = new Chunked<int>();
            for (int row = 0; row < index.Count; row++) all.Add(row);
            return Split(index, of, all);
        }
        var spec = new TaskSpec(new TextInput(shape.Vocabulary, shape.MaxLength), new ClassOutput(labels.Count) { Labels = labels })
        {
            Readout = "mean",
            Preprocessing = new Dictionary<string, string> { ["input"] = "a text", ["token"] = $"of the backbone's tokenizer, at most {shape.MaxLength} with its special tokens" },
        };
        string note = FormattableString.Invariant(
            $"{path} is read line by line, and not kept in memory: {train.Count:N0} lines; those held out are drawn line by line, whatever their label");
        return new TaskData(spec, Split(train, classes, own[0])!, Given(options.ValidationPath, 1), Given(options.TestPath, 2)) { Notes = [note] };
    }

    private (LineIndex Index, Chunked<int> Classes) Read(string path)
    {
        var classes = new Chunked<int>();
        var index = LineIndex.Of(path, (where, line) =>
        {
            string label = parse(where, line).Label;
            if (!numbers.TryGetValue(label, out int number)) numbers[label] = number = numbers.Count;
            classes.Add(number);
        });
        opened.Add(index);
        return (index, classes);
    }

    // Classes are numbered as they come, and named in the order of their labels' characters.
    private Func<long, long> Place(LineIndex index, Chunked<int> classes, IReadOnlyList<string> labels)
    {
        string[] names = new string[numbers.Count];
        foreach ((string label, int number) in numbers) names[number] = label;
        long[] places = [.. names.Select(name => (long)labels.ToList().IndexOf(name))];
        for (long row = 0; row < classes.Count; row++)
            if (places[classes[row]] < 0)
                throw new PermafrostException($"{index.Where(row)}: no example to train on has the label '{names[classes[row]]}'; mend it, or leave the example out");
        return row => places[classes[row]];
    }
}
