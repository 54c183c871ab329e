using Permafrost.Data;
using Permafrost.Data.Csv;

namespace Permafrost.Tasks;

/// <summary>A table of one's own: texts or rows of numbers, with a label each.</summary>
public sealed class CsvTask : TableTask
{
    /// <inheritdoc/>
    public override string Name => "csv";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "your own table: a column of texts, or columns of numbers, and a column of labels (CSV, TSV)";

    /// <inheritdoc/>
    public override string Description => $"""
        Input    csv: with `text_column` the texts of that column, through the backbone's own tokenizer and token table, read as the mean over their tokens.
        {TableNotes}
        Data     `data`: a file of delimited text (UTF-8; comma, semicolon, tab or bar), also packed by gzip; fields in quotes may hold delimiters and line ends. A first
                 line that holds measured numbers is no header: then the columns are called 1, 2, 3. Where that is not so: task_options.delimiter (auto, comma, semicolon, tab
                 or bar), task_options.header (auto, true or false), task_options.quotes none (default double), for texts in which quotes are characters like others, and
                 task_options.decimal comma (default point). Columns without a name (row numbers of pandas and R) are passed over, and counted
        {BaselineNotes}
        """;

    /// <inheritdoc/>
    public override string InputFormat =>
        "text: a .csv or .tsv file (also .gz) with the run's columns in its header, or, in any other file, one text (or row of numbers with commas) a line";

    private protected override ITableFile Open(string path, TableColumns wanted, TaskOptions options) => new CsvFile(path, wanted, CsvLayout.Of(options.Settings));

    private protected override IReadOnlyList<string> Names(string path, TaskOptions options)
    {
        using var file = new CsvFile(path, new TableColumns(null, NamesOnly: true), CsvLayout.Of(options.Settings));
        return file.Columns;
    }

    private protected override bool IsTable(string path) =>
        Path.GetExtension(path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? path[..^3] : path).ToUpperInvariant() is ".CSV" or ".TSV";

    private protected override IReadOnlyList<string> OwnSettings => CsvLayout.Settings;

    private protected override string LabelHint(IReadOnlyList<string> names, TaskOptions options) =>
        CsvLayout.Of(options.Settings).HasHeader is null && names[0] != "1"
            ? "; where the first line is a row, say task_options.header false: columns are called 1, 2, 3 then" : "";

    private protected override bool HasDecimalComma(TaskOptions options) => CsvLayout.Of(options.Settings).DecimalComma;

    private protected override string Where(string path, TableRow row) => TextLines.Name(path, row.Line);
}
