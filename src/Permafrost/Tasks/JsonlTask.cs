using System.Globalization;
using System.Text.Json;
using Permafrost.Data;
using Permafrost.Formats;

namespace Permafrost.Tasks;

/// <summary>JSON lines of one's own: texts, ids, or series of numbers, with a label or a number each.</summary>
public sealed class JsonlTask : TextTask
{
    private const int LargestId = 1 << 26;

    /// <inheritdoc/>
    public override string Name => "jsonl";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override bool ReadsTables => true;

    /// <inheritdoc/>
    public override string Summary => "your own JSON lines: {\"text\": ...}, {\"tokens\": [ids]} or {\"values\": [numbers]}, each with a \"label\"";

    /// <inheritdoc/>
    public override string Description => """
        Input    jsonl: an object a line, all with the same of three keys: `text` (or the key that `text_column` names), through the backbone's own tokenizer and token table;
                 `tokens`, a list of whole numbers from 0; or `values`, T numbers, or T lists of as many numbers each (null where one is missing), scaled and cut as series
                 are (see the task timeseries).
        Output   `label` (or the key that `label_column` names), a string, a number or true or false; with task_options.answer number (default class) a number, with answer labels
                 any number of labels: a list, or a string with task_options.label_separator (;) between (micro_f1, macro_f1, exact_match). Read as the mean over the tokens.
        Splits   `validation_data` and `test_data` name files of the same form; where one is not given, `validation_fraction` and `test_fraction` of the lines of every label are
                 held out of `data`, the same for every run.
        Data     `data`: a .jsonl file, UTF-8, plain or .gz. Texts with a class each in a plain file of more than 256 MiB are not kept in memory: lines are read when they are
                 asked for, the held-out ones drawn line by line (task_options.stream: auto, always or never)
        Baselines   majority class, or mean for numbers; beside a run boosted trees for series of one length, a linear model of n-grams and a linear probe of the same
                 body for texts
        """;

