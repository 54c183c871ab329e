using System.Globalization;
using Permafrost.Formats;

namespace Permafrost.Data;

/// <summary>
/// Labelled series as the UCR and UEA archives have them: .ts files (sktime's form: a header of lines with @, then a line for each series, its channels between colons and the
/// label last), and tables of a label and readings in each row, between tabs, commas, semicolons or blanks. Plain or packed by gzip.
/// </summary>
internal static class SeriesFile
{
    private static readonly string[] LabelNames = ["", "label", "labels", "class", "target", "id"];

    /// <summary>The series of a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="labelLast">Whether a table's labels are in its last column, and not in its first.</param>
    /// <exception cref="PermafrostException">It cannot be read, or a line is no series; the message names it.</exception>
    public static (Series Series, string Label, string Where)[] Read(string path, bool labelLast = false)
    {
        var rows = new List<(Series, string, string)>();
        bool? isTs = null;
        (bool inData, bool labelled, char delimiter) = (false, true, ',');
        foreach ((int number, string line) in Lines(path))
        {
            string where = TextLines.Name(path, number);
            bool first = isTs is null;
            isTs ??= line[0] is '@' or '#';
            if (isTs == false)
            {
                if (first) delimiter = Array.Find(['\t', ',', ';'], line.Contains) is var one and not '\0' ? one : ' ';
                string[] fields = Fields(line, delimiter);
                if (!first || !IsHeader(labelLast ? fields[^1] : fields[0], labelLast ? fields[..^1] : fields[1..])) rows.Add(OfTable(where, fields, labelLast));
                continue;
            }
            if (line[0] == '#' && !inData) continue;
            if (line[0] == '@')
            {
                Heading(where, line, ref inData, ref labelled);
                continue;
            }
            if (!inData) throw new PermafrostException($"{where}: a line of data before @data");
            rows.Add(OfTs(where, line, labelled));
        }
        if (rows.Count == 0) throw new PermafrostException($"{path} holds no series");
        int channels = rows[0].Item1.Channels;
        foreach ((Series series, _, string where) in rows)
            if (series.Channels != channels) throw new PermafrostException($"{where}: {series.Channels} channel(s), where the first series has {channels}");
        return [.. rows];
    }

    /// <summary>A series without a label: readings between commas or blanks, channels between colons, ? or NaN where one is missing.</summary>
    /// <exception cref="PermafrostException">It is none.</exception>
    public static Series Parse(string where, string line) => Joined(where, line.Split(':'));

