using Permafrost.Data;

namespace Permafrost.Tasks;

/// <summary>A Parquet file of one's own: texts or rows of numbers, with a label each.</summary>
public sealed class ParquetTask : TableTask
{
    /// <inheritdoc/>
    public override string Name => "parquet";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "your own Parquet file: a column of texts, or columns of numbers, and a column of labels";

    /// <inheritdoc/>
    public override string Description => $"""
        Input    parquet: with `text_column` the texts of that column, through the backbone's own tokenizer and token table, read as the mean over their tokens.
        {TableNotes}
        Data     `data`: a Parquet file of flat columns, whatever packs them; true is 1, false 0, and an index that pandas wrote (__index_level_0__) is passed over. Labels are
                 texts, whole numbers, or true and false
        {BaselineNotes}
        """;

    /// <inheritdoc/>
    public override string InputFormat => "text: a Parquet file with the run's columns, or, in any other file, one text (or row of numbers with commas) a line";

    private protected override ITableFile Open(string path, TableColumns wanted, TaskOptions options) => new ParquetFile(path, wanted);

    private protected override IReadOnlyList<string> Names(string path, TaskOptions options) => ParquetFile.Names(path);

    private protected override bool IsTable(string path) => ParquetFile.IsLike(path);

    private protected override string Where(string path, TableRow row) => $"{path}, row {row.Line}";
}
