using System.IO.Compression;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tests.Tokenizers;

namespace Permafrost.Tests.Tasks;

/// <summary>Tables of one's own: texts or numbers, their splits, and what a finished run makes of other tables.</summary>
public sealed class CsvTaskTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    private static TaskOptions Of(string data, string? text = null) => new(data) { LabelColumn = "label", TextColumn = text, Tokenizer = () => SmallTokenizer.Instance };

    private string Numbers(string name, int rows, string columns = "a,b") =>
        folder.Write(name, $"{columns},label\n" + string.Join('\n', Enumerable.Range(0, rows).Select(i => $"{i},{10 - i},{"xy"[i % 2]}")) + "\n");

    private string Texts(string name, int rows) => folder.Write(name, "text,label\n" + string.Join('\n', Enumerable.Range(0, rows).Select(i => $"word {i},{"xy"[i % 2]}")) + "\n");

    private static float[] All(IDataset split) => split.Get([.. Enumerable.Range(0, (int)split.Count!).Select(i => (long)i)]).Inputs.ToArray<float>();

    [Fact]
    public void Rows_of_every_label_are_held_out_the_same_for_every_run()
    {
        string path = Texts("all.csv", 100);
        using TaskData one = new CsvTask().Load(Of(path, "text")), two = new CsvTask().Load(Of(path, "text") with { Seed = 5 });
        Assert.Equal((80, 10, 10), ((int)one.Train.Count!, (int)one.Validation!.Count!, (int)one.Test!.Count!));
        Assert.Equal(5, ((TextRows)one.Test).Targets.Count(target => target == 0));
        Assert.Equal(((TextRows)one.Test).Texts, ((TextRows)two.Test!).Texts);
        Assert.Equal(100, new[] { one.Train, one.Validation, one.Test }.SelectMany(split => ((TextRows)split).Texts).Distinct().Count());
    }

    [Fact]
    public void Tables_that_are_named_are_taken_whole()
    {
        TaskOptions options = Of(Texts("train.csv", 50), "text") with { ValidationPath = Texts("validation.csv", 8), TestPath = Texts("test.csv", 9) };
        using TaskData data = new CsvTask().Load(options), half = new CsvTask().Load(options with { TestPath = null });
        Assert.Equal((50, 8, 9), ((int)data.Train.Count!, (int)data.Validation!.Count!, (int)data.Test!.Count!));
        Assert.Equal((44, 8, 6), ((int)half.Train.Count!, (int)half.Validation!.Count!, (int)half.Test!.Count!));
    }

    [Fact]
    public void Numbers_are_scaled_by_the_training_rows_of_the_run_whatever_table_is_scored()
    {
        using TaskData trained = new CsvTask().Load(Of(Numbers("train.csv", 40)) with { TestPath = Numbers("test.csv", 10) });
        string[] rows = ["3,4,x", "5,6,y", "3,4,x", "5,6,y"];
        string other = folder.Write("other.csv", "label,b,a\n" + string.Join('\n', rows.Select(row => $"{row.Split(',')[2]},{row.Split(',')[1]},{row.Split(',')[0]}")) + "\n");
        TaskOptions later = Of(other) with { Trained = trained.Spec, ValidationPath = other, TestPath = other };
        using TaskData scored = new CsvTask().Load(later);
        // The columns are found by name.
        string lines = folder.Write("lines.txt", "a,b\n3,4\n5,6\n");
        float[] given = All(new CsvTask().ReadInputs(lines, trained.Spec, Of(lines)));
        Assert.Equal(given, All(scored.Test!)[..given.Length]);
        float[] table = All(new CsvTask().ReadInputs(other, trained.Spec, Of(other)));
        Assert.Equal(All(scored.Test!), table);
    }

    [Fact]
    public void A_label_or_a_column_that_the_run_did_not_have_is_refused()
    {
        using TaskData trained = new CsvTask().Load(Of(Numbers("train.csv", 40)));
        string label = folder.Write("label.csv", "a,b,label\n1,2,z\n1,2,z\n"), column = Numbers("column.csv", 10, "a,c");
        Refusal.Of("'z'", () => new CsvTask().Load(Of(label) with { Trained = trained.Spec }));
        Refusal.Of("no column 'b'", () => new CsvTask().Load(Of(column) with { Trained = trained.Spec }));
        Refusal.Of("no column 'b'", () => new CsvTask().ReadInputs(column, trained.Spec, Of(column)));
        string more = folder.Write("more.csv", "a,b,c,label\n1,2,3,x\n1,2,3,y\n");
        Refusal.Of("no column 'c'", () => new CsvTask().Load(Of(more) with { Trained = trained.Spec }));
        Refusal.Of("no column 'c'", () => new CsvTask().Load(Of(Numbers("again.csv", 40)) with { TestPath = more }));
        Refusal.Of("no column 'c'", () => new CsvTask().ReadInputs(more, trained.Spec, Of(more)));
        Refusal.Of("lines.txt:2", () => new CsvTask().ReadInputs(folder.Write("lines.txt", "1,2\n1,2,3\n"), trained.Spec, Of("")));
        Refusal.Of("lines.txt:1: 'one'", () => new CsvTask().ReadInputs(folder.Write("lines.txt", "one,2\n"), trained.Spec, Of("")));
        Refusal.OfUsage("`data`", () => new CsvTask().Load(new TaskOptions { LabelColumn = "label" }));
    }

    [Fact]
    public void A_first_line_of_numbers_is_a_row_and_a_packed_file_is_one_like_others()
    {
        string rows = string.Join('\n', Enumerable.Range(0, 20).Select(i => $"{i},{10.5 - i},{i % 2}")) + "\n";
        string plain = folder.Write("plain.csv", rows), packed = folder["packed.csv.gz"], inputs = folder.Write("inputs.csv", "3,4\n5,6\n");
        using (var zip = new GZipStream(File.Create(packed), CompressionMode.Compress)) zip.Write(File.ReadAllBytes(plain));
        using TaskData data = new CsvTask().Load(Of(plain) with { LabelColumn = "3" }), unpacked = new CsvTask().Load(Of(packed) with { LabelColumn = "3" });
        Assert.Equal(20, (int)(data.Train.Count! + data.Validation!.Count! + data.Test!.Count!));
        Assert.Contains("has no header", Assert.Single(data.Notes), StringComparison.Ordinal);
        Assert.Equal(All(data.Test!), All(unpacked.Test!));
        Assert.Equal(4, All(new CsvTask().ReadInputs(inputs, data.Spec, Of(""))).Length);
        Assert.Contains("it has 1, 2, 3", Refusal.Of("no column '4'", () => new CsvTask().Load(Of(plain) with { LabelColumn = "4" })), StringComparison.Ordinal);
        Refusal.Of("first line has 2", () => new CsvTask().Load(Of(folder.Write("ragged.csv", "1.5,2\n1,2,3\n")) with { LabelColumn = "2" }));
        // What pandas writes over columns without names, and the names of a run, are headers.
        using TaskData named = new CsvTask().Load(Of(folder.Write("named.csv", "0,1,2\n" + rows)) with { LabelColumn = "2" });
        Assert.Empty(named.Notes);
        using TaskData years = new CsvTask().Load(Of(Numbers("years.csv", 20, "2001,2002")));
        Assert.Equal(4, All(new CsvTask().ReadInputs(folder.Write("later.csv", "2001,2002\n3,4\n5,6\n"), years.Spec, Of(""))).Length);
    }

    [Fact]
    public void A_column_that_is_called_as_labels_are_is_taken_and_said()
    {
        using TaskData data = new CsvTask().Load(new TaskOptions(Numbers("own.csv", 20)));
        Assert.Contains("the column 'label'", data.Notes[0], StringComparison.Ordinal);
        string message = Refusal.OfUsage("`label_column`", () => new CsvTask().Load(new TaskOptions(folder.Write("other.csv", "a,kind\n1,x\n2,y\n"))));
        Assert.Contains("has a, kind;", message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_held_out_is_said_where_a_finished_run_is_scored_or_nothing_could_be()
    {
        string path = Texts("all.csv", 100), few = folder.Write("few.csv", "text,label\nwon,x\nlost,y\n");
        using TaskData trained = new CsvTask().Load(Of(path, "text")), again = new CsvTask().Load(Of(path, "text") with { Trained = trained.Spec }), small = new CsvTask().Load(Of(few, "text"));
        Assert.Empty(trained.Notes);
        Assert.Contains("of the 100 rows", Assert.Single(again.Notes), StringComparison.Ordinal);
        Assert.Contains("no label has rows enough", Assert.Single(small.Notes), StringComparison.Ordinal);
        Assert.Null(small.Test);
    }

    [Fact]
    public void Texts_are_as_long_as_the_body_takes_and_no_longer_than_asked()
    {
        string path = Texts("all.csv", 40);
        int Length(TaskOptions options)
        {
            using TaskData data = new CsvTask().Load(options);
            return data.Spec.SequenceLength;
        }
        Assert.Equal(256, Length(Of(path, "text")));
        Assert.Equal(64, Length(Of(path, "text") with { LongestInput = () => 64 }));
        Assert.Equal(30, Length(Of(path, "text") with { LongestInput = () => 64, MaxLength = 30 }));
        Refusal.OfUsage("`max_length` is 65", () => Length(Of(path, "text") with { LongestInput = () => 64, MaxLength = 65 }));
        Refusal.OfUsage("`max_length` is 2", () => Length(Of(path, "text") with { MaxLength = 2 }));
    }
}
