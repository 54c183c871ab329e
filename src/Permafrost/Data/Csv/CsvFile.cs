using System.Globalization;
using System.Text;
using nietras.SeparatedValues;
using Permafrost.Formats;

namespace Permafrost.Data.Csv;

/// <summary>
/// A delimited text file with a header, read row by row; the delimiter (comma, semicolon, tab or bar) is found in the header. Fields in quotes may hold delimiters, quotes and
/// line ends. Whatever is wrong is said with file and line.
/// </summary>
internal sealed class CsvFile : ITableFile
{
    private readonly string path;
    private readonly TableColumns wanted;
    private readonly SepReader reader;
    private readonly string[] names;
    private readonly int label;
    private readonly int text;
    private readonly int[] numbers;

    /// <summary>Opens a file and reads its header.</summary>
    /// <param name="path">The file.</param>
    /// <param name="wanted">What to read of it.</param>
    /// <exception cref="PermafrostException">It is missing, is no table, or lacks a column.</exception>
    public CsvFile(string path, TableColumns wanted)
    {
        (this.path, this.wanted) = (path, wanted);
        reader = Guarded(() =>
        {
            Sep? delimiter = HasDelimiter(path) ? null : Sep.New(path.EndsWith(".tsv", StringComparison.OrdinalIgnoreCase) ? '\t' : ',');
            SepReaderOptions options = delimiter is { } own ? own.Reader(with => with) : Sep.Reader();
            var stream = new StreamReader(path, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true), detectEncodingFromByteOrderMarks: true);
            return (options with { Unescape = true, DisableColCountCheck = true }).From(stream);
        });
        try
        {
            names = [.. reader.Header.ColNames];
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
            if (row.ColCount != names.Length) throw new PermafrostException($"{path}:{line}: {row.ColCount} columns, where the header has {names.Length}");
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
        if (names[0].StartsWith("version https://git-lfs", StringComparison.Ordinal))
            throw new PermafrostException($"{path} is a Git LFS pointer, not the file it stands for; fetch that with `git lfs pull` in its folder");
        if (names.Any(name => name.Any(c => char.IsControl(c) || c == '\uFFFD')))
            throw new PermafrostException($"{path} is no table of delimited text: its first line holds bytes that are no text");
    }

    private int Find(string column)
    {
        int at = Array.IndexOf(names, column);
        string more = names.Length > 12 ? $" and {names.Length - 12} more" : "";
        return at >= 0 ? at : throw new PermafrostException($"{path} has no column '{column}'; it has {string.Join(", ", names.Take(12))}{more}");
    }

    private static bool HasDelimiter(string path)
    {
        using FileStream file = File.OpenRead(path);
        return new LineReader(file, path).Lines().FirstOrDefault() is { } header && header.AsSpan().ContainsAny(",;\t|");
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
        catch (Exception error) when (error is InvalidDataException or ArgumentException or NotSupportedException)
        {
            // A reader of lines knows where the bytes are that are no text.
            if (error is DecoderFallbackException) foreach (string _ in new LineReader(new MemoryStream(File.ReadAllBytes(path)), path).Lines()) { }
            throw new PermafrostException($"{path} is no table of delimited text: {error.Message.ReplaceLineEndings(" ").TrimEnd('.')}");
        }
    }
}
