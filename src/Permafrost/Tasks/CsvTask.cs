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
                 line that holds nothing but numbers is no header: then the columns are called 1, 2, 3
        {BaselineNotes}
        """;

    /// <inheritdoc/>
    public override string InputFormat =>
        "text: a .csv or .tsv file (also .gz) with the run's columns in its header, or, in any other file, one text (or row of numbers with commas) a line";

    private protected override ITableFile Open(string path, TableColumns wanted) => new CsvFile(path, wanted);

    private protected override IReadOnlyList<string> Names(string path)
    {
        using var file = new CsvFile(path, new TableColumns(null));
        return file.Columns;
    }

    private protected override bool IsTable(string path) =>
        Path.GetExtension(path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? path[..^3] : path).ToUpperInvariant() is ".CSV" or ".TSV";

    private protected override string Where(string path, TableRow row) => TextLines.Name(path, row.Line);
}