    /// <inheritdoc/>
    public override string InputFormat => "text: a JSON object a line, as in training, its label not looked at";

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name, "answer", MultiLabels.Setting, StreamedJsonl.Setting);
        if (StreamedJsonl.IsWanted(options) && options.DataPath is { } path && IsOfClassifiedTexts(path, options))
            return new StreamedJsonl(options, (where, line) => TextOf(where, line, options)).Load(path, options.Tokenize($"`task` {Name}", [], []), options.Tokenizer!()!);
        OwnSplits<Line> splits = OwnSplits<Line>.Of(this, options, path => [.. Read(path, options)]);
        Kind kind = splits.Train[0].Input.Kind;
        OwnExample<Line>[][] all = [splits.Train, splits.Validation, splits.Test];
        foreach (OwnExample<Line> example in all.SelectMany(split => split)) CheckKind(example.Where, example.Input.Kind, kind);
        OwnSplits<T> As<T>(Func<Line, T> input) => new(
            splits.Output, Convert(splits.Train, input), Convert(splits.Validation, input), Convert(splits.Test, input), splits.Notes)
        { Many = splits.Many };
        return kind switch
        {
            Kind.Text => Texts(options, splits),
            Kind.Values => TimeSeriesTask.Make(options, Checked(As(line => line.Series!))),
            _ => Tokens(options, As(line => line.Ids!)),
        };
    }

    /// <inheritdoc/>
    public override IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize)
    {
        Kind wanted = spec.Input switch { TextInput => Kind.Text, IdInput => Kind.Tokens, _ => Kind.Values };
        SeriesEncoding? encoding = wanted == Kind.Values ? TimeSeriesTask.Trained(spec) : null;
        return TextLines.Parts(path, partSize, InputFormat, Parse, rows => Part([.. rows]));

        Located Parse(int number, string line)
        {
            string where = TextLines.Name(path, number);
            Line parsed = ParseLine(where, line, options, labelled: false).Input;
            CheckKind(where, parsed.Kind, wanted);
            if (parsed.Series is { } series) TimeSeriesTask.Check(encoding!, where, series);
            if (parsed.Ids is { } ids) CheckIds(where, ids, (IdInput)spec.Input);
            return new Located(parsed, where);
        }

        IDataset Part(Located[] rows) => wanted switch
        {
            Kind.Text => Tokenized(options with { MaxLength = spec.Input.Length }, [.. rows.Select(row => new LabelledText(row.Line.Text!, -100, row.Where))]),
            Kind.Values => new SeriesRows([.. rows.Select(row => row.Line.Series!)], encoding!, chosen => OwnSplits<Line>.Unknown(spec.Output, chosen.Length)),
            _ => new IdRows([.. rows.Select(row => row.Line.Ids!)], chosen => OwnSplits<Line>.Unknown(spec.Output, chosen.Length)),
        };
    }

    private static bool IsOfClassifiedTexts(string path, TaskOptions options)
    {
        if (options.Settings?.GetValueOrDefault("answer") is not (null or "class")) return false;
        (int number, string line) = TextLines.Of(path).FirstOrDefault();
        return line is not null && ParseLine(TextLines.Name(path, number), line, options, labelled: true).Input.Kind == Kind.Text;
    }

    private static (string Text, string Label) TextOf(string where, string line, TaskOptions options)
    {
        OwnExample<Line> parsed = ParseLine(where, line, options, labelled: true);
        CheckKind(where, parsed.Input.Kind, Kind.Text);
        return (parsed.Input.Text!, parsed.Answer);
    }

    internal enum Kind { Text, Tokens, Values }

    /// <summary>What a line feeds: a text, ids, or a series.</summary>
    internal sealed record Line(string? Text, long[]? Ids, Series? Series)
    {
        public object Any => (object?)Text ?? (object?)Ids ?? Series!;

        public Kind Kind => Text is not null ? Kind.Text : Ids is not null ? Kind.Tokens : Kind.Values;
    }

    private sealed record Located(Line Line, string Where);

    private static OwnExample<T>[] Convert<T>(OwnExample<Line>[] split, Func<Line, T> input) =>
        [.. split.Select(example => new OwnExample<T>(input(example.Input), example.Answer, example.Where))];

    private TaskData Texts(TaskOptions options, OwnSplits<Line> splits)
    {
        OwnExample<Line>[][] all = [splits.Train, splits.Validation, splits.Test];
        if (splits.Output is not ClassOutput classes)
        {
            LabelledText[][] texts = [.. all.Select(split => split.Select(example => new LabelledText(example.Input.Text!, 0, example.Where)).ToArray())];
            IReadOnlyList<string> names = (splits.Output as MultiLabelOutput)?.Labels ?? [""];
            TaskData made = Make(options, names, texts[0], texts[1], texts[2]);
            TaskData answered = splits.Many is { } many
                ? many.Answered(made, names, [.. all.Select(split => split.Select(example => example.Answer).ToArray())])
                : NumberAnswers.Answered(made, [.. all.Select(split => split.Select(example => NumberAnswers.Parse(example.Where, example.Answer)).ToArray())]);
            return answered with { Notes = [.. splits.Notes, .. answered.Notes] };
        }
        Dictionary<string, int> places = classes.Labels.Index().ToDictionary(pair => pair.Item, pair => pair.Index);
        LabelledText[] Of(OwnExample<Line>[] split) => [.. split.Select(example => new LabelledText(example.Input.Text!, places[example.Answer], example.Where))];
        TaskData data = Make(options, classes.Labels, Of(splits.Train), Of(splits.Validation), Of(splits.Test));
        return data with { Notes = [.. splits.Notes, .. data.Notes] };
    }

    private static OwnSplits<Series> Checked(OwnSplits<Series> splits)
    {
        int channels = splits.Train[0].Input.Channels;
        foreach (OwnExample<Series> example in splits.Train.Concat(splits.Validation).Concat(splits.Test))
            if (example.Input.Channels != channels)
                throw new PermafrostException($"{example.Where}: {example.Input.Channels} number(s) a step, where the first line has {channels}");
        return splits;
    }

    private static TaskData Tokens(TaskOptions options, OwnSplits<long[]> splits)
    {
        OwnExample<long[]>[] all = [.. splits.Train, .. splits.Validation, .. splits.Test];
        var spec = new TaskSpec(
            options.Trained?.Input ?? new IdInput(checked((int)all.Max(example => example.Input.Max())) + 1, all.Max(example => example.Input.Length)), splits.Output)
        {
            Readout = "mean",
            Preprocessing = new Dictionary<string, string> { ["input"] = "ids as given" },
        };
        foreach (OwnExample<long[]> example in all) CheckIds(example.Where, example.Input, (IdInput)spec.Input);
        IdRows? Split(OwnExample<long[]>[] split) => split.Length == 0 ? null
            : new IdRows([.. split.Select(example => example.Input)], chosen => splits.Targets([.. chosen.Select(row => split[row])]));
        return new TaskData(spec, Split(splits.Train)!, Split(splits.Validation), Split(splits.Test)) { Notes = splits.Notes };
    }

    private static void CheckKind(string where, Kind own, Kind wanted)
    {
        static string Key(Kind kind) => kind switch { Kind.Text => "`text`", Kind.Tokens => "`tokens`", _ => "`values`" };
        if (own != wanted) throw new PermafrostException($"{where}: the line has {Key(own)}, where {Key(wanted)} is expected; all lines have the same");
    }

    private static void CheckIds(string where, long[] ids, IdInput input)
    {
        if (ids.Length > input.Length) throw new PermafrostException($"{where}: {ids.Length:N0} ids, more than the {input.Length:N0} that the run was trained on");
        if (ids.Max() >= input.Vocabulary) throw new PermafrostException($"{where}: the id {ids.Max()} is beyond the {input.Vocabulary} that the run was trained on");
    }

    private static IEnumerable<OwnExample<Line>> Read(string path, TaskOptions options)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!, name = Path.GetFileName(path);
        foreach ((string where, string line) in TextLines.OfDataSet(folder, name)) yield return ParseLine(where, line, options, labelled: true);
    }

    private static OwnExample<Line> ParseLine(string where, string line, TaskOptions options, bool labelled)
    {
        string textKey = options.TextColumn ?? "text", labelKey = options.LabelColumn ?? "label";
        try
        {
            using var json = JsonDocument.Parse(line);
            if (json.RootElement.ValueKind != JsonValueKind.Object) throw new PermafrostException($"{where}: not a JSON object");
            string[] kinds = [.. new[] { textKey, "tokens", "values" }.Where(key => json.RootElement.TryGetProperty(key, out _))];
            if (kinds.Length > 1) throw new PermafrostException($"{where}: the line has {string.Join(" and ", kinds.Select(key => $"`{key}`"))}; one of them is fed");
            if (kinds.Length == 0) throw new PermafrostException($"{where}: the line has none of `{textKey}`, `tokens` and `values`");
            // Beside a text stands whatever its writer kept; beside numbers, what is not read could be meant for the model, as a mask.
            string? stray = kinds[0] == textKey ? null : json.RootElement.EnumerateObject().Select(one => one.Name).FirstOrDefault(key => key != kinds[0] && key != labelKey);
            if (stray is not null) throw new PermafrostException($"{where}: `{stray}` is not read; a line has `{kinds[0]}` and `{labelKey}`, so leave it out");
            Line input = Input(where, kinds[0], json.RootElement.GetProperty(kinds[0]));
            if (!labelled) return new OwnExample<Line>(input, "", where);
            if (!json.RootElement.TryGetProperty(labelKey, out JsonElement label)) throw new PermafrostException($"{where}: the line has no `{labelKey}`");
            if (label.ValueKind == JsonValueKind.Array && MultiLabels.Of(options) is null)
                throw new PermafrostException($"{where}: `{labelKey}` is a list, no text, number, true or false; say task_options.answer {MultiLabels.Answer} for several labels");
            return new OwnExample<Line>(input, Label(where, labelKey, label), where);
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            throw new PermafrostException($"{where}: not a JSON object: {JsonFile.Reason(error)}");
        }
    }

    private static Line Input(string where, string key, JsonElement value) => key switch
    {
        "tokens" => new Line(null, Ids(where, value), null),
        "values" => new Line(null, null, Values(where, value)),
        _ => new Line(Text(where, key, value), null, null),
    };

    private static string Text(string where, string key, JsonElement value) =>
        value.ValueKind == JsonValueKind.String && value.GetString() is { Length: > 0 } text ? text
            : throw new PermafrostException($"{where}: `{key}` is no text, or an empty one");

    private static string Label(string where, string key, JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String when value.GetString() is { Length: > 0 } text => MultiLabels.Checked(where, text),
        JsonValueKind.Number when value.TryGetDouble(out double number) && number == Math.Floor(number) && Math.Abs(number) < 1e15 => $"{(long)number}",  // 1.0 is 1
        JsonValueKind.Number or JsonValueKind.True or JsonValueKind.False => value.GetRawText(),
        JsonValueKind.Array => MultiLabels.List(where, value.EnumerateArray().Select(label =>
            label.ValueKind != JsonValueKind.Array ? Label(where, key, label) : throw new PermafrostException($"{where}: `{key}` holds a list in a list"))),
        _ => throw new PermafrostException($"{where}: `{key}` is no text, number, true or false, and no list of them"),
    };

    private static long[] Ids(string where, JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() == 0) throw new PermafrostException($"{where}: `tokens` is no list of ids, or an empty one");
        return [.. value.EnumerateArray().Select(id => id.ValueKind == JsonValueKind.Number && id.TryGetInt64(out long number) && number is >= 0 and < LargestId ? number
            : throw new PermafrostException($"{where}: `tokens` holds {id.GetRawText()}; ids are whole numbers from 0 to {LargestId - 1}"))];
    }

    private static Series Values(string where, JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() == 0) throw new PermafrostException($"{where}: `values` is no list of numbers, or an empty one");
        JsonElement[] steps = [.. value.EnumerateArray()];
        bool nested = steps[0].ValueKind == JsonValueKind.Array;
        int channels = nested ? steps[0].GetArrayLength() : 1;
        if (channels == 0) throw new PermafrostException($"{where}: `values` holds an empty list");
        var numbers = new List<float>(steps.Length * channels);
        foreach (JsonElement step in steps)
        {
            if (nested && (step.ValueKind != JsonValueKind.Array || step.GetArrayLength() != channels))
                throw new PermafrostException($"{where}: step {numbers.Count / channels} of `values` is not a list of {channels} numbers, as the first is");
            foreach (JsonElement number in nested ? step.EnumerateArray().ToArray() : [step]) numbers.Add(Number(where, number));
        }
        if (numbers.All(float.IsNaN)) throw new PermafrostException($"{where}: `values` holds no number at all");
        return new Series([.. numbers], channels);
    }

    private static float Number(string where, JsonElement value)
    {
        if (value.ValueKind == JsonValueKind.Null) return float.NaN;
        return value.ValueKind == JsonValueKind.Number && value.TryGetSingle(out float number) && float.IsFinite(number) ? number
            : throw new PermafrostException(string.Create(CultureInfo.InvariantCulture, $"{where}: `values` holds {value.GetRawText()}, which is no number that float32 can hold"));
    }
}
