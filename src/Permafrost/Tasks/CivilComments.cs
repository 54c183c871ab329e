using System.Globalization;
using Permafrost.Data;
using Permafrost.Data.Csv;

namespace Permafrost.Tasks;

/// <summary>Civil Comments (Borkan et al. 2019): is a comment on a news site toxic?</summary>
public sealed class CivilComments : ToxicText
{
    // Of the training texts, in percent, where no file has those for validation.
    private const int HeldOut = 5;

    private const string Whole = "civil_comments.csv";

    /// <inheritdoc/>
    public override string Name => "civil-comments";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "is a comment on a news site toxic? (texts; accuracy, F1, area under the curve)";

    /// <inheritdoc/>
    public override IReadOnlyList<string> Readings => ["paper"];

    /// <inheritdoc/>
    public override string Description => $"""
        Input    {Name}: a comment, through the backbone's own tokenizer and token table; read as the mean over its tokens.
        Output   fine or toxic. A comment is toxic where at least half of its readers said so (task_options.threshold, 0.5); civil-comments@paper: where any of them did, which is
                 the only reading that the accuracies of Tay et al. 2021 fit (about 70 % of the comments are fine then, and 92 % at one half).
        {MetricNotes}
        Splits   validation.csv validates where it is there, else {HeldOut} % of the different training comments; the published set has 1,804,874 to train on and 97,320 each.
        Data     civil_comments.csv, as published, with a column `split`; or train.csv, test.csv and perhaps validation.csv; each plain or .gz, with the columns comment_text
                 (or text) and toxicity (or target), a share from 0 to 1
        Baselines   majority class; beside a run a linear model of n-grams and a linear probe of the same body
        Source   Borkan et al. 2019, arXiv 1903.04561; Tay et al. 2021, arXiv 2105.03322
        """;

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name, "f1_class", "threshold");
        double threshold = 0.5;
        if (options.Settings?.GetValueOrDefault("threshold") is { } text)
        {
            if (options.Reading == "paper") throw new UsageException("task_options.threshold: civil-comments@paper has its own, above 0; take the task civil-comments");
            if (!double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out threshold) || threshold is not (> 0 and <= 1))
                throw new UsageException($"task_options.threshold is '{text}'; it must be above 0, and at most 1");
        }
        bool anyReader = options.Reading == "paper";
        string folder = DataHome.Find("civil_comments", options.DataPath);
        LabelledText Labelled((string Where, string[] Fields) row)
        {
            double share = Share(row.Where, row.Fields[1]);
            if (string.IsNullOrWhiteSpace(row.Fields[0])) throw new PermafrostException($"{row.Where}: the comment is empty; mend it or leave it out");
            return new LabelledText(row.Fields[0].Trim(), anyReader ? (share > 0 ? 1 : 0) : share >= threshold ? 1 : 0, row.Where);
        }
        string[][] columns = [["comment_text", "text"], ["toxicity", "target"]];
        if (File.Exists(Path.Combine(folder, Whole)) || File.Exists(Path.Combine(folder, Whole + ".gz")))
        {
            string path = DataSetTable.Find(folder, Whole);
            ILookup<string, LabelledText> splits = DataSetTable.Named(path, [.. columns, ["split"]]).ToLookup(row => row.Fields[2], Labelled);
            LabelledText[] Of(string split) => splits.Contains(split) ? [.. splits[split]] : throw new PermafrostException($"{path} has no row whose `split` is {split}");
            return Toxic(options, Of("train"), Of("validation"), Of("test"));
        }
        LabelledText[] Read(string name) => [.. DataSetTable.Named(DataSetTable.Find(folder, name), columns).Select(Labelled)];
        LabelledText[] all = Read("train.csv");
        bool isSplit = File.Exists(Path.Combine(folder, "validation.csv")) || File.Exists(Path.Combine(folder, "validation.csv.gz"));
        (LabelledText[] train, LabelledText[] validation) = isSplit ? (all, Read("validation.csv")) : HoldOut(Name, all, HeldOut);
        return Toxic(options, train, validation, Read("test.csv"));
    }
}
