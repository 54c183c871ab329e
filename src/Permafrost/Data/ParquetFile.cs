using System.Globalization;
using Parquet;
using Parquet.Schema;
using Permafrost.Formats;
using Permafrost.Kernels.Interop;

namespace Permafrost.Data;

/// <summary>A Parquet file of flat columns, read row group by row group. Whatever is wrong is said with file, row and column.</summary>
internal sealed class ParquetFile : ITableFile
{
    // What a data frame keeps beside its columns; it is no measurement.
    private const string PandasIndex = "__index_level_0__";
    private const long MostRowsOfGroup = 1 << 27;

    private readonly string path;
    private readonly TableColumns wanted;
    private readonly Stream stream;
    private readonly ParquetReader reader;
    private readonly IReadOnlyList<Field> fields;
    private readonly DataField? label;
    private readonly DataField? text;
    private readonly DataField[] numbers;

    /// <summary>Opens a file and reads its schema.</summary>
    /// <param name="path">The file.</param>
    /// <param name="wanted">What to read of it.</param>
    /// <exception cref="PermafrostException">It is missing, is no Parquet file, or lacks a column.</exception>
    public ParquetFile(string path, TableColumns wanted)
    {
        (this.path, this.wanted) = (path, wanted);
        stream = Opened(path);
        try
        {
            GitLfsPointer.Refuse(stream, path);
            reader = Guarded(() => ParquetReader.CreateAsync(stream, leaveStreamOpen: true));
            fields = Guarded(() => Task.FromResult(reader.Schema.Fields));  // decoded only here
            label = wanted.Label is null ? null : Find(wanted.Label);
            text = wanted.Text is null ? null : Find(wanted.Text);
            if (label is not null && label.Equals(text))
                throw new PermafrostException($"{path}: the column '{wanted.Text}' is named for the texts and for the labels; they are two columns");
            if (text is not null && !IsText(text)) throw new PermafrostException($"{path}: the column '{text.Name}' holds {Kind(text)}, not texts");
            Columns = wanted.Text is not null ? [] : wanted.Numbers
                ?? [.. fields.Select(field => field.Name).Where(name => name != wanted.Label && name != PandasIndex)];
            numbers = wanted.NamesOnly ? [] : [.. Columns.Select(Find)];
            if (wanted.NamesOnly) return;
            if (text is null && numbers.Length == 0) throw new PermafrostException($"{path} has no column of numbers beside '{wanted.Label}'");
            if (Array.Find(numbers, field => !IsNumber(field)) is { } other)
                throw new PermafrostException($"{path}: the column '{other.Name}' holds {Kind(other)}, not numbers; take it out, or, where it holds texts, name it as theirs");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The names of a file's columns.</summary>
    /// <exception cref="PermafrostException">It is missing, or is no Parquet file.</exception>
    public static IReadOnlyList<string> Names(string path)
    {
        using var file = new ParquetFile(path, new TableColumns(null, null, null, NamesOnly: true));
        return file.Columns;
    }

    /// <summary>Whether a file is named or begins as one.</summary>
    public static bool IsLike(string path)
    {
        if (path.EndsWith(".parquet", StringComparison.OrdinalIgnoreCase)) return true;
        if (!File.Exists(path)) return false;
        using FileStream file = Opened(path);
        Span<byte> first = stackalloc byte[4];
        return file.ReadAtLeast(first, 4, throwOnEndOfStream: false) == 4 && first.SequenceEqual("PAR1"u8);
    }

    /// <inheritdoc/>
    public IReadOnlyList<string> Columns { get; }

    /// <inheritdoc/>
    public IReadOnlyList<string> Unread => text is not null ? []
        : [.. fields.Select(column => column.Name).Where(name => name != label?.Name && name != PandasIndex && !Columns.Contains(name))];

    /// <inheritdoc/>
    public IEnumerable<TableRow> Rows()
    {
        int row = 0;
        for (int group = 0; group < reader.RowGroupCount; group++)
        {
            int number = group;
            (string?[]? labels, string?[]? texts, double[][] columns, int rows) = Guarded(() => Group(number));
            for (int i = 0; i < rows; i++)
            {
                row++;
                var values = new float[numbers.Length];
                for (int column = 0; column < values.Length; column++) values[column] = Number(columns[column][i], row, numbers[column].Name);
                yield return new TableRow(row, Words(labels?[i], label, row), Words(texts?[i], text, row), values);
            }
        }
        if (row == 0) throw new PermafrostException($"{path} holds no rows");
    }

    /// <summary>Closes the file.</summary>
    public void Dispose()
    {
        // Reading is over: what is left to do waits for nothing.
        if (reader is not null) Task.Run(() => reader.DisposeAsync().AsTask()).GetAwaiter().GetResult();
        stream.Dispose();
    }

    private async Task<(string?[]? Labels, string?[]? Texts, double[][] Numbers, int Rows)> Group(int number)
    {
        using ParquetRowGroupReader group = reader.OpenRowGroupReader(number);
        if (group.RowCount is < 0 or > MostRowsOfGroup)
            throw new PermafrostException($"{path}: a row group of {group.RowCount:N0} rows; write the file with at most {MostRowsOfGroup:N0} a group");
        int rows = (int)group.RowCount;
        string?[]? labels = label is null ? null : await Strings(group, label, rows).ConfigureAwait(false);
        string?[]? texts = text is null ? null : await Strings(group, text, rows).ConfigureAwait(false);
        var columns = new double[numbers.Length][];
        for (int column = 0; column < columns.Length; column++) columns[column] = await Numbers(group, numbers[column], rows).ConfigureAwait(false);
        return (labels, texts, columns, rows);
    }

    private async Task<string?[]> Strings(ParquetRowGroupReader group, DataField field, int rows)
    {
        if (IsText(field))
        {
            var words = new string?[rows];
            await group.ReadAsync(field, words.AsMemory()).ConfigureAwait(false);
            return words;
        }
        if (field.ClrType == typeof(long)) return await Written<long>(group, field, rows).ConfigureAwait(false);
        if (field.ClrType == typeof(ulong)) return await Written<ulong>(group, field, rows).ConfigureAwait(false);
        bool isFlag = field.ClrType == typeof(bool);
        string Text(double number) => isFlag ? (number == 0 ? "false" : "true") : number.ToString("R", CultureInfo.InvariantCulture);
        return [.. (await Numbers(group, field, rows).ConfigureAwait(false)).Select(number => double.IsNaN(number) ? null : Text(number))];
    }

    // Not as doubles, of which several whole numbers beyond 2^53 share one.
    private static async Task<string?[]> Written<T>(ParquetRowGroupReader group, DataField field, int rows) where T : struct, IFormattable
    {
        if (!field.IsNullable)
        {
            var all = new T[rows];
            await group.ReadAsync<T>(field, all.AsMemory()).ConfigureAwait(false);
            return [.. all.Select(value => value.ToString(null, CultureInfo.InvariantCulture))];
        }
        var values = new T?[rows];
        await group.ReadAsync<T>(field, values.AsMemory()).ConfigureAwait(false);
        return [.. values.Select(value => value?.ToString(null, CultureInfo.InvariantCulture))];
    }

    // NaN where there is no number.
    private Task<double[]> Numbers(ParquetRowGroupReader group, DataField field, int rows) => Type.GetTypeCode(field.ClrType) switch
    {
        TypeCode.Boolean => Read<bool>(group, field, rows),
        TypeCode.SByte => Read<sbyte>(group, field, rows),
        TypeCode.Byte => Read<byte>(group, field, rows),
        TypeCode.Int16 => Read<short>(group, field, rows),
        TypeCode.UInt16 => Read<ushort>(group, field, rows),
        TypeCode.Int32 => Read<int>(group, field, rows),
        TypeCode.UInt32 => Read<uint>(group, field, rows),
        TypeCode.Int64 => Read<long>(group, field, rows),
        TypeCode.UInt64 => Read<ulong>(group, field, rows),
        TypeCode.Single => Read<float>(group, field, rows),
        TypeCode.Double => Read<double>(group, field, rows),
        TypeCode.Decimal => Read<decimal>(group, field, rows),
        _ => throw new PermafrostException($"{path}: the column '{field.Name}' holds {Kind(field)}, neither texts nor numbers"),
    };

    private static async Task<double[]> Read<T>(ParquetRowGroupReader group, DataField field, int rows) where T : struct, IConvertible
    {
        if (!field.IsNullable)
        {
            var all = new T[rows];
            await group.ReadAsync<T>(field, all.AsMemory()).ConfigureAwait(false);
            return [.. all.Select(value => value.ToDouble(CultureInfo.InvariantCulture))];
        }
        var values = new T?[rows];
        await group.ReadAsync<T>(field, values.AsMemory()).ConfigureAwait(false);
        return [.. values.Select(value => value?.ToDouble(CultureInfo.InvariantCulture) ?? double.NaN)];
    }

    private string Words(string? value, DataField? column, int row)
    {
        if (column is null) return "";
        string own = value?.Trim() ?? "";
        return own.Length > 0 || (wanted.LabelMayBeEmpty && column.Equals(label)) ? own
            : throw new PermafrostException($"{path}, row {row}: the column '{column.Name}' is empty; every row needs a {(column.Equals(label) ? "label" : "text")}");
    }

    private float Number(double value, int row, string column)
    {
        float number = (float)value;
        if (float.IsFinite(number) || (wanted.MayMiss && double.IsNaN(value))) return number;
        string what = double.IsNaN(value) ? "no number" : value.ToString(CultureInfo.InvariantCulture);
        throw new PermafrostException($"{path}, row {row}: the column '{column}' holds {what}, with which nothing can be computed; mend the row or leave it out"
            + (double.IsNaN(value) ? ", or say task_options.missing mean" : ""));
    }

    private DataField Find(string column)
    {
        string more = fields.Count > 12 ? $" and {fields.Count - 12} more" : "";
        Field field = fields.FirstOrDefault(one => one.Name == column)
            ?? throw new PermafrostException($"{path} has no column '{column}'; it has {string.Join(", ", fields.Take(12).Select(one => one.Name))}{more}");
        return field is DataField { IsArray: false } flat ? flat
            : throw new PermafrostException($"{path}: the column '{column}' holds lists or records; only flat columns are read: take it out, or write its items as columns");
    }

    private static bool IsNumber(DataField field) => Type.GetTypeCode(field.ClrType) is >= TypeCode.Boolean and <= TypeCode.Decimal and not TypeCode.Char;

    // The reader's own types of texts and of bytes.
    private static bool IsText(DataField field) => field.ClrType == typeof(string) || field.ClrType == typeof(ReadOnlyMemory<char>);

    private static string Kind(DataField field) => IsText(field) ? "texts" : field.ClrType == typeof(byte[]) || field.ClrType == typeof(ReadOnlyMemory<byte>)
        ? "bytes" : $"{field.ClrType.Name} values";

    private static FileStream Opened(string path)
    {
        try
        {
            return File.OpenRead(path);
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
    }

    // On a thread of the pool, so that no caller's context is waited for. What the reader throws at damaged bytes is of any kind, a null reference too.
    private T Guarded<T>(Func<Task<T>> read)
    {
        try
        {
            return Task.Run(() =>
            {
                SignalStack.Enlarge();
                return read();
            }).GetAwaiter().GetResult();
        }
        catch (Exception error) when (error is not PermafrostException and not OutOfMemoryException)
        {
            throw new PermafrostException($"{path} is no Parquet file, or is damaged: {error.Message.ReplaceLineEndings(" ").TrimEnd('.')}");
        }
    }
}
