using System.Globalization;
using System.Text.Json;
using Permafrost.Data;
using Permafrost.Data.Csv;

namespace Permafrost.Tasks;

/// <summary>What tasks on a table of one's own have in common: a column of texts, or columns of numbers, and a column of labels.</summary>
public abstract class TableTask : TextTask
{
    // As for the front door: attention over more positions costs more than it tells.
    private const int MostTokens = 256;

    // How rows of numbers are encoded, in Preprocessing: predictions are made without the data that they were measured on.
    private const string ColumnsKey = "columns", MeansKey = "means", DeviationsKey = "deviations", ChunkKey = "columns_per_token";

    private const string MissingKey = "missing";

    private static readonly string[] UsualLabels = ["label", "labels", "class", "target"];

    /// <summary>What descriptions say of inputs, output, splits and baselines.</summary>
    private protected const string TableNotes = """
                 Without it every column but the label's holds numbers, which are scaled to mean 0 and deviation 1 over the training rows; a column is a token, or, where
                 there are more than 256, so many neighbouring columns that 256 tokens are enough. Read at the last token. A number that is missing (empty, ?, NA, NaN, null) is
                 refused, or, with task_options.missing mean (default refuse), counts as the mean of its column's training rows.
        Output   the label, one of those in the column `label_column` (else label, labels, class or target) of the training file, in the order of their characters. With
                 task_options.answer number (default class) a number; with answer labels any number of labels, or none, with task_options.label_separator (;) between: scored by
                 micro_f1, macro_f1 and exact_match.
        Splits   `validation_data` and `test_data` name files with the same columns; where one is not given, `validation_fraction` and `test_fraction` of the rows of
                 every label are held out of `data`, the same for every run. A label that occurs in no training file is refused.
        """;

    /// <summary>The last line of descriptions.</summary>
    private protected const string BaselineNotes =
        "Baselines   majority class, or the mean where answers are numbers; for rows of numbers a linear classifier on them; beside a run boosted trees, or for texts a "
        + "linear model of n-grams and a linear probe of the same body";

    /// <inheritdoc/>
    public override bool ReadsTables => true;

    /// <summary>Opens a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="wanted">What to read of it.</param>
    /// <param name="options">The run's options.</param>
    private protected abstract ITableFile Open(string path, TableColumns wanted, TaskOptions options);

    /// <summary>The names of a file's columns.</summary>
    /// <param name="path">The file.</param>
    /// <param name="options">The run's options.</param>
    private protected abstract IReadOnlyList<string> Names(string path, TaskOptions options);

    /// <summary>Settings beside those of all tables.</summary>
    private protected virtual IReadOnlyList<string> OwnSettings => [];

    /// <summary>What else may be wrong where no column is called as labels are.</summary>
    private protected virtual string LabelHint(IReadOnlyList<string> names, TaskOptions options) => "";

    /// <summary>Whether numbers are written with a comma before their decimals.</summary>
    private protected virtual bool HasDecimalComma(TaskOptions options) => false;

    /// <summary>Whether a file of inputs is such a table, by its name; otherwise it is text, an input a line.</summary>
    private protected abstract bool IsTable(string path);

