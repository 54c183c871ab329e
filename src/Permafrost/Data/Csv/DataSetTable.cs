using System.Text;
using nietras.SeparatedValues;
using Permafrost.Formats;

namespace Permafrost.Data.Csv;

/// <summary>Rows of a data set's delimited file as they are published: with a header or without, in any encoding, plain or packed by gzip.</summary>
internal static class DataSetTable
{
    /// <summary>The first of some names that a folder has, plain or .gz.</summary>
    /// <exception cref="PermafrostException">It has none of them.</exception>
    public static string Find(string folder, params string[] names) =>
        Array.Find([.. names.SelectMany(name => new[] { Path.Combine(folder, name), Path.Combine(folder, name + ".gz") })], File.Exists)
        ?? throw new PermafrostException($"{folder} has no {string.Join(" and no ", names)} (plain or .gz); name the folder that has it with `data`");

    /// <summary>The rows of a file, each with the line that it begins on.</summary>
    /// <param name="path">The file.</param>
    /// <param name="delimiter">Between fields; where it is no tab, those in quotes may hold it, quotes doubled, and line ends.</param>
    /// <param name="encoding">Of its text; null for UTF-8.</param>
    /// <exception cref="PermafrostException">It cannot be read, or is no table.</exception>
    public static IEnumerable<(string Where, string[] Fields)> Rows(string path, char delimiter = ',', Encoding? encoding = null)
    {
        using var reader = Guarded(path, () =>
        {
            Stream stream = Gzip.Unpacked(File.OpenRead(path));
            bool quotes = delimiter != '\t';
            try
            {
                return Sep.New(delimiter).Reader(with => with with { HasHeader = false, Unescape = quotes, DisableQuotesParsing = !quotes, DisableColCountCheck = true })
                    .From(new StreamReader(stream, encoding ?? new UTF8Encoding(false, throwOnInvalidBytes: true)));
            }
            catch
            {
                stream.Dispose();
                throw;
            }
        });
        bool any = false;
        while (Guarded(path, () => Next(reader)) is { } row)
        {
            any = true;
            yield return (TextLines.Name(path, row.Line), row.Fields);
        }
        if (!any) throw new PermafrostException($"{path} holds no rows");
    }

    /// <summary>The rows of a file whose first row names the columns, as the columns that are wanted.</summary>
    /// <param name="path">The file.</param>
    /// <param name="columns">Of each column, the names that it may have.</param>
    /// <param name="delimiter">Between fields.</param>
    /// <exception cref="PermafrostException">It cannot be read, is no table, lacks a column, or has a ragged row.</exception>
    public static IEnumerable<(string Where, string[] Fields)> Named(string path, string[][] columns, char delimiter = ',')
    {
        string[]? header = null;
        int[] places = [];
        foreach ((string where, string[] fields) in Rows(path, delimiter))
        {
            if (header is null)
            {
                header = fields;
                places = [.. columns.Select(names => Array.FindIndex(fields, names.Contains))];
                int missing = Array.IndexOf(places, -1);
                if (missing >= 0) throw new PermafrostException($"{path} has no column {string.Join(" or ", columns[missing])}; it has {string.Join(", ", fields.Take(12))}");
                continue;
            }
            if (fields.Length != header.Length) throw new PermafrostException($"{where}: {fields.Length} columns, where the header has {header.Length}");
            yield return (where, [.. places.Select(place => fields[place])]);
        }
    }

    private static (int Line, string[] Fields)? Next(SepReader reader)
    {
        while (reader.MoveNext())
        {
            SepReader.Row row = reader.Current;
            var fields = new string[row.ColCount];
            for (int i = 0; i < fields.Length; i++) fields[i] = row[i].ToString();
            if (fields.Length > 1 || !string.IsNullOrWhiteSpace(fields[0])) return (row.LineNumberFrom, fields);
        }
        return null;
    }

    private static T Guarded<T>(string path, Func<T> read)
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
            throw new PermafrostException($"{path} is no table of delimited text, or is damaged: {error.Message.ReplaceLineEndings(" ").TrimEnd('.')}");
        }
    }
}
