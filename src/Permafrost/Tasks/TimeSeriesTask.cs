using Permafrost.Data;

namespace Permafrost.Tasks;

/// <summary>Series of readings of one's own, of one or several channels, with a label or a number each.</summary>
public sealed class TimeSeriesTask : TaskDefinition
{
    // As for tables: attention over more positions costs more than it tells.
    internal const int MostTokens = 256;

    private const string LabelKey = "label_at";

    /// <inheritdoc/>
    public override string Name => "timeseries";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override bool ReadsTables => true;

    /// <inheritdoc/>
    internal override bool NamesColumns => false;

    /// <inheritdoc/>
    public override string Summary => "your own series of readings, of one or several channels, with labels (.ts, or .tsv and .csv with the label first)";

    /// <inheritdoc/>
    public override string Description => """
        Input    timeseries: the readings, each channel scaled to mean 0 and deviation 1 over all training series; a step is a token, or, where series have more than 256 steps (or
                 than the body's positions), so many steps that these are enough. Series may differ in length; missing readings (? or NaN) count as the channel's mean.
        Output   the label, one of those in `data`, in the order of their characters; with task_options.answer number (default class) a number, with answer labels any
                 number of labels with task_options.label_separator (;) between (micro_f1, macro_f1, exact_match). Read as the mean over the tokens.
        Splits   `validation_data` and `test_data` name files of the same form; where one is not given, `validation_fraction` and `test_fraction` of the series of every label are
                 held out of `data`, the same for every run.
        Data     .ts as of the UEA archive (sktime): lines with @, then a series a line, channels between colons, the label last. Or a table, as of the UCR archive: the label,
                 then the readings, between tabs, commas, semicolons or blanks; with task_options.label_at last (default first) the label behind them. A first line of names is
                 passed over. Plain or .gz
        Baselines   majority class, or mean for numbers; a linear classifier where all series have one length; beside a run the nearest series, random convolutions, and
                 for one length boosted trees
        """;

    /// <inheritdoc/>
    public override string InputFormat => "text: a .ts file, a table with the label first, or in any other file a series a line (readings between commas, channels between colons)";

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name, "answer", MultiLabels.Setting, LabelKey);
        bool labelLast = IsLabelLast(options);
        OwnSplits<Series> splits = OwnSplits<Series>.Of(
            this, options, path => [.. SeriesFile.Read(path, labelLast).Select(row => new OwnExample<Series>(row.Series, row.Label, row.Where))]);
        return Make(options, splits);
    }

    /// <summary>The data of series, wherever they come from.</summary>
    internal static TaskData Make(TaskOptions options, OwnSplits<Series> splits)
    {
        OwnExample<Series>[][] all = [splits.Train, splits.Validation, splits.Test];
        int channels = splits.Train[0].Input.Channels, longest = all.SelectMany(split => split).Max(example => example.Input.Steps);
        int positions = Math.Min(MostTokens, options.LongestInput() ?? MostTokens);
        SeriesEncoding encoding = options.Trained is { } trained ? Trained(trained)
            : SeriesEncoding.Of([.. splits.Train.Select(example => example.Input)], longest, positions);
        foreach (OwnExample<Series> example in all.SelectMany(split => split)) Check(encoding, example.Where, example.Input);
        SeriesRows? Split(OwnExample<Series>[] split) => split.Length == 0 ? null
            : new SeriesRows([.. split.Select(example => example.Input)], encoding, chosen => splits.Targets([.. chosen.Select(row => split[row])]));
        var spec = new TaskSpec(new VectorInput(encoding.Size, encoding.Length), splits.Output) { Readout = "mean", Preprocessing = encoding.Preprocessing() };
        var notes = new List<string>(splits.Notes)
        {
            FormattableString.Invariant($"series of up to {longest:N0} step(s) of {channels} channel(s): {encoding.Chunk} step(s) a token, up to {encoding.Length} tokens"),
        };
        int still = encoding.Deviations.Count(deviation => deviation == 0);
        if (still > 0) notes.Add(FormattableString.Invariant($"{still:N0} of {channels:N0} channel(s) never change in the training series, and are fed as zeros"));
        int missing = all.SelectMany(split => split).Count(example => example.Input.Values.Any(float.IsNaN));
        if (missing > 0) notes.Add(FormattableString.Invariant($"{missing:N0} series have missing readings, which count as their channel's mean"));
        return new TaskData(spec, Split(splits.Train)!, Split(splits.Validation), Split(splits.Test)) { Notes = notes };
    }

    /// <inheritdoc/>
    public override IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize)
    {
        SeriesEncoding encoding = Trained(spec);
        SeriesRows Rows(IReadOnlyList<Series> series) => new(series, encoding, chosen => OwnSplits<Series>.Unknown(spec.Output, chosen.Length));
        string name = path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? path[..^3] : path;
        if (Path.GetExtension(name).ToUpperInvariant() is ".TS" or ".TSV" or ".CSV")
        {
            foreach ((Series Series, string Label, string Where)[] part in SeriesFile.Read(path, IsLabelLast(options)).Chunk(partSize))
            {
                foreach ((Series series, string label, string where) in part)
                {
                    // A table always has a label first: where it is none, the first reading would be taken for it.
                    if (spec.Output is ClassOutput { Labels.Count: > 0 } classes && label.Length > 0 && !classes.Labels.Contains(label))
                        throw new PermafrostException(
                            $"{where}: '{label}' stands where the label is in training, and is none of {string.Join(", ", classes.Labels.Take(12))}; " +
                            "write series without labels into a file of another kind, one a line");
                    Check(encoding, where, series);
                }
                yield return Rows([.. part.Select(row => row.Series)]);
            }
            yield break;
        }
        IEnumerable<IDataset> parts = TextLines.Parts(path, partSize, InputFormat, (number, line) =>
        {
            string where = TextLines.Name(path, number);
            Series series = SeriesFile.Parse(where, line);
            Check(encoding, where, series);
            return series;
        }, Rows);
        foreach (IDataset part in parts) yield return part;
    }

    private static bool IsLabelLast(TaskOptions options) => (options.Settings?.GetValueOrDefault(LabelKey) ?? "first") switch
    {
        "first" => false,
        "last" => true,
        var other => throw new UsageException($"task_options.{LabelKey} is '{other}'; it must be first or last"),
    };

    /// <summary>How a finished run encodes series.</summary>
    internal static SeriesEncoding Trained(TaskSpec spec) => SeriesEncoding.Read(spec.Preprocessing, ((VectorInput)spec.Input).Size, spec.Input.Length);

    /// <summary>Refuses a series that a run cannot take.</summary>
    internal static void Check(SeriesEncoding encoding, string where, Series series)
    {
        if (series.Channels != encoding.Means.Length)
            throw new PermafrostException($"{where}: {series.Channels} channel(s), where the training series have {encoding.Means.Length}");
        if (encoding.Tokens(series.Steps) > encoding.Length)
            throw new PermafrostException($"{where}: {series.Steps:N0} steps, more than the {encoding.Length * encoding.Chunk:N0} that the run was trained on; cut the series");
        if (encoding.FirstBeyond(series) is { } step)
            throw new PermafrostException($"{where}: the reading at step {step + 1} is too far from those of the training to be computed with; mend it or leave the series out");
    }
}
