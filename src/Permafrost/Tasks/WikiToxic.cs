using Permafrost.Data;
using Permafrost.Data.Csv;

namespace Permafrost.Tasks;

/// <summary>Wikipedia Toxicity (Wulczyn et al. 2017; Jigsaw's competition of 2018): is a comment on a talk page toxic?</summary>
public sealed class WikiToxic : ToxicText
{
    // Of the training texts, in percent.
    private const int HeldOut = 5;

    /// <inheritdoc/>
    public override string Name => "wiki-toxic";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "is a comment on Wikipedia toxic? (texts; accuracy, F1, area under the curve)";

    /// <inheritdoc/>
    public override string Description => $"""
        Input    {Name}: a comment, through the backbone's own tokenizer and token table; read as the mean over its tokens.
        Output   fine or toxic.
        {MetricNotes}
        Splits   {HeldOut} % of the different training comments validate, the same for every run; the published 63,978 test (those of the test file that have labels).
        Data     Jigsaw's train.csv, test.csv and test_labels.csv, or test.csv with the labels in it (as TensorFlow Datasets has it); or the short
                 wikipedia-detox-250-line-data.tsv and wikipedia-detox-250-line-test.tsv; each plain or .gz
        Baselines   majority class (which has 90 % of the published test); beside a run a linear model of n-grams and a linear probe of the same body
        Source   Wulczyn, Thain and Dixon 2017, Ex machina; Tay et al. 2021, arXiv 2105.03322
        """;

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name, "f1_class");
        string folder = DataHome.Find("toxic", options.DataPath);
        bool isShort = !Path.Exists(Path.Combine(folder, "train.csv")) && !Path.Exists(Path.Combine(folder, "train.csv.gz"))
            && Directory.EnumerateFiles(folder, "wikipedia-detox-250-line-data.tsv*").Any();
        LabelledText[] all = isShort ? Detox(DataSetTable.Find(folder, "wikipedia-detox-250-line-data.tsv")) : Comments(DataSetTable.Find(folder, "train.csv"));
        LabelledText[] test = isShort ? Detox(DataSetTable.Find(folder, "wikipedia-detox-250-line-test.tsv")) : Scored(folder);
        (LabelledText[] train, LabelledText[] validation) = HoldOut(Name, all, HeldOut);
        return Toxic(options, train, validation, test);
    }

    private static LabelledText[] Comments(string path, Func<(string Where, string[] Fields), bool>? counts = null) =>
        [.. DataSetTable.Named(path, [["comment_text"], ["toxic"]]).Where(counts ?? (_ => true)).Select(row => Labelled(row.Where, row.Fields[0], row.Fields[1]))];

    // -1 stands for comments that were in the file to keep people from labelling them by hand.
    private static LabelledText[] Scored(string folder)
    {
        string test = DataSetTable.Find(folder, "test.csv");
        if (DataSetTable.Rows(test).First().Fields.Contains("toxic"))
            return [.. Comments(test, row => row.Fields[1] != "-1")];
        string labelsPath = DataSetTable.Find(folder, "test_labels.csv");
        var labels = new Dictionary<string, string>();
        foreach ((string where, string[] fields) in DataSetTable.Named(labelsPath, [["id"], ["toxic"]]))
            if (!labels.TryAdd(fields[0], fields[1])) throw new PermafrostException($"{where}: the comment {fields[0]} appears twice");
        var texts = new List<LabelledText>();
        foreach ((string where, string[] fields) in DataSetTable.Named(test, [["id"], ["comment_text"]]))
        {
            if (!labels.TryGetValue(fields[0], out string? label)) throw new PermafrostException($"{where}: {labelsPath} has no label for the comment {fields[0]}");
            if (label != "-1") texts.Add(Labelled(where, fields[1], label));
        }
        return [.. texts];
    }

    private static LabelledText[] Detox(string path) =>
        [.. DataSetTable.Named(path, [["Sentiment"], ["SentimentText"]], '\t').Select(row => Labelled(row.Where, row.Fields[1], row.Fields[0]))];

    private static LabelledText Labelled(string where, string text, string label) =>
        label is ("0" or "1" or "0.0" or "1.0") && !string.IsNullOrWhiteSpace(text) ? new LabelledText(text.Trim(), label[0] - '0', where)
            : throw new PermafrostException($"{where}: not a comment with 0 (fine) or 1 (toxic)");
}
