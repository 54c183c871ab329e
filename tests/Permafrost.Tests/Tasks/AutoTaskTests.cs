using Permafrost.Runs;
using Permafrost.Tasks;

namespace Permafrost.Tests.Tasks;

/// <summary>The task that data tells: by name, by content, or not at all.</summary>
public sealed class AutoTaskTests : IDisposable
{
    private const string Series = "@data\n1,2:a\n3,4:b\n";

    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    [Theory]
    [InlineData("a.csv", "x", "csv")]
    [InlineData("a.TSV", "x", "csv")]
    [InlineData("a.jsonl", "{", "jsonl")]
    [InlineData("a.ts", Series, "timeseries")]
    [InlineData("a.fasta", "x", "fasta")]
    [InlineData("a.fa", "x", "fasta")]
    [InlineData("sequences", ">a x\nAC\n", "fasta")]
    [InlineData("a.parquet", "x", "parquet")]
    [InlineData("table", "PAR1", "parquet")]
    [InlineData("a.safetensors", "x", "tensors")]
    [InlineData("train-images", "\0\0\b\u0003", "idx")]
    [InlineData("own/cat/1.PNG", "", "images")]
    public void Names_and_first_bytes_tell(string name, string content, string task)
    {
        string path = folder.Write(name, content);
        Assert.Equal(task, AutoTask.Choose(task == "images" ? folder["own"] : path));
    }

    [Theory]
    [InlineData("a.csv.gz", "a,label\n", "csv")]
    [InlineData("a.ts.gz", Series, "timeseries")]
    [InlineData("a.jsonl.gz", "{", "jsonl")]
    [InlineData("digits.gz", "\0\0\b\u0004", "idx")]
    [InlineData("proteins.gz", ">a", "fasta")]
    public void So_do_those_of_packed_files(string name, string content, string task) => Assert.Equal(task, AutoTask.Choose(Packed(name, content)));

    [Fact]
    public void What_cannot_be_told_is_refused_with_the_tasks_that_there_are()
    {
        string Refused(string path) => Refusal.Of(path, () => AutoTask.Choose(path));
        Assert.Contains("csv, jsonl, timeseries, fasta, parquet, tensors, idx, images", Refused(folder.Write("notes.txt", "hello")), StringComparison.Ordinal);
        Assert.Contains("name a `task`", Refused(folder.Write("empty", "")), StringComparison.Ordinal);
        Assert.Contains("unpack it", Refused(Packed("a.safetensors.gz", "a")), StringComparison.Ordinal);
        Assert.Contains("without folders of PNG", Refused(folder.Path), StringComparison.Ordinal);
        Assert.Contains("does not exist", Refused(folder["nowhere.csv"]), StringComparison.Ordinal);
        Assert.Contains("is damaged", Refused(folder.Write("a.ts.gz", [0x1f, 0x8b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])), StringComparison.Ordinal);
        Refusal.OfUsage("`data`", () => new AutoTask().Load(new TaskOptions()));
    }

    [Fact]
    public void What_was_taken_is_said_and_kept_for_new_inputs()
    {
        string path = folder.Write("a.ts", Series);
        using TaskData data = new AutoTask().Load(new TaskOptions(path) { ValidationFraction = 0, TestFraction = 0 });
        Assert.Equal($"{path} is taken for data of the task timeseries", data.Notes[0]);
        Assert.Equal(1, Assert.Single(new AutoTask().ReadInputs(folder.Write("lines", "1,2\n"), data.Spec, new TaskOptions(), 10)).Count);
        Refusal.OfUsage("task_options.patch does not exist for the task timeseries", () =>
            new AutoTask().Load(new TaskOptions(path, Settings: new Dictionary<string, string> { ["patch"] = "2" })));
    }

    [Fact]
    public void Baselines_name_the_task_that_was_taken()
    {
        string path = folder.Write("a.ts", Series);
        Assert.Equal("timeseries", TaskBaselines.Measure(new DataOptions { Path = path, TestData = path }, []).Task);
        Assert.Equal("timeseries", TaskBaselines.Measure(new DataOptions { Task = "auto", Path = path, TestData = path }, []).Task);
        Refusal.OfUsage("`task` is missing", () => TaskBaselines.Measure(new DataOptions(), []));
    }

    private string Packed(string name, string content)
    {
        using var bytes = new MemoryStream();
        using (var packing = new System.IO.Compression.GZipStream(bytes, System.IO.Compression.CompressionLevel.Fastest)) packing.Write(System.Text.Encoding.UTF8.GetBytes(content));
        return folder.Write(name, bytes.ToArray());
    }
}
