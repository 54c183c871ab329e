using System.Text;
using System.Text.Json;
using Permafrost.Runs;
using Permafrost.Tasks;

namespace Permafrost.Server;

/// <summary>Rows of JSON as the text file that a task reads.</summary>
/// <param name="Content">The file.</param>
/// <param name="Extension">How its name ends.</param>
/// <param name="FirstLines">The line that each row begins at, from 1.</param>
internal sealed record RowText(string Content, string Extension, IReadOnlyList<int> FirstLines)
{
    /// <summary>Writes the rows.</summary>
    /// <exception cref="RequestException">A row is none; the message says which.</exception>
    public static RowText Of(ServedAdapter adapter, IReadOnlyList<JsonElement> rows)
    {
        TaskDefinition task = adapter.Run.Task;
        // In a table a text may hold line ends.
        if (task is CsvTask && adapter.Source.Input is TextInput) return OfTexts(adapter.Run.Options.Data, rows);
        Func<JsonElement, int, string> line = task switch
        {
            JsonlTask => (row, i) => JsonLine(adapter, row, i),
            TableTask when adapter.Source.Input is not TextInput => (row, i) => TableLine(adapter, row, i),
            TimeSeriesTask => SeriesLine,
            PairTask => PairLine,
            _ => PlainLine,
        };
        var content = new StringBuilder();
        for (int i = 0; i < rows.Count; i++)
        {
            string text = line(rows[i], i);
            if (string.IsNullOrWhiteSpace(text)) throw RequestException.BadInput($"row {i + 1} is empty");
            content.Append(text).Append('\n');
        }
        return new RowText(content.ToString(), task is JsonlTask ? ".jsonl" : ".txt", [.. Enumerable.Range(1, rows.Count)]);
    }

