using System.Globalization;
using System.Text;
using nietras.SeparatedValues;
using Permafrost.Formats;

namespace Permafrost.Data.Csv;

/// <summary>
/// A delimited text file, plain or packed by gzip, read row by row; where nothing is said of its layout, the delimiter (comma, semicolon, tab or bar) is found in the first
/// lines, and a first line that holds measured numbers is no header: the columns are called 1, 2, 3 then. Fields in quotes may hold delimiters, quotes and line ends. Whatever is
/// wrong is said with file and line.
/// </summary>
internal sealed class CsvFile : ITableFile
{
    private readonly string path;
    private readonly TableColumns wanted;
    private readonly CsvLayout layout;
    private readonly SepReader reader;
    private readonly char delimiter;
    private readonly bool hasHeader;
    private readonly string[] names;
    private readonly int label;
    private readonly int text;
    private readonly int[] numbers;
    private int lastLine;

    /// <summary>Opens a file and reads its first line.</summary>
    /// <param name="path">The file.</param>
    /// <param name="wanted">What to read of it.</param>
    /// <param name="layout">How it is laid out; null to find out.</param>
    /// <exception cref="PermafrostException">It is missing, is no table, or lacks a column.</exception>
    public CsvFile(string path, TableColumns wanted, CsvLayout? layout = null)
    {
        (this.path, this.wanted, this.layout) = (path, wanted, layout ?? new CsvLayout());
        CsvHead head = Guarded(() => CsvHead.Of(path, this.layout, wanted));
        (delimiter, hasHeader) = (head.Delimiter, head.IsHeader);
        reader = Guarded(() =>
        {
            var stream = new StreamReader(Gzip.Unpacked(File.OpenRead(path)), new UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true),
                detectEncodingFromByteOrderMarks: true);
            return Sep.New(delimiter).Reader(with => with with { HasHeader = false, DisableColCountCheck = true, DisableQuotesParsing = !this.layout.Quotes }).From(stream);
        });
        try
        {
            names = hasHeader ? Header() : [.. Enumerable.Range(1, head.Fields).Select(number => number.ToString(CultureInfo.InvariantCulture))];
            CheckHeader();
            label = wanted.Label is null ? -1 : Find(wanted.Label);
            text = wanted.Text is null ? -1 : Find(wanted.Text);
            if (label >= 0 && label == text) throw new PermafrostException($"{path}: the column '{wanted.Text}' is named for the texts and for the labels; they are two columns");
            string[] unnamed = [.. names.Where((name, i) => i != label && IsUnnamed(name))];
            Columns = wanted.Text is not null ? [] : wanted.Numbers ?? [.. names.Where((name, i) => i != label && !IsUnnamed(name))];
            numbers = [.. Columns.Select(Find)];
            if (text < 0 && numbers.Length == 0 && !wanted.NamesOnly) throw new PermafrostException($"{path} has no column of numbers beside '{wanted.Label}'");
            Note = !hasHeader ? $"{path} has no header{(this.layout.HasHeader is null ? ": its first line holds numbers" : "")}; the columns are called 1 to {names.Length}"
                : text < 0 && wanted.Numbers is null && unnamed.Length > 0
                ? $"{unnamed.Length} column(s) of {path} have no name, as row numbers have none, and are not read" : null;
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
    public IReadOnlyList<string> Unread => text >= 0 ? [] : [.. names.Where((name, i) => i != label && !IsUnnamed(name) && !Columns.Contains(name))];

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

    // What a data frame's row numbers are called, by pandas and R: they are no measurement.
    private static bool IsUnnamed(string name) => name.Length == 0 || name.StartsWith("Unnamed: ", StringComparison.Ordinal);

    // The next row that is not blank; null at the end.
    private TableRow? Next()
    {
        while (reader.MoveNext())
        {
            SepReader.Row row = reader.Current;
            int line = row.LineNumberFrom;
            lastLine = row.LineNumberToExcl;
            ReadOnlySpan<char> all = row.Span;
            CheckClosed(all, line);
            if (row.ColCount == 1 && row[0].Span.IsWhiteSpace() && (names.Length > 1 || all.IsWhiteSpace())) continue;
            if (row.ColCount != names.Length)
            {
                string hint = all.Contains('"') && layout.Quotes ? QuotesHint("; ") : "";
                throw new PermafrostException($"{path}:{line}: {row.ColCount} columns, where the {(hasHeader ? "header" : "first line")} has {names.Length}{hint}");
            }
            var values = new float[numbers.Length];
            for (int i = 0; i < numbers.Length; i++) values[i] = Number(Field(row[numbers[i]].Span, line, names[numbers[i]]), line, names[numbers[i]]);
            string ownLabel = label < 0 ? "" : Words(row[label].Span, line, label, wanted.LabelMayBeEmpty ? null : "every row needs a label");
            string ownText = text < 0 ? "" : Words(row[text].Span, line, text, "every row needs a text");
            return new TableRow(line, ownLabel, ownText, values);
        }
        return null;
    }

    // Only the end of the file ends a row within quotes.
    private void CheckClosed(ReadOnlySpan<char> row, int line)
    {
        if (layout.Quotes && row.Count('"') % 2 != 0)
            throw new PermafrostException(
                $"{path}:{line}: a quote is opened and never closed, so that the rest of the file would be one field; close it, or double it{QuotesHint(", or, ")}");
    }

    private string QuotesHint(string before) => layout.HasSettings ? $"{before}where quotes are characters like others, say task_options.quotes none" : "";

    // A field as it is meant. Quotes that stand around the whole field, and are doubled within it, are none of its characters; others are.
    private ReadOnlySpan<char> Field(ReadOnlySpan<char> raw, int line, string column)
    {
        if (!layout.Quotes || !raw.Contains('"')) return raw;
        if (Unquoted(raw) is { } text) return text;
        if (raw.ContainsAny(delimiter, '\n', '\r'))
            throw new PermafrostException(
                $"{path}:{line}: the column '{column}' has quotes within its text, between which stands a delimiter or a line's end; " +
                $"put the whole field into quotes and double those within it{QuotesHint(", or, ")}");
        return raw;
    }

    /// <summary>A field without the quotes around it; null where there are none, or others within it are not doubled.</summary>
    internal static string? Unquoted(ReadOnlySpan<char> raw)
    {
        ReadOnlySpan<char> field = raw.Trim();
        if (field is not ['"', .., '"']) return null;
        string inner = field[1..^1].ToString(), doubled = inner.Replace("\"\"", "", StringComparison.Ordinal);
        return doubled.Contains('"', StringComparison.Ordinal) ? null : inner.Replace("\"\"", "\"", StringComparison.Ordinal);
    }

    private string Words(ReadOnlySpan<char> raw, int line, int column, string? need)
    {
        string own = Field(raw, line, names[column]).Trim().ToString();
        return own.Length > 0 || need is null ? own : throw new PermafrostException($"{path}:{line}: the column '{names[column]}' is empty; {need}");
    }

    private float Number(ReadOnlySpan<char> value, int line, string column)
    {
        value = value.Trim();
        if (wanted.MayMiss && MissingValue.Is(value)) return float.NaN;
        bool isNumber = TryParse(value, layout.DecimalComma, out float number);
        if (isNumber && float.IsFinite(number)) return number;
        if (isNumber && !MissingValue.Is(value))
            throw new PermafrostException($"{path}:{line}: the column '{column}' holds {value}, with which nothing can be computed; mend the row or leave it out");
        string shown = value.Length > 40 ? string.Concat(value[..40], "...") : value.ToString();
        string what = isNumber ? $"the column '{column}' holds {shown}, which" : $"'{shown}' in the column '{column}'";
        throw new PermafrostException($"{path}:{line}: {what} is not a number; {Advice(value)}");
    }

    // With a comma before the decimals a point would stand between thousands: 1.234 is then refused, and not taken for another number.
    private static bool TryParse(ReadOnlySpan<char> value, bool decimalComma, out float number)
    {
        if (!decimalComma) return float.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out number);
        number = 0;
        return !value.Contains('.') && float.TryParse(value.ToString().Replace(',', '.'), NumberStyles.Float, CultureInfo.InvariantCulture, out number);
    }

