using Permafrost.Data;
using Permafrost.Data.Csv;

namespace Permafrost.Tasks;

/// <summary>AG News (Zhang et al. 2015): which of four sections is a piece of news from?</summary>
public sealed class AgNews : TextTask
{
    // Of the training texts, in percent.
    private const int HeldOut = 5;

    private static readonly string[] Labels = ["World", "Sports", "Business", "Sci/Tech"];

    /// <inheritdoc/>
    public override string Name => "ag-news";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "which of four sections is a piece of news from? (texts)";

    /// <inheritdoc/>
    public override string Description => $"""
        Input    {Name}: title and description of a piece of news, with a blank between, through the backbone's own tokenizer and token table; read as the mean over its tokens.
        Output   {string.Join(", ", Labels)}.
        Splits   {HeldOut} % of the different training texts validate, the same for every run, and the others train (the published file has 120,000); the published 7,600 test.
        Data     train.csv (or a part of it, train_subset.csv) and test.csv, each plain or .gz, without a header: the class from 1 to 4, and the text in one or two columns
        Baselines   majority class; beside a run a linear model of n-grams and a linear probe of the same body
        Source   Zhang, Zhao and LeCun 2015, Character-level convolutional networks for text classification; Tay et al. 2021, arXiv 2105.03322
        """;

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name);
        string folder = DataHome.Find("ag_news", options.DataPath);
        (LabelledText[] train, LabelledText[] validation) = HoldOut(Name, Read(DataSetTable.Find(folder, "train.csv", "train_subset.csv")), HeldOut);
        return Make(options, Labels, train, validation, Read(DataSetTable.Find(folder, "test.csv")));
    }

    private static LabelledText[] Read(string path) => [.. DataSetTable.Rows(path).Select(row => Parse(row.Where, row.Fields))];

    private static LabelledText Parse(string where, string[] fields)
    {
        string text = string.Join(' ', fields.Skip(1).Select(field => field.Trim())).Trim();
        return fields.Length is 2 or 3 && fields[0].Trim() is ['1' or '2' or '3' or '4'] && text.Length > 0 ? new LabelledText(text, fields[0].Trim()[0] - '1', where)
            : throw new PermafrostException($"{where}: not a class from 1 to 4 and a text, or a title and a description");
    }
}