    // A table as the run's settings lay it out.
    private static RowText OfTexts(DataOptions data, IReadOnlyList<JsonElement> rows)
    {
        string Setting(string key) => data.TaskOptions.GetValueOrDefault(key) ?? "";
        bool quotes = Setting("quotes") != "none", header = Setting("header") != "false";
        string delimiter = Setting("delimiter") switch { "semicolon" => ";", "tab" => "\t", "bar" => "|", "comma" => ",", _ => quotes ? "," : "\t" };
        string column = data.TextColumn ?? "text";
        string Field(string text) => quotes ? $"\"{text.Replace("\"", "\"\"", StringComparison.Ordinal)}\"" : OneLine(text).Replace(delimiter, " ", StringComparison.Ordinal);
        // Without names the column is found by its place. A column behind it, so that the delimiter is known whatever the texts hold.
        string before = header || !int.TryParse(column, out int place) ? "" : string.Concat(Enumerable.Repeat(delimiter, place - 1));
        var table = new StringBuilder(header ? $"{Field(column)}{delimiter}{Field(column == "-" ? "--" : "-")}\n" : "");
        (var first, int at) = (new List<int>(), header ? 2 : 1);
        for (int i = 0; i < rows.Count; i++)
        {
            string text = Text(rows[i].ValueKind == JsonValueKind.Object ? Member(rows[i], column, i) : rows[i], i);
            table.Append(before).Append(Field(text)).Append(delimiter).Append('\n');
            first.Add(at);
            at += quotes ? text.ReplaceLineEndings("\n").Count(c => c == '\n') + 1 : 1;
        }
        return new RowText(table.ToString(), ".csv", first);
    }

    /// <summary>The text of an element that must be one.</summary>
    /// <exception cref="RequestException">It is none, is empty, or holds half a character.</exception>
    public static string Text(JsonElement row, int number)
    {
        if (row.ValueKind != JsonValueKind.String) throw RequestException.BadInput($"row {number + 1} is {Kind(row)}, and a text is expected");
        try
        {
            string text = row.GetString()!;
            return string.IsNullOrWhiteSpace(text) ? throw RequestException.BadInput($"row {number + 1} is empty") : text;
        }
        catch (InvalidOperationException)
        {
            throw RequestException.BadInput($"row {number + 1} holds half of a character (an unpaired surrogate)");
        }
    }

    private static string Kind(JsonElement row) => row.ValueKind switch
    {
        JsonValueKind.Array => "a list",
        JsonValueKind.Object => "an object",
        JsonValueKind.Number => "a number",
        JsonValueKind.String => "a text",
        JsonValueKind.Null => "null",
        _ => "true or false",
    };

    private static JsonElement Member(JsonElement row, string name, int number) =>
        row.TryGetProperty(name, out JsonElement value) ? value : throw RequestException.BadInput($"row {number + 1} has no '{Short(name)}'");

    private static string Short(string text) => text.Length > 40 ? text[..40] + "..." : text;

    private static string OneLine(string text) => text.ReplaceLineEndings(" ");

    private static string JsonLine(ServedAdapter adapter, JsonElement row, int number)
    {
        if (row.ValueKind == JsonValueKind.Object) return Compact(row);
        string key = adapter.Source.Input switch { TextInput => adapter.Run.Options.Data.TextColumn ?? "text", IdInput => "tokens", _ => "values" };
        if (adapter.Source.Input is TextInput) _ = Text(row, number);
        return $"{{\"{JsonEncodedText.Encode(key)}\":{Compact(row)}}}";
    }

    // On one line, whatever line ends it was sent with.
    private static string Compact(JsonElement row)
    {
        using var buffer = new MemoryStream();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            try
            {
                row.WriteTo(writer);
            }
            catch (InvalidOperationException)
            {
                throw RequestException.BadInput("a text holds half of a character (an unpaired surrogate)");
            }
        }
        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    private static string TableLine(ServedAdapter adapter, JsonElement row, int number)
    {
        if (row.ValueKind == JsonValueKind.Array) return Numbers(row, number, ",");
        if (row.ValueKind != JsonValueKind.Object) return PlainLine(row, number);
        IReadOnlyList<string> columns = AdapterInfo.ColumnsOf(adapter.Source);
        foreach (JsonProperty given in row.EnumerateObject())
            if (!columns.Contains(given.Name)) throw RequestException.BadInput($"row {number + 1} has '{Short(given.Name)}', and the run has no such column");
        return string.Join(',', columns.Select(column => Number(Member(row, column, number), number)));
    }

    // T lists of C numbers become C channels of T.
    private static string SeriesLine(JsonElement row, int number)
    {
        if (row.ValueKind != JsonValueKind.Array) return PlainLine(row, number);
        JsonElement[] steps = [.. row.EnumerateArray()];
        if (steps.Length == 0 || steps[0].ValueKind != JsonValueKind.Array) return Readings(steps, number);
        int channels = steps[0].GetArrayLength();
        if (channels == 0 || steps.Any(step => step.ValueKind != JsonValueKind.Array || step.GetArrayLength() != channels))
            throw RequestException.BadInput($"row {number + 1}: every step is a list of as many numbers, one for each channel");
        JsonElement[][] grid = [.. steps.Select(step => step.EnumerateArray().ToArray())];
        return string.Join(':', Enumerable.Range(0, channels).Select(channel => Readings([.. grid.Select(step => step[channel])], number)));
    }

    private static string Readings(JsonElement[] readings, int number) =>
        string.Join(',', readings.Select(reading => reading.ValueKind == JsonValueKind.Null ? "?" : Number(reading, number)));

    private static string PairLine(JsonElement row, int number)
    {
        if (row.ValueKind != JsonValueKind.Array) return row.ValueKind == JsonValueKind.String ? OneLine(Text(row, number)) : throw NoPair(number);
        JsonElement[] pair = [.. row.EnumerateArray()];
        if (pair.Length != 2) throw NoPair(number);
        return string.Join('\t', pair.Select(text => OneLine(Text(text, number)).Replace('\t', ' ')));
    }

    private static RequestException NoPair(int number) => RequestException.BadInput($"row {number + 1} is no pair: two texts in a list are expected");

    private static string PlainLine(JsonElement row, int number) => row.ValueKind == JsonValueKind.Array ? Numbers(row, number, " ") : OneLine(Text(row, number));

    private static string Numbers(JsonElement row, int number, string between) => string.Join(between, row.EnumerateArray().Select(value => Number(value, number)));

    private static string Number(JsonElement value, int number) =>
        value.ValueKind == JsonValueKind.Number ? value.GetRawText() : throw RequestException.BadInput($"row {number + 1} holds {Kind(value)} where a number is expected");
}
