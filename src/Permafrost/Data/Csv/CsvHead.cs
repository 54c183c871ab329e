using System.Globalization;
using Permafrost.Formats;

namespace Permafrost.Data.Csv;

/// <summary>What the first lines of a delimited file tell.</summary>
/// <param name="Delimiter">What stands between fields.</param>
/// <param name="IsHeader">Whether the first line names the columns.</param>
/// <param name="Fields">How many fields the first line has.</param>
internal sealed record CsvHead(char Delimiter, bool IsHeader, int Fields)
{
    // In this order where several do as well.
    private const string Delimiters = "\t;|,";
    private const int Looked = 20;

    /// <summary>Looks at a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="layout">What is known of its layout.</param>
    /// <param name="wanted">What is to be read of it: a line with those names is a header.</param>
    public static CsvHead Of(string path, CsvLayout layout, TableColumns wanted)
    {
        using Stream stream = Gzip.Unpacked(File.OpenRead(path));
        // As the reader of rows: a line is what begins outside quotes.
        string[] lines = [.. new LineReader(stream, path).Lines().Where(line => line.Length > 0).Take(Looked)];
        string first = lines.FirstOrDefault() ?? "";
        char delimiter = layout.Delimiter ?? Find(path, lines, layout.Quotes);
        string[] fields = [.. Split(first, delimiter, layout.Quotes).Select(field => ((layout.Quotes ? CsvFile.Unquoted(field) : null) ?? field).Trim())];
        return new CsvHead(delimiter, layout.HasHeader ?? Names(fields, layout, wanted), fields.Length);
    }

    // That which the most lines have as often as the first.
    private static char Find(string path, string[] lines, bool quotes)
    {
        if (lines.Length == 0) return ',';
        char[] there = [.. Delimiters.Where(one => Split(lines[0], one, quotes).Count > 1)];
        if (there.Length == 0) return IsNamedTsv(path) ? '\t' : ',';
        if (IsNamedTsv(path) && there[0] == '\t') return '\t';
        return there.MaxBy(one => lines.Count(line => Split(line, one, quotes).Count == Split(lines[0], one, quotes).Count));
    }

    private static List<string> Split(string line, char delimiter, bool quotes)
    {
        (var fields, int start, bool within) = (new List<string>(), 0, false);
        for (int i = 0; i < line.Length; i++)
        {
            if (quotes && line[i] == '"') within = !within;
            if (line[i] != delimiter || within) continue;
            fields.Add(line[start..i]);
            start = i + 1;
        }
        fields.Add(line[start..]);
        return fields;
    }

    // What pandas writes over columns without names, 0, 1, 2, is a header too, and so is whatever names the columns that are wanted. Years may be names, but no 5.1 and no -3, and
    // nothing that is there twice.
    private static bool Names(string[] fields, CsvLayout layout, TableColumns wanted)
    {
        bool IsNumber(string field) => float.TryParse(
            layout.DecimalComma ? field.Replace(',', '.') : field, NumberStyles.Float, CultureInfo.InvariantCulture, out float number) && float.IsFinite(number);
        if (fields.All(field => !IsNumber(field))) return true;
        if (wanted.Numbers is { Count: > 0 } columns && columns.All(fields.Contains)) return true;
        bool Counts(int from) => fields.Index().All(field => field.Item == (from + field.Index).ToString(CultureInfo.InvariantCulture));
        if (fields.All(IsNumber)) return Counts(0) || Counts(1);
        if (new[] { wanted.Label, wanted.Text }.Any(name => name is not null && !IsNumber(name) && fields.Contains(name))) return true;
        string[] numbers = [.. fields.Where(IsNumber)];
        return numbers.All(number => number.All(char.IsAsciiDigit)) && numbers.Distinct().Count() == numbers.Length;
    }

    private static bool IsNamedTsv(string path) => path.EndsWith(".tsv", StringComparison.OrdinalIgnoreCase) || path.EndsWith(".tsv.gz", StringComparison.OrdinalIgnoreCase);
}
