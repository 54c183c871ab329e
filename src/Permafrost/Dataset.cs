using Permafrost.Data;
using Permafrost.Data.Csv;

namespace Permafrost;

/// <summary>
/// Labelled rows of numbers, or labelled texts: what a <see cref="SequenceClassifier"/> is trained on. A row is a sequence: a series of readings, or the columns of a table.
/// </summary>
/// <example><code>
/// var data = Dataset.FromCsv("readings.csv", label: "activity");
/// var reviews = Dataset.FromCsv("reviews.csv", label: "verdict", text: "review");
/// </code></example>
public sealed class Dataset
{
    private readonly Func<int, string> where;

    private Dataset(IReadOnlyList<string> columns, IReadOnlyList<float[]> rows, IReadOnlyList<string> texts, IReadOnlyList<string> rowLabels, Func<int, string> where)
    {
        (Columns, Rows, Texts, RowLabels, this.where) = (columns, rows, texts, rowLabels, where);
        Labels = [.. rowLabels.Distinct().Order(StringComparer.Ordinal)];
        if (Labels.Count < 2) throw new PermafrostException($"every row has the label '{Labels[0]}'; a classifier needs at least two");
    }

    /// <summary>The columns' names; empty where they have none.</summary>
    public IReadOnlyList<string> Columns { get; }

    /// <summary>The rows, all of one width; empty where there are texts.</summary>
    public IReadOnlyList<float[]> Rows { get; }

    /// <summary>The texts; empty where there are rows of numbers.</summary>
    public IReadOnlyList<string> Texts { get; }

    /// <summary>Whether it holds texts, not rows of numbers.</summary>
    public bool IsText => Texts.Count > 0;

    /// <summary>The label of each row or text.</summary>
    public IReadOnlyList<string> RowLabels { get; }

    /// <summary>The labels that occur, in the order of their characters: class 0, 1, ...</summary>
    public IReadOnlyList<string> Labels { get; }

    /// <summary>Reads a delimited text file with a header: a column of texts, or, where none is named, numbers in every column but the label's.</summary>
    /// <param name="path">The file; the delimiter (comma, semicolon, tab or bar) is found in its header.</param>
    /// <param name="label">The name of the label's column.</param>
    /// <param name="text">The name of the column of texts; null for rows of numbers.</param>
    /// <exception cref="PermafrostException">The file is missing, ragged, empty or holds something else; the message names file and line.</exception>
    public static Dataset FromCsv(string path, string label, string? text = null)
    {
        var table = CsvTable.Read(path, new TableColumns(label, text));
        try
        {
            string Where(int row) => $"{path}:{table.Rows[row].Line}";
            string[] labels = [.. table.Rows.Select(row => row.Label)];
            return text is null ? new Dataset(table.Columns, [.. table.Rows.Select(row => row.Numbers)], [], labels, Where)
                : new Dataset([], [], [.. table.Rows.Select(row => row.Text)], labels, Where);
        }
        catch (PermafrostException error)
        {
            throw new PermafrostException($"{path}: {error.Message}");
        }
    }

    /// <summary>Texts that are in memory already.</summary>
    /// <param name="texts">The texts.</param>
    /// <param name="labels">A label for each.</param>
    /// <exception cref="PermafrostException">There are none, not as many labels as texts, an empty text, or a single label.</exception>
    public static Dataset FromTexts(IReadOnlyList<string> texts, IReadOnlyList<string> labels)
    {
        ArgumentNullException.ThrowIfNull(texts);
        ArgumentNullException.ThrowIfNull(labels);
        if (texts.Count == 0) throw new PermafrostException("there are no texts");
        if (texts.Count != labels.Count) throw new PermafrostException($"there are {texts.Count} texts and {labels.Count} labels; every text needs one");
        for (int row = 0; row < texts.Count; row++)
        {
            if (texts[row] is null || labels[row] is null) throw new PermafrostException($"text {row} or its label is null");
            if (string.IsNullOrWhiteSpace(texts[row])) throw new PermafrostException($"text {row} is empty; every row needs a text");
        }
        return new Dataset([], [], [.. texts], [.. labels], row => $"text {row}");
    }

    /// <summary>Rows that are in memory already.</summary>
    /// <param name="rows">The rows, all of one width.</param>
    /// <param name="labels">A label for each.</param>
    /// <exception cref="PermafrostException">There are none, not as many labels as rows, rows of several widths, numbers that are not finite, or a single label.</exception>
    public static Dataset FromRows(IReadOnlyList<float[]> rows, IReadOnlyList<string> labels)
    {
        ArgumentNullException.ThrowIfNull(rows);
        ArgumentNullException.ThrowIfNull(labels);
        if (rows.Count == 0) throw new PermafrostException("there are no rows");
        if (rows.Count != labels.Count) throw new PermafrostException($"there are {rows.Count} rows and {labels.Count} labels; every row needs one");
        for (int row = 0; row < rows.Count; row++)
        {
            if (rows[row] is null || labels[row] is null) throw new PermafrostException($"row {row} or its label is null");
            if (rows[row].Length != rows[0].Length || rows[row].Length == 0)
                throw new PermafrostException(
                    $"row {row} has {rows[row].Length} numbers, where row 0 has {rows[0].Length}; " +
                    "all rows need the same number of them, at least one");
            if (rows[row].Any(number => !float.IsFinite(number)))
                throw new PermafrostException($"row {row} holds NaN or infinity, with which nothing can be computed; mend the row or leave it out");
        }
        // Copies: what the caller does to its own afterwards changes nothing here.
        return new Dataset([], [.. rows.Select(row => row.ToArray())], [], [.. labels], row => $"row {row}");
    }

    /// <summary>A row's place in its file, or its number, for errors.</summary>
    internal string Where(int row) => where(row);

    /// <summary>Numbers of the rows of a stratified split.</summary>
    /// <param name="validation">Share held out for validation.</param>
    /// <param name="test">Share held out for the test.</param>
    /// <param name="seed">Decides which.</param>
    internal StratifiedSplit Split(double validation, double test, long seed) => StratifiedSplit.Of(RowLabels, Labels, validation, test, seed);
}
