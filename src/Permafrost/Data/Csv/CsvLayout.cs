namespace Permafrost.Data.Csv;

/// <summary>How a delimited file is laid out, where that is said and not found.</summary>
/// <param name="Delimiter">Between fields; null to find it.</param>
/// <param name="HasHeader">Whether the first line names the columns; null to find out.</param>
/// <param name="Quotes">Whether fields in quotes may hold delimiters, quotes and line ends; otherwise a quote is a character like others.</param>
/// <param name="DecimalComma">Whether a comma, and no point, stands before a number's decimals.</param>
internal sealed record CsvLayout(char? Delimiter = null, bool? HasHeader = null, bool Quotes = true, bool DecimalComma = false)
{
    private const string DelimiterKey = "delimiter", HeaderKey = "header", QuotesKey = "quotes", DecimalKey = "decimal";

    private static readonly Dictionary<string, char> Delimiters = new() { ["comma"] = ',', ["semicolon"] = ';', ["tab"] = '\t', ["bar"] = '|' };

    /// <summary>The settings that say it.</summary>
    public static IReadOnlyList<string> Settings { get; } = [DelimiterKey, HeaderKey, QuotesKey, DecimalKey];

    /// <summary>Whether a reader has these settings, so that errors may name them.</summary>
    public bool HasSettings { get; private init; }

    /// <summary>The layout that settings say.</summary>
    /// <exception cref="UsageException">A setting is none of its values.</exception>
    public static CsvLayout Of(IReadOnlyDictionary<string, string>? settings)
    {
        string Value(string key, string fallback, params string[] values)
        {
            string value = settings?.GetValueOrDefault(key) ?? fallback;
            return values.Contains(value) ? value : throw new UsageException($"task_options.{key} is '{value}'; it must be {string.Join(", ", values[..^1])} or {values[^1]}");
        }
        string delimiter = Value(DelimiterKey, "auto", [.. Delimiters.Keys.Prepend("auto")]), header = Value(HeaderKey, "auto", "auto", "true", "false");
        return new CsvLayout(
            delimiter == "auto" ? null : Delimiters[delimiter], header == "auto" ? null : header == "true",
            Value(QuotesKey, "double", "double", "none") == "double", Value(DecimalKey, "point", "point", "comma") == "comma")
        { HasSettings = true };
    }
}
