using System.Globalization;
using System.Text;
using nietras.SeparatedValues;
using Permafrost.Formats;

namespace Permafrost.Data.Csv;

/// <summary>
/// A delimited text file, plain or packed by gzip, read row by row; the delimiter (comma, semicolon, tab or bar) is found in the first line. Where that holds nothing but
/// numbers, it is no header, and the columns are called 1, 2, 3. Fields in quotes may hold delimiters, quotes and line ends. Whatever is wrong is said with file and line.
/// </summary>
internal sealed class CsvFile : ITableFile
{
    private const string Delimiters = ",;\t|";

    private readonly string path;
    private readonly TableColumns wanted;
    private readonly SepReader reader;
    private readonly string[] names;
    private readonly int label;
    private readonly int text;
    private readonly int[] numbers;

    /// <summary>Opens a file and reads its first line.</summary>
    /// <param name="path">The file.</param>
    /// <param name="wanted">What to read of it.</param>
    /// <exception cref="PermafrostException">It is missing, is no table, or lacks a column.</exception>
    public CsvFile(string path, TableColumns wanted)
    {
        (this.path, this.wanted) = (path, wanted);
        (char? delimiter, string[] first) = Guarded(() => FirstLine(path));
        bool hasHeader = IsHeader(first, wanted.Numbers);
        reader = Guarded(() =>
        {
            var stream = new StreamReader(Gzip.Unpacked(File.OpenRead(path)), new UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true),
                detectEncodingFromByteOrderMarks: true);
            SepReaderOptions options = delimiter is { } one ? Sep.New(one).Reader(with => with) : Sep.Reader();
            return (options with { Unescape = true, DisableColCountCheck = true, HasHeader = hasHeader }).From(stream);
        });
        try
        {
            names = hasHeader ? [.. reader.Header.ColNames] : [.. Enumerable.Range(1, first.Length).Select(number => number.ToString(CultureInfo.InvariantCulture))];
            if (!hasHeader) Note = $"{path} has no header: its first line holds numbers; the columns are called 1 to {names.Length}";
            CheckHeader();
            label = wanted.Label is null ? -1 : Find(wanted.Label);
            text = wanted.Text is null ? -1 : Find(wanted.Text);
            if (label >= 0 && label == text) throw new PermafrostException($"{path}: the column '{wanted.Text}' is named for the texts and for the labels; they are two columns");
            Columns = wanted.Text is not null ? [] : wanted.Numbers ?? [.. names.Where((_, i) => i != label)];
            numbers = [.. Columns.Select(Find)];
            if (text < 0 && numbers.Length == 0) throw new PermafrostException($"{path} has no column of numbers beside '{wanted.Label}'");
        }
        catch
        {
            reader.Dispose();
            throw;
        }
    }

    /// <summary>The columns of numbers, in the order in which a row has them.</summary>
    public IReadOnlyList<string> Columns { get; }

    /// <inheritdoc/>
    public IReadOnlyList<string> Unread => text >= 0 ? [] : [.. names.Where((name, i) => i != label && !Columns.Contains(name))];

    /// <inheritdoc/>
    public string? Note { get; }

    /// <summary>The rows, as they are read.</summary>
    /// <exception cref="PermafrostException">A row is ragged, lacks its label or text, or holds something else than a number; or there is none.</exception>
    public IEnumerable<TableRow> Rows()
    {
        bool any = false;
        while (Guarded(Next) is { } row)
        {
            any = true;
            yield return row;
        }
        if (!any) throw new PermafrostException($"{path} holds a header and no rows");
    }

    /// <summary>Closes the file.</summary>
    public void Dispose() => reader.Dispose();

    // The next row that is not blank; null at the end.
    private TableRow? Next()
    {
        while (reader.MoveNext())
        {
            SepReader.Row row = reader.Current;
            int line = row.LineNumberFrom;
            ReadOnlySpan<char> all = row.Span;
            // Only the end of the file ends a row within quotes.
            if (all.Count('"') % 2 != 0)
                throw new PermafrostException($"{path}:{line}: a quote is opened and never closed, so that the rest of the file would be one field; close it, or double it");
            if (row.ColCount == 1 && row[0].Span.IsWhiteSpace() && (names.Length > 1 || all.IsWhiteSpace())) continue;
            if (row.ColCount != names.Length)
                throw new PermafrostException($"{path}:{line}: {row.ColCount} columns, where the {(Note is null ? "header" : "first line")} has {names.Length}");
            var values = new float[numbers.Length];
            for (int i = 0; i < numbers.Length; i++) values[i] = Number(row[numbers[i]].Span, line, names[numbers[i]]);
            string ownLabel = label < 0 ? "" : Words(row[label].ToString(), line, label, "every row needs a label");
            string ownText = text < 0 ? "" : Words(row[text].ToString(), line, text, "every row needs a text");
            return new TableRow(line, ownLabel, ownText, values);
        }
        return null;
    }

    private string Words(string value, int line, int column, string need)
    {
        string own = value.Trim();
        return own.Length > 0 ? own : throw new PermafrostException($"{path}:{line}: the column '{names[column]}' is empty; {need}");
    }

    private float Number(ReadOnlySpan<char> value, int line, string column)
    {
        if (!float.TryParse(value.Trim(), NumberStyles.Float, CultureInfo.InvariantCulture, out float number))
        {
            string shown = value.Length > 40 ? string.Concat(value[..40], "...") : value.ToString();
            throw new PermafrostException($"{path}:{line}: '{shown}' in the column '{column}' is not a number; where a column holds the texts, name it as their column");
        }
        if (float.IsFinite(number)) return number;
        throw new PermafrostException($"{path}:{line}: the column '{column}' holds {value.Trim()}, with which nothing can be computed; mend the row or leave it out");
    }

    private void CheckHeader()
    {
        if (names.Length == 0 || (names.Length == 1 && names[0].Length == 0)) throw new PermafrostException($"{path} is empty; a header with the columns' names is expected");
        if (names.Any(name => name.Any(c => char.IsControl(c) || c == '\uFFFD')))
            throw new PermafrostException($"{path} is no table of delimited text: its first line holds bytes that are no text");
    }

    private int Find(string column)
    {
        int at = Array.IndexOf(names, column);
        string more = names.Length > 12 ? $" and {names.Length - 12} more" : "";
        return at >= 0 ? at : throw new PermafrostException($"{path} has no column '{column}'; it has {string.Join(", ", names.Take(12))}{more}");
    }

    // The delimiter, where the first line has one to be found by Sep or none at all, is left to it; the fields are those of a line of numbers.
    private static (char? Delimiter, string[] Fields) FirstLine(string path)
    {
        using Stream stream = Gzip.Unpacked(File.OpenRead(path));
        string line = new LineReader(stream, path).Lines().FirstOrDefault() ?? "";
        if (!line.AsSpan().ContainsAny(Delimiters)) return (IsNamedTsv(path) ? '\t' : ',', [line]);
        char[] there = [.. Delimiters.Where(one => line.Contains(one))];
        return (null, there.Length == 1 ? line.Split(there[0], StringSplitOptions.TrimEntries) : [line]);
    }

    // What pandas writes over columns without names, 0, 1, 2, is a header too, and so is whatever names the columns that are wanted.
    private static bool IsHeader(string[] first, IReadOnlyList<string>? wanted)
    {
        if (!Array.TrueForAll(first, field => float.TryParse(field, NumberStyles.Float, CultureInfo.InvariantCulture, out _))) return true;
        bool Counts(int from) => first.Index().All(field => field.Item == (from + field.Index).ToString(CultureInfo.InvariantCulture));
        return Counts(0) || Counts(1) || (wanted is { Count: > 0 } && wanted.All(first.Contains));
    }

    private static bool IsNamedTsv(string path) => path.EndsWith(".tsv", StringComparison.OrdinalIgnoreCase) || path.EndsWith(".tsv.gz", StringComparison.OrdinalIgnoreCase);

    private T Guarded<T>(Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
        catch (Exception error) when (error is InvalidDataException or ArgumentException or NotSupportedException)
        {
            // A reader of lines knows where the bytes are that are no text.
            if (error is DecoderFallbackException) CheckText();
            throw new PermafrostException($"{path} is no table of delimited text: {error.Message.ReplaceLineEndings(" ").TrimEnd('.')}");
        }
    }

    private void CheckText()
    {
        using Stream stream = Gzip.Unpacked(File.OpenRead(path));
        foreach (string _ in new LineReader(stream, path).Lines()) { }
    }
}
