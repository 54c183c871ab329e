using Parquet;
using Parquet.Schema;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tests.Tokenizers;

namespace Permafrost.Tests.Tasks;

/// <summary>Parquet files of one's own: which columns are read, and what is refused, with row and column.</summary>
public sealed class ParquetTaskTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    private static readonly string?[] Labels = ["x", "y", "x", "y"];

    private TaskOptions Of(string label = "label", string? text = null) =>
        new(folder["own.parquet"]) { LabelColumn = label, TextColumn = text, ValidationFraction = 0, TestFraction = 0, Tokenizer = () => SmallTokenizer.Instance };

    private TaskData Load(string label, string? text, params (string Name, Array Values)[] columns)
    {
        TestParquet.Write(folder["own.parquet"], columns);
        return new ParquetTask().Load(Of(label, text));
    }

    private string Refused(string where, string? text, params (string Name, Array Values)[] columns) => Refusal.Of(where, () => Load("label", text, columns));

    [Fact]
    public void Numbers_of_every_kind_are_columns_and_an_index_of_pandas_is_none()
    {
        using TaskData data = Load(
            "label", null, ("flag", new[] { true, false, true, false }), ("label", Labels), ("byte", new byte[] { 1, 2, 3, 4 }), ("short", new short[] { -1, 2, -3, 4 }),
            ("long", new long[] { 1, 2, 3, 4 }), ("maybe", new double?[] { 1, 2, 3, 4 }), ("single", new float[] { 1, 2, 3, 4 }), ("money", new decimal[] { 1, 2, 3, 4 }),
            ("__index_level_0__", new long[] { 0, 1, 2, 3 }));
        Assert.Equal("""["flag","byte","short","long","maybe","single","money"]""", data.Spec.Preprocessing["columns"]);
        float third = 0.5f / MathF.Sqrt(1.25f);
        float[] expected = [1, third, -3.5f / MathF.Sqrt(7.25f), third, third, third, third];  // the short's: -3 of -1, 2, -3 and 4, whose mean is a half
        Assert.All(data.Train.Get([2]).Inputs.ToArray<float>().Zip(expected), pair => Assert.Equal(pair.Second, pair.First, 1e-5f));
    }

    [Fact]
    public void Whole_numbers_beyond_doubles_are_labels_of_their_own()
    {
        using TaskData data = Load("label", null, ("label", new[] { 9007199254740992L, 9007199254740993L, 9007199254740992L, 9007199254740993L }), ("a", new[] { 1, 2, 3, 4 }));
        Assert.Equal(["9007199254740992", "9007199254740993"], ((ClassOutput)data.Spec.Output).Labels);
    }

    [Fact]
    public void Numbers_may_be_missing_and_asked_for()
    {
        TestParquet.Write(folder["own.parquet"], ("price", new[] { 1.5, 2, 3, 4 }), ("a", new double?[] { 1, null, 3, 5 }));
        Assert.Contains("task_options.missing mean", Refusal.Of("row 2: the column 'a'", () => new ParquetTask().Load(Of("price"))), StringComparison.Ordinal);
        using TaskData data = new ParquetTask().Load(Of("price") with { Settings = new Dictionary<string, string> { ["missing"] = "mean", ["answer"] = "number" } });
        Assert.Equal([1.5f, 2], data.Train.Get([0, 1]).Targets.ToArray<float>());
        Assert.Equal(0, data.Train.Get([1]).Inputs.ToArray<float>()[0]);
    }

    [Fact]
    public void Texts_and_labels_of_other_kinds_are_read()
    {
        using TaskData texts = Load("label", "said", ("said", new string?[] { "one", "two", "three", "four" }), ("label", new[] { 10, 9, 10, 9 }), ("other", Labels));
        Assert.Equal(["one", "two", "three", "four"], ((TextRows)texts.Train).Texts);
        Assert.Equal(["10", "9"], ((ClassOutput)texts.Spec.Output).Labels);
        using TaskData flags = Load("label", null, ("label", new[] { true, false, true, false }), ("a", new[] { 1, 2, 3, 4 }));
        Assert.Equal(["false", "true"], ((ClassOutput)flags.Spec.Output).Labels);
        IDataset lines = Assert.Single(new ParquetTask().ReadInputs(folder.Write("lines.txt", "1\n4\n"), flags.Spec, Of(), 10));
        Assert.Equal(2, lines.Count);
    }

    [Fact]
    public void Rows_and_columns_that_cannot_be_are_refused()
    {
        Assert.Contains("'a' holds no number", Refused("own.parquet, row 2", null, ("label", Labels), ("a", new double?[] { 1, null, 3, 4 })), StringComparison.Ordinal);
        Assert.Contains("'a' holds no number", Refused("own.parquet, row 3", null, ("label", Labels), ("a", new[] { 1, 2, float.NaN, 4 })), StringComparison.Ordinal);
        Assert.Contains("'label' is empty", Refused("own.parquet, row 4", null, ("label", new[] { "x", "y", "x", null }), ("a", new[] { 1, 2, 3, 4 })), StringComparison.Ordinal);
        Assert.Contains("'said' is empty", Refused("own.parquet, row 1", "said", ("label", Labels), ("said", new[] { " ", "b", "c", "d" })), StringComparison.Ordinal);
        Refused("the column 'said' holds texts, not numbers", null, ("label", Labels), ("said", Labels));
        Refused("the column 'a' holds Int32 values, not texts", "a", ("label", Labels), ("a", new[] { 1, 2, 3, 4 }));
        Refused("the column 'when' holds DateTime values", null, ("label", Labels), ("when", new DateTime[4]));
        Refused("no column 'label'; it has a", null, ("a", new[] { 1, 2, 3, 4 }));
        Assert.EndsWith("own.parquet has a", Refusal.OfUsage("`label_column`", () => new ParquetTask().Load(new TaskOptions(folder["own.parquet"]))), StringComparison.Ordinal);
        Refused("no column of numbers beside 'label'", null, ("label", Labels));
        Refused("every row has the label 'x'", null, ("label", new string?[] { "x", "x" }), ("a", new[] { 1, 2 }));
        Refused("holds no rows", null, ("label", Array.Empty<string?>()), ("a", Array.Empty<int>()));
    }

    [Fact]
    public void Columns_of_lists_are_refused_by_name()
    {
        TestParquet.WriteLists(folder["own.parquet"]);
        Refusal.Of("the column 'steps' holds lists or records", () => new ParquetTask().Load(Of()));
    }

    [Fact]
    public void Damaged_files_are_refused()
    {
        Load("label", null, ("label", Labels), ("a", new[] { 1, 2, 3, 4 })).Dispose();
        byte[] whole = File.ReadAllBytes(folder["own.parquet"]);
        var random = new CounterRandom("damage", 0, 0);
        for (int i = 0; i < 300; i++)
        {
            byte[] damaged = [.. whole];
            for (int flips = 0; flips < 1 + i % 3; flips++) damaged[random.Next(damaged.Length)] ^= (byte)(1 << random.Next(8));
            File.WriteAllBytes(folder["own.parquet"], i % 10 == 0 ? damaged[..random.Next(damaged.Length)] : damaged);
            Exception? error = Record.Exception(() => new ParquetTask().Load(Of()).Dispose());  // a value that changed is a value
            Assert.True(error is null or PermafrostException, $"{error}");
        }
        folder.Write("own.parquet", "a,label\n1,x\n");
        Assert.Contains("no Parquet file", Refusal.Of("own.parquet", () => new ParquetTask().Load(Of())), StringComparison.Ordinal);
        File.Delete(folder["own.parquet"]);
        Refusal.Of("does not exist", () => new ParquetTask().Load(Of()));
    }
}