    private string Advice(ReadOnlySpan<char> value)
    {
        if (MissingValue.Is(value)) return "mend the row or leave it out" + (layout.HasSettings ? ", or say task_options.missing mean" : "");
        if (!layout.DecimalComma && value.Contains(',') && TryParse(value, decimalComma: true, out _))
            return layout.HasSettings ? "where a comma stands before decimals, say task_options.decimal comma" : "write decimals behind a point";
        return $"where a column holds the texts, name it as their column{(layout.HasSettings ? " (`text_column`)" : "")}";
    }

    private string[] Header()
    {
        do
        {
            if (!Guarded(reader.MoveNext)) return [];
        }
        while (reader.Current.Span.IsWhiteSpace());
        SepReader.Row row = reader.Current;
        lastLine = row.LineNumberToExcl;
        CheckClosed(row.Span, row.LineNumberFrom);
        var header = new string[row.ColCount];
        for (int i = 0; i < header.Length; i++) header[i] = Field(row[i].Span, row.LineNumberFrom, $"{i + 1}").Trim().ToString();
        return header;
    }

    private void CheckHeader()
    {
        if (names.Length == 0 || (names.Length == 1 && names[0].Length == 0)) throw new PermafrostException($"{path} is empty; a header with the columns' names is expected");
        if (names.Any(name => name.Any(c => char.IsControl(c) || c == '\uFFFD')))
            throw new PermafrostException($"{path} is no table of delimited text: its first line holds bytes that are no text");
        if (names.Where(name => !IsUnnamed(name)).CountBy(name => name).FirstOrDefault(pair => pair.Value > 1).Key is { } twice)
            throw new PermafrostException($"{path}: the header names the column '{twice}' twice; give each column a name of its own{HeaderHint}");
    }

    private string HeaderHint => hasHeader && layout is { HasSettings: true, HasHeader: null } ? "; where the first line is a row, say task_options.header false" : "";

    private int Find(string column)
    {
        int at = Array.IndexOf(names, column);
        string more = names.Length > 12 ? $" and {names.Length - 12} more" : "";
        string hint = int.TryParse(column, out _) ? HeaderHint : "";
        return at >= 0 ? at : throw new PermafrostException($"{path} has no column '{column}'; it has {string.Join(", ", names.Take(12))}{more}{hint}");
    }

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
        catch (NotSupportedException) when (lastLine > 0)
        {
            throw new PermafrostException(
                $"{path}:{lastLine}: the row that begins here has more than 16 million characters, as where a quote is opened and never closed; " +
                $"close it, or double it{QuotesHint(", or, ")}");
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
