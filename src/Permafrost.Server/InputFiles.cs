using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Permafrost.Data;

namespace Permafrost.Server;

/// <summary>
/// Rows of requests, read by the run's own task from a file of its format: what is answered here is what `permafrost predict` answers, down to the words of its errors.
/// The files lie in a folder of the server's own, and are gone with their request.
/// </summary>
internal sealed class InputFiles : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("permafrost-serve-").FullName;
    private readonly ServerOptions options;
    private long number;

    public InputFiles(ServerOptions options) => this.options = options;

    public void Dispose()
    {
        try
        {
            Directory.Delete(folder, recursive: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // A temporary folder that stays harms nothing.
        }
    }

    /// <summary>Rows of JSON: texts, lists of numbers, or objects.</summary>
    /// <param name="adapter">Whose.</param>
    /// <param name="rows">A line or record for each.</param>
    /// <exception cref="RequestException">A row is not what the task reads.</exception>
    public ReadInput FromRows(ServedAdapter adapter, IReadOnlyList<JsonElement> rows)
    {
        if (rows.Count == 0) throw RequestException.BadInput("the request holds no row");
        CheckCount(rows.Count);
        RowText text = RowText.Of(adapter, rows);
        ReadInput read = From(adapter, Encoding.UTF8.GetBytes(text.Content), text.Extension, line => $"row {text.FirstLines.Count(first => first <= line)}");
        if (read.Rows.Count == rows.Count) return read;
        read.Dispose();
        throw RequestException.BadInput($"{rows.Count} rows were sent and {read.Rows.Count} were read: a row is empty, or repeats the columns' names");
    }

    /// <summary>A file in the task's own format.</summary>
    /// <param name="adapter">Whose.</param>
    /// <param name="content">Its bytes.</param>
    /// <param name="extension">How its name ends, which tells tables and pictures from lines.</param>
    /// <exception cref="RequestException">It is damaged or of another shape.</exception>
    public ReadInput FromFile(ServedAdapter adapter, byte[] content, string extension) => From(adapter, content, extension, line => $"line {line}");

    private ReadInput From(ServedAdapter adapter, byte[] content, string extension, Func<int, string> unit)
    {
        // A packed body of a megabyte may hold a gigabyte.
        if (content is [0x1f, 0x8b, ..]) throw new RequestException(StatusCodes.Status415UnsupportedMediaType, "the body is packed by gzip; send it unpacked");
        // So may one of Parquet, which says how long its columns are before anything of them is read.
        if (content.AsSpan().StartsWith("PAR1"u8))
            throw new RequestException(StatusCodes.Status415UnsupportedMediaType, "the body is a Parquet file; send its rows as JSON or CSV");
        string path = Path.Combine(folder, $"{Interlocked.Increment(ref number)}{extension}");
        var parts = new List<IDataset>();
        try
        {
            File.WriteAllBytes(path, content);
            long count = 0;
            // One more than may be: a longer request is refused before all of it is read.
            foreach (IDataset part in adapter.Run.ReadInputs(path, options.MaxRows + 1))
            {
                parts.Add(part);
                CheckCount(count += part.Count ?? 0);
            }
            IDataset rows = parts.Count == 1 ? parts[0] : new JoinedRows([.. parts.Select(part => new RowSlice(part, 0, (int)part.Count!.Value))]);
            return new ReadInput(new RequestRows(rows, (int)count), parts, path, unit);
        }
        catch (Exception error)
        {
            new ReadInput(null!, parts, path, unit).Dispose();
            if (error is RequestException) throw;
            if (error is PermafrostException) throw RequestException.BadInput(ReadInput.Named(error.Message, path, unit));
            // Readers of files say so where bytes are no text, or a name stands twice.
            if (error is InvalidDataException or ArgumentException or FormatException or OverflowException)
                throw RequestException.BadInput($"the rows cannot be read: {ReadInput.Named(error.Message.ReplaceLineEndings(" ").TrimEnd('.'), path, unit)}");
            throw;
        }
    }

    private void CheckCount(long count)
    {
        if (count > options.MaxRows)
            throw new RequestException(
                StatusCodes.Status413PayloadTooLarge, $"the request has more than {options.MaxRows:N0} rows, the most that this server takes at once; send it in parts");
    }
}

/// <summary>A request's rows, and the file that they may still be read from.</summary>
/// <param name="rows">The rows.</param>
/// <param name="parts">What holds them.</param>
/// <param name="path">The file.</param>
/// <param name="unit">What a line of it is to the client, such as <c>row 3</c>.</param>
internal sealed class ReadInput(RequestRows rows, IReadOnlyList<IDataset> parts, string path, Func<int, string> unit) : IDisposable
{
    public RequestRows Rows => rows;

    /// <summary>An error of the rows that is found only as they are encoded, such as NaN; null for one of the model.</summary>
    public RequestException? BadInput(PermafrostException error) =>
        error.Message.Contains(path, StringComparison.Ordinal) ? RequestException.BadInput(Named(error.Message, path, unit)) : null;

    /// <summary>An error in the client's words: <c>row 3</c> for the third line of a file that nobody but the server knows.</summary>
    public static string Named(string message, string path, Func<int, string> unit)
    {
        message = Regex.Replace(message, Regex.Escape(path) + @":(\d{1,9})", match => unit(int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture)));
        return message.Replace(path, "the request", StringComparison.Ordinal);
    }

    public void Dispose()
    {
        foreach (IDataset part in parts) (part as IDisposable)?.Dispose();
        try
        {
            File.Delete(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // It goes with its folder.
        }
    }
}