    /// <summary>Names a row in errors.</summary>
    private protected abstract string Where(string path, TableRow row);

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name, ["answer", MultiLabels.Setting, MissingKey, .. OwnSettings]);
        string answer = options.Settings?.GetValueOrDefault("answer") ?? "class";
        if (answer is not ("class" or NumberAnswers.Answer or MultiLabels.Answer))
            throw new UsageException($"task_options.answer is '{answer}'; for a table it must be class, {NumberAnswers.Answer} or {MultiLabels.Answer}");
        (MultiLabels? many, bool asksNumbers, bool decimalComma) = (MultiLabels.Of(options), answer == NumberAnswers.Answer, HasDecimalComma(options));
        string path = options.DataPath ?? throw new UsageException($"`task` {Name} needs `data`, a table");
        (string label, string[] said) = options.LabelColumn is { } named ? (named, []) : FindLabel(path, options);
        string[]? trained = Trained(options, ColumnsKey) is { } columns ? Strings(columns) : null;
        TableColumns Wanted(IReadOnlyList<string>? numbers) => new(label, options.TextColumn, numbers) { MayMiss = MayMiss(options), LabelMayBeEmpty = many is not null };
        (TableRow[] all, IReadOnlyList<string> names, string? note) = Read(path, Wanted(trained), options);
        // Sets of labels are too many to hold some of each out, and so are numbers.
        string[] rowLabels = [.. all.Select(row => row.Label)], strata = many is null && !asksNumbers ? rowLabels : [.. rowLabels.Select(_ => "")];
        IReadOnlyList<string> labels = asksNumbers ? [""] : (options.Trained?.Output as ClassOutput)?.Labels ?? (options.Trained?.Output as MultiLabelOutput)?.Labels
            ?? many?.Names(path, rowLabels) ?? [.. rowLabels.Distinct().Order(StringComparer.Ordinal)];
        if (labels.Count < 2 && !asksNumbers) throw new PermafrostException($"{path}: every row has the label '{labels[0]}'; a classifier needs at least two");
        IReadOnlyList<string> kinds = many is null && !asksNumbers ? labels : [""];
        var held = StratifiedSplit.Of(strata, kinds, options.ValidationPath is null ? options.ValidationFraction : 0, options.TestPath is null ? options.TestFraction : 0, 0);
        // Of a finished run another table may be scored, where a label can be new.
        Dictionary<string, int> known = labels.Index().ToDictionary(pair => pair.Item, pair => pair.Index);
        void Check(string file, TableRow[] rows)
        {
            foreach (TableRow row in rows)
            {
                if (asksNumbers) NumberAnswers.Parse(Where(file, row), row.Label, decimalComma);
                else if (many is not null) many.Check(Where(file, row), row.Label, labels);
                else if (!known.ContainsKey(row.Label)) throw Unknown(file, row);
            }
        }
        int Class(TableRow row) => many is null && !asksNumbers ? known[row.Label] : 0;
        Check(path, all);
        TableRow[] Own(int[] rows) => [.. rows.Select(row => all[row])];
        (string Path, TableRow[] Rows) Given(string? given, int[] rows) => given is null ? (path, Own(rows))
            : (given, Read(given, Wanted(options.TextColumn is null ? names : null), options).Rows);
        (string Path, TableRow[] Rows)[] splits = [(path, Own(held.Train)), Given(options.ValidationPath, held.Validation), Given(options.TestPath, held.Test)];
        foreach ((string file, TableRow[] rows) in splits) Check(file, rows);
        TaskData Answered(TaskData data)
        {
            if (asksNumbers)
                return NumberAnswers.Answered(data, [.. splits.Select(split => split.Rows.Select(row => NumberAnswers.Parse(split.Path, row.Label, decimalComma)).ToArray())]);
            return many is null ? data : many.Answered(data, labels, [.. splits.Select(split => split.Rows.Select(row => row.Label).ToArray())]);
        }
        IEnumerable<object> Inputs(int split) => splits[split].Rows.Select(row => options.TextColumn is null ? (object)row.Numbers : row.Text);
        string? hint = many is null ? NumberAnswers.Hint(labels, all.Length) : null;
        string[] notes = [.. said, .. new[] { note, hint }.OfType<string>(), .. Notes(options, path, all.Length, held), .. Overlap.Notes(Inputs(0), Inputs(1), Inputs(2))];
        if (options.TextColumn is null)
        {
            TaskData numbers = Answered(Numbers(options, labels, names, splits, Class));
            return numbers with { Notes = [.. notes, .. numbers.Notes] };
        }
        LabelledText[] Texts((string Path, TableRow[] Rows) split) =>
            [.. split.Rows.Select(row => new LabelledText(row.Text, Class(row), Where(split.Path, row)))];
        TaskData data = Answered(Make(options, labels, Texts(splits[0]), Texts(splits[1]), Texts(splits[2])));
        return data with { Notes = [.. notes, .. data.Notes] };
    }

    /// <inheritdoc/>
    public override IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize)
    {
        bool isTable = IsTable(path);
        if (spec.Input is TextInput) return isTable ? TextParts(path, spec, options, partSize) : ReadLines(path, spec, options, partSize);
        return isTable ? NumberParts(path, spec, options, partSize) : NumberLines(path, spec, options, partSize);
    }

    private (TableRow[] Rows, IReadOnlyList<string> Columns, string? Note) Read(string path, TableColumns wanted, TaskOptions options)
    {
        using ITableFile file = Open(path, wanted, options);
        CheckUnread(file, path, null);
        return ([.. file.Rows()], file.Columns, file.Note);
    }

    // A table of numbers is all input, so that a column which the training table does not have is a mistake somewhere; the labels may stand beside what is predicted.
    private static void CheckUnread(ITableFile file, string path, TaskOptions? prediction)
    {
        bool IsLabel(string name) => prediction is not null && (name == prediction.LabelColumn || (prediction.LabelColumn is null && IsUsualLabel(name)));
        if (file.Unread.FirstOrDefault(name => !IsLabel(name)) is not { } stray) return;
        string more = file.Columns.Count > 12 ? $" and {file.Columns.Count - 12} more" : "";
        throw new PermafrostException($"{path}: the training table has no column '{stray}'; leave it out (there are {string.Join(", ", file.Columns.Take(12))}{more})");
    }

    private static bool IsUsualLabel(string name) => UsualLabels.Contains(name, StringComparer.OrdinalIgnoreCase);

    // The column that is called as columns of labels are.
    private (string Label, string[] Said) FindLabel(string path, TaskOptions options)
    {
        IReadOnlyList<string> names = Names(path, options);
        string? found = UsualLabels.Select(usual => names.FirstOrDefault(name => name.Equals(usual, StringComparison.OrdinalIgnoreCase))).FirstOrDefault(name => name is not null);
        string more = names.Count > 12 ? $" and {names.Count - 12} more" : "";
        return found is not null ? (found, [$"the labels are taken from the column '{found}' of {path}"]) : throw new UsageException(
            $"`task` {Name} needs `label_column`, the name of the column that holds the labels; {path} has {string.Join(", ", names.Take(12))}{more}{LabelHint(names, options)}");
    }

    // Who scores a finished run may have another table in mind than the one that these rows were held out of.
    private static IEnumerable<string> Notes(TaskOptions options, string path, int rows, StratifiedSplit held)
    {
        bool holdsOut = (options.ValidationPath is null && options.ValidationFraction > 0) || (options.TestPath is null && options.TestFraction > 0);
        if (holdsOut && held.Validation.Length + held.Test.Length == 0)
            yield return $"no label has rows enough in {path} to hold some out, so that nothing is there to choose or to score by; give `validation_data` and `test_data`";
        else if (options.Trained is not null && options.TestPath is null)
            yield return FormattableString.Invariant(
                $"of the {rows:N0} rows of {path}, {held.Validation.Length:N0} validate and {held.Test.Length:N0} test, held out as in training");
    }

    private PermafrostException Unknown(string path, TableRow row) =>
        new($"{Where(path, row)}: no row to train on has the label '{row.Label}'; mend it, or leave the row out");

    private TaskData Numbers(
        TaskOptions options, IReadOnlyList<string> labels, IReadOnlyList<string> columns, (string Path, TableRow[] Rows)[] splits, Func<TableRow, int> classOf)
    {
        IReadOnlyList<float> fill = !MayMiss(options) ? [] : options.Trained is null ? Means(splits[0].Path, splits[0].Rows, columns) : Encoding(options.Trained).Encoding.Means;
        long missing = fill.Count == 0 ? 0 : splits.Sum(split => Fill(split.Rows, fill));
        RowEncoding encoding = options.Trained is { } trained ? Encoding(trained).Encoding : RowEncoding.Of([.. splits[0].Rows.Select(row => row.Numbers)], MostTokens);
        string Joined(IReadOnlyList<float> numbers) => string.Join(' ', numbers.Select(number => number.ToString("R", CultureInfo.InvariantCulture)));
        var spec = new TaskSpec(new VectorInput(encoding.Chunk, encoding.Length), new ClassOutput(labels.Count) { Labels = labels })
        {
            Preprocessing = new Dictionary<string, string>
            {
                ["input"] = "a number for each column, less the column's mean, divided by its deviation; 0 where the deviation is 0",
                [ColumnsKey] = JsonSerializer.Serialize([.. columns], CsvJson.Default.StringArray),
                [ChunkKey] = $"{encoding.Chunk}",
                [MeansKey] = Joined(encoding.Means),
                [DeviationsKey] = Joined(encoding.Deviations),
            },
        };
        EncodedRows? Split((string Path, TableRow[] Rows) split) => split.Rows.Length == 0 ? null
            : new EncodedRows([.. split.Rows.Select(row => row.Numbers)], [.. split.Rows.Select(row => (long)classOf(row))], encoding,
                row => Where(split.Path, split.Rows[row]));
        string[] notes = missing == 0 ? [] : [FormattableString.Invariant($"{missing:N0} number(s) are missing, and count as the mean of their column's training rows")];
        return new TaskData(spec, Split(splits[0])!, Split(splits[1]), Split(splits[2])) { Notes = notes };
    }

    private IEnumerable<TextRows> TextParts(string path, TaskSpec spec, TaskOptions options, int partSize)
    {
        using ITableFile file = Open(path, new TableColumns(null, options.TextColumn), options);
        foreach (TableRow[] rows in file.Rows().Chunk(partSize))
            yield return Tokenized(options with { MaxLength = spec.Input.Length }, [.. rows.Select(row => new LabelledText(row.Text, -100, Where(path, row)))]);
    }

    private IEnumerable<EncodedRows> NumberParts(string path, TaskSpec spec, TaskOptions options, int partSize)
    {
        (string[] columns, RowEncoding encoding) = Encoding(spec);
        using ITableFile file = Open(path, new TableColumns(null, null, columns) { MayMiss = MayMiss(options) }, options);
        CheckUnread(file, path, options);
        foreach (TableRow[] rows in file.Rows().Chunk(partSize))
        {
            if (MayMiss(options)) Fill(rows, encoding.Means);
            yield return new EncodedRows([.. rows.Select(row => row.Numbers)], null, encoding, row => Where(path, rows[row]));
        }
    }

    private IEnumerable<IDataset> NumberLines(string path, TaskSpec spec, TaskOptions options, int partSize)
    {
        (string[] columns, RowEncoding encoding) = Encoding(spec);
        (bool mayMiss, bool decimalComma) = (MayMiss(options), HasDecimalComma(options));
        return TextLines.Parts(path, partSize, InputFormat, Parse, rows =>
        {
            if (mayMiss) Fill(rows, encoding.Means);
            return new EncodedRows([.. rows.Select(row => row.Numbers)], null, encoding, row => TextLines.Name(path, rows[row].Line));
        });

        TableRow? Parse(int line, string text)
        {
            // One delimiter a line: where a comma could stand before decimals, 0,5;0,6 would else be four numbers.
            char delimiter = Array.Find([';', '\t', '|'], text.Contains) is var other and not '\0' ? other : ',';
            bool commas = decimalComma && (delimiter != ',' || columns.Length == 1);
            string[] fields = commas && delimiter == ',' ? [text] : text.Split(delimiter, StringSplitOptions.TrimEntries);
            if (line == 1 && fields.SequenceEqual(columns)) return null;
            if (fields.Length != columns.Length)
                throw new PermafrostException(
                    $"{TextLines.Name(path, line)}: {fields.Length} number(s), where the run was trained on {columns.Length} ({string.Join(", ", columns.Take(12))})");
            var numbers = new float[fields.Length];
            for (int i = 0; i < fields.Length; i++)
                if (!TryParse(commas ? fields[i].Replace(',', '.') : fields[i], mayMiss, out numbers[i]))
                    throw new PermafrostException($"{TextLines.Name(path, line)}: '{(fields[i].Length > 40 ? fields[i][..40] + "..." : fields[i])}' is not a number");
            return new TableRow(line, "", "", numbers);
        }
    }

    private static bool TryParse(string field, bool mayMiss, out float number)
    {
        number = float.NaN;
        return (mayMiss && MissingValue.Is(field)) || float.TryParse(field, NumberStyles.Float, CultureInfo.InvariantCulture, out number);
    }

    private static bool MayMiss(TaskOptions options) => (options.Settings?.GetValueOrDefault(MissingKey) ?? "refuse") switch
    {
        "refuse" => false,
        "mean" => true,
        var other => throw new UsageException($"task_options.{MissingKey} is '{other}'; it must be refuse or mean"),
    };

    // What is missing counts as its column's mean. Returns how many numbers are.
    private static long Fill(IReadOnlyList<TableRow> rows, IReadOnlyList<float> means)
    {
        long missing = 0;
        foreach (float[] numbers in rows.Select(row => row.Numbers))
        {
            for (int column = 0; column < numbers.Length; column++)
            {
                if (!float.IsNaN(numbers[column])) continue;
                numbers[column] = means[column];
                missing++;
            }
        }
        return missing;
    }

    private static float[] Means(string path, IReadOnlyList<TableRow> rows, IReadOnlyList<string> columns) => [.. columns.Select((name, column) =>
    {
        float[] there = [.. rows.Select(row => row.Numbers[column]).Where(number => !float.IsNaN(number))];
        return there.Length > 0 ? (float)there.Average(number => (double)number)
            : throw new PermafrostException($"{path}: the column '{name}' holds no number in any row to train on; leave it out");
    })];

    private static string? Trained(TaskOptions options, string key) => options.Trained?.Preprocessing.GetValueOrDefault(key);

    private static string[] Strings(string json) => JsonSerializer.Deserialize(json, CsvJson.Default.StringArray) ?? throw new JsonException("null");

    // What the training measured, from the adapter's own description.
    private static (string[] Columns, RowEncoding Encoding) Encoding(TaskSpec spec)
    {
        try
        {
            float[] Floats(string key) => [.. spec.Preprocessing[key].Split(' ').Select(number => float.Parse(number, NumberStyles.Float, CultureInfo.InvariantCulture))];
            string[] columns = Strings(spec.Preprocessing[ColumnsKey]);
            var encoding = new RowEncoding(Floats(MeansKey), Floats(DeviationsKey), int.Parse(spec.Preprocessing[ChunkKey], CultureInfo.InvariantCulture));
            bool fits = columns.Length == encoding.Means.Count && columns.Length == encoding.Deviations.Count
                && spec.Input is VectorInput vectors && vectors.Size == encoding.Chunk && encoding.Chunk > 0 && vectors.Length == encoding.Length;
            return fits && encoding.Means.Concat(encoding.Deviations).All(float.IsFinite) ? (columns, encoding) : throw new FormatException("does not fit");
        }
        catch (Exception error) when (error is KeyNotFoundException or FormatException or OverflowException or JsonException)
        {
            throw new PermafrostException("the run's adapter_config.json does not say how rows of numbers become tokens (preprocessing), or contradicts itself; it may be damaged");
        }
    }
}

[System.Text.Json.Serialization.JsonSerializable(typeof(string[]))]
internal sealed partial class CsvJson : System.Text.Json.Serialization.JsonSerializerContext;