/// <summary>Parquet files for tests.</summary>
internal static class TestParquet
{
    /// <summary>Writes columns of one length, in row groups of 50.</summary>
    public static void Write(string path, params (string Name, Array Values)[] columns) => Task.Run(() => WriteAsync(path, columns)).GetAwaiter().GetResult();

    /// <summary>Writes labels, and a list for each.</summary>
    public static void WriteLists(string path) => Task.Run(async () =>
    {
        var item = new DataField<int>("element");
        var label = new DataField<string>("label");
        var schema = new ParquetSchema(label, new ListField("steps", item));
        await using FileStream file = File.Create(path);
        await using ParquetWriter writer = await ParquetWriter.CreateAsync(schema, file);
        using ParquetRowGroupWriter group = writer.CreateRowGroup();
        await group.WriteAsync(label, new string[] { "x", "y" });
        await group.WriteAllPartsAsync<int>(item, new[] { 1, 2, 3 }, Enumerable.Repeat(item.MaxDefinitionLevel, 3).ToArray(), new[] { 0, 1, 0 }, CancellationToken.None);
    }).GetAwaiter().GetResult();

    private static async Task WriteAsync(string path, (string Name, Array Values)[] columns)
    {
        DataField[] fields = [.. columns.Select(column => Field(column.Name, column.Values.GetType().GetElementType()!))];
        await using FileStream file = File.Create(path);
        await using ParquetWriter writer = await ParquetWriter.CreateAsync(new ParquetSchema(fields), file);
        int rows = columns[0].Values.Length;
        for (int first = 0; first < rows; first += 50)
        {
            using ParquetRowGroupWriter group = writer.CreateRowGroup();
            for (int i = 0; i < fields.Length; i++) await WriteColumn(group, fields[i], columns[i].Values, first, Math.Min(50, rows - first));
        }
    }

    private static DataField Field(string name, Type type) =>
        type == typeof(decimal) ? new DecimalDataField(name, 20, 4) : new DataField(name, Nullable.GetUnderlyingType(type) ?? type, type == typeof(string) || Nullable.GetUnderlyingType(type) is not null);

    private static Task WriteColumn(ParquetRowGroupWriter group, DataField field, Array values, int first, int count) => values switch
    {
        string?[] own => group.WriteAsync(field, own[first..(first + count)]!),
        double?[] own => group.WriteAsync<double>(field, own.AsMemory(first, count)),
        bool[] own => group.WriteAsync<bool>(field, own.AsMemory(first, count)),
        byte[] own => group.WriteAsync<byte>(field, own.AsMemory(first, count)),
        short[] own => group.WriteAsync<short>(field, own.AsMemory(first, count)),
        int[] own => group.WriteAsync<int>(field, own.AsMemory(first, count)),
        long[] own => group.WriteAsync<long>(field, own.AsMemory(first, count)),
        float[] own => group.WriteAsync<float>(field, own.AsMemory(first, count)),
        double[] own => group.WriteAsync<double>(field, own.AsMemory(first, count)),
        decimal[] own => group.WriteAsync<decimal>(field, own.AsMemory(first, count)),
        DateTime[] own => group.WriteAsync<DateTime>(field, own.AsMemory(first, count)),
        _ => throw new NotSupportedException($"{values.GetType()}"),
    };
}