    private static IEnumerable<(int Number, string Line)> Lines(string path)
    {
        IEnumerable<string> all;
        FileStream file;
        try
        {
            file = File.OpenRead(path);
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
        using Stream stream = Gzip.Unpacked(file);
        all = new LineReader(stream, path).Lines();
        int number = 0;
        foreach (string line in all)
        {
            number++;
            if (line.AsSpan().Trim().Length > 0) yield return (number, line.Trim());
        }
    }

    private static void Heading(string where, string line, ref bool inData, ref bool labelled)
    {
        string[] words = line.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
        switch (words[0].ToUpperInvariant())
        {
            case "@DATA":
                inData = true;
                break;
            case "@TIMESTAMPS" when words.Length > 1 && words[1].Equals("true", StringComparison.OrdinalIgnoreCase):
                throw new PermafrostException($"{where}: series with time stamps are not read; write readings at even steps, and @timeStamps false");
            case "@CLASSLABEL" or "@TARGETLABEL":
                labelled = words.Length > 1 && words[1].Equals("true", StringComparison.OrdinalIgnoreCase);
                break;
        }
    }

    private static (Series, string, string) OfTs(string where, string line, bool labelled)
    {
        string[] parts = line.Split(':');
        if (labelled && parts.Length < 2) throw new PermafrostException($"{where}: no label behind the last colon");
        return (Joined(where, labelled ? parts[..^1] : parts), labelled ? Label(where, parts[^1]) : "", where);
    }

    // Several blanks are one.
    private static string[] Fields(string line, char delimiter) =>
        delimiter == ' ' ? line.Split(' ', StringSplitOptions.RemoveEmptyEntries) : line.Split(delimiter, StringSplitOptions.TrimEntries);

    // Names of the columns: no reading among them, or steps that are counted beside the name of a label.
    private static bool IsHeader(string label, string[] readings)
    {
        static bool IsReading(string field) => MissingValue.Is(field) || float.TryParse(field, NumberStyles.Float, CultureInfo.InvariantCulture, out _);
        if (readings.Length > 0 && !Array.Exists(readings, IsReading)) return true;
        bool Counts(int from) => readings.Index().All(field => field.Item == (from + field.Index).ToString(CultureInfo.InvariantCulture));
        return readings.Length > 1 && (Counts(0) || Counts(1)) && LabelNames.Contains(label.Trim('"'), StringComparer.OrdinalIgnoreCase);
    }

    // UCR's tables fill shorter series up with NaN at their ends.
    private static (Series, string, string) OfTable(string where, string[] fields, bool labelLast)
    {
        if (fields.Length < 2) throw new PermafrostException($"{where}: not a label and readings, between tabs, commas, semicolons or blanks");
        float[] values = [.. (labelLast ? fields[..^1] : fields[1..]).Select(field => Reading(where, field))];
        int end = Array.FindLastIndex(values, value => !float.IsNaN(value)) + 1;
        if (end == 0) throw new PermafrostException($"{where}: the series has no reading at all");
        return (new Series(values[..end], 1), Label(where, labelLast ? fields[^1] : fields[0]), where);
    }

    private static string Label(string where, string text) =>
        text.Trim() is { Length: > 0 } label ? label : throw new PermafrostException($"{where}: the label is empty");

    private static Series Joined(string where, string[] channels)
    {
        // Between commas a reading may be missing; several blanks are one.
        static string[] Fields(string channel) => channel.AsSpan().ContainsAny(',', ';') ? channel.Split([',', ';'], StringSplitOptions.TrimEntries)
            : channel.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
        // 0,5;0,6 would be four readings where two are meant.
        if (channels.Any(channel => channel.Contains(',', StringComparison.Ordinal) && channel.Contains(';', StringComparison.Ordinal)))
            throw new PermafrostException($"{where}: commas and semicolons stand between the readings; write one of them, and decimals behind a point");
        float[][] readings = [.. channels.Select(channel => Fields(channel).Select(field => Reading(where, field)).ToArray())];
        int steps = readings[0].Length;
        if (steps == 0) throw new PermafrostException($"{where}: the series has no reading");
        int ragged = Array.FindIndex(readings, channel => channel.Length != steps);
        if (ragged >= 0) throw new PermafrostException($"{where}: channel {ragged} has {readings[ragged].Length} readings, the first has {steps}");
        var values = new float[steps * readings.Length];
        for (int step = 0; step < steps; step++) for (int channel = 0; channel < readings.Length; channel++) values[step * readings.Length + channel] = readings[channel][step];
        if (values.All(float.IsNaN)) throw new PermafrostException($"{where}: the series has no reading at all");
        return new Series(values, readings.Length);
    }

    private static float Reading(string where, string field)
    {
        if (field is "?" or "" || field.Equals("nan", StringComparison.OrdinalIgnoreCase)) return float.NaN;
        if (!float.TryParse(field, NumberStyles.Float, CultureInfo.InvariantCulture, out float value))
        {
            string hint = field.Contains(',', StringComparison.Ordinal) ? "; decimals stand behind a point" : "";
            throw new PermafrostException($"{where}: '{(field.Length > 40 ? field[..40] + "..." : field)}' is not a reading{hint}");
        }
        return float.IsFinite(value) ? value : throw new PermafrostException($"{where}: the reading {field} is not finite, so that nothing can be computed with it");
    }
}
