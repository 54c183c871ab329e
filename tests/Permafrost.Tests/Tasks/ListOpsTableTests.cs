using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Runs;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;
using Permafrost.Tests.Runs;

namespace Permafrost.Tests.Tasks;

/// <summary>Tables of Long Range Arena's, to train on, and data that no task reads.</summary>
public class ListOpsTableTests : IDisposable
{
    private const string Header = "Source\tTarget\n";
    private static readonly string[] Names = ["basic_train.tsv", "basic_val.tsv", "basic_test.tsv"];

    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [InlineData("bit-xor")]
    [InlineData("bit-memory")]
    public void A_generated_task_refuses_data(string task)
    {
        string path = folder.Write("data.tsv", "0\n");
        string message = Refusal.OfUsage(path, () => TaskRegistry.Find(task).Task.Load(new TaskOptions(path)));
        Assert.Contains($"{task} generates its examples", message, StringComparison.Ordinal);
        Assert.Contains("`data`", message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_of_three_tables_is_used_as_it_is()
    {
        WriteFolder();
        using TaskData data = new ListOps().Load(new TaskOptions(folder.Path));
        Assert.False(data.IsGenerated);
        Assert.Equal([2, 1, 1], new[] { data.Train, data.Validation!, data.Test! }.Select(split => split.Count!.Value));
        Batch batch = data.Train.Get([1, 0]);
        // [MAX 4 [SM 7 5 ] 1 ] with 5 to 14 for the digits 0 to 9, and 15 for the bracket; then [MIN 3 9 ], padded.
        Assert.Equal([2L, 9, 4, 12, 10, 15, 6, 15, 1, 8, 14, 15, 0, 0, 0, 0], batch.Inputs.ToArray<long>());
        Assert.Equal([1L, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0], batch.Mask!.ToArray<long>());
        Assert.Equal([4L, 3], batch.Targets.ToArray<long>());
        Assert.Equal([4, 8], data.Train.Lengths!);
        Assert.Equal(8, data.Spec.Input.Length);
        Assert.Equal(7, data.Test!.Get([0]).Targets.Integer());
        // first_operator answers 3 for [MIN, which is 7 here; root minds the digits only.
        IReadOnlyDictionary<string, double> baselines = TrivialBaselines.Measure(data, new ListOps());
        Assert.Equal((0.0, 1.0), (baselines["first_operator"], baselines["root"]));
    }

    [Fact]
    public void The_published_reading_loses_the_brackets_of_a_table()
    {
        WriteFolder();
        using TaskData data = new ListOps().Load(new TaskOptions(folder.Path, "published"));
        Batch batch = data.Train.Get([0]);
        Assert.Equal([1, 512], batch.Inputs.shape);
        Assert.Equal([1L, 8, 14, 0], batch.Inputs.ToArray<long>()[..4]);
        Assert.Null(batch.Mask);
        Assert.Equal(15, data.Spec.Vocabulary);
    }

    [Fact]
    public void A_file_is_split_at_random_and_alike_for_every_seed()
    {
        string path = folder.Write("all.tsv", Header + string.Concat(Enumerable.Range(0, 20).Select(i => $"[SM {i / 10} {i % 10} ]\t{(i / 10 + i % 10) % 10}\n")));
        string[] Rows(IDataset? split) => [.. Enumerable.Range(0, (int)(split?.Count ?? 0)).Select(i => string.Join(' ', split!.Get([i]).Inputs.ToArray<long>()))];
        using TaskData data = new ListOps().Load(new TaskOptions(path, Seed: 1, ValidationFraction: 0.15, TestFraction: 0.25));
        using TaskData again = new ListOps().Load(new TaskOptions(path, Seed: 2, ValidationFraction: 0.15, TestFraction: 0.25));
        string[][] splits = [Rows(data.Train), Rows(data.Validation), Rows(data.Test)];
        Assert.Equal([12, 3, 5], splits.Select(rows => rows.Length));
        Assert.Equal(20, splits.SelectMany(rows => rows).Distinct().Count());
        Assert.Equal(splits, [Rows(again.Train), Rows(again.Validation), Rows(again.Test)]);
        using TaskData whole = new ListOps().Load(new TaskOptions(path, ValidationFraction: 0, TestFraction: 0));
        Assert.Equal((20L, null, null), (whole.Train.Count, whole.Validation, whole.Test));
        Refusal.Of("`validation_fraction`", () => new ListOps().Load(new TaskOptions(folder.Write("one.tsv", Header + "7\t7\n"))));
    }

    [Theory]
    [InlineData("Source\tTarget\n[MAX 4 2 ]\t4\n[MAX 1 2 ]\t1\n", ":3: the expression's value is 2, its Target 1")]
    [InlineData("Source\tTarget\n\n[MAX 1 2\t2\n", ":3: '[MAX' is not closed")]
    [InlineData("Source\tTarget\n[MAX 1 2 ]\n", ":2: ")]
    [InlineData("Source\tTarget\n[MAX 1 2 ]\t12\n", ":2: ")]
    [InlineData("Source\tTarget\n[FIRST 1 2 ]\t1\n", ":2: the task does not know '[FIRST'")]
    [InlineData("[MAX 1 2 ]\t2\n", ":1: ")]
    [InlineData("Source\tTarget\n", " holds no expression")]
    [InlineData("", " holds no expression")]
    public void A_wrong_table_is_refused_with_its_line(string text, string mention)
    {
        string path = folder.Write("all.tsv", text);
        Assert.StartsWith(path + mention, Refusal.Of(path, () => new ListOps().Load(new TaskOptions(path, ValidationFraction: 0, TestFraction: 0))), StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_missing_or_has_no_meaning_is_named()
    {
        WriteFolder();
        var settings = new Dictionary<string, string> { ["train_examples"] = "9" };
        Refusal.OfUsage("task_options.train_examples", () => new ListOps().Load(new TaskOptions(folder.Path, Settings: settings)));
        File.Delete(folder["basic_val.tsv"]);
        Refusal.Of("basic_val.tsv", () => new ListOps().Load(new TaskOptions(folder.Path)));
        Refusal.Of(folder["nowhere.tsv"], () => new ListOps().Load(new TaskOptions(folder["nowhere.tsv"])));
    }

    [Fact]
    public void A_run_on_a_table_knows_every_example_and_answers_what_is_as_long()
    {
        WriteFolder();
        using var tiny = new TinyRun();
        RunOptions options = tiny.Options.Change(o => o with { Data = o.Data with { Task = "listops", Path = folder.Path } });
        (RunFolder trained, _) = tiny.Train(options);
        using (Finetuning run = Finetuning.Open(trained.Path, withData: true))
        {
            Assert.Equal(1, run.Score("test", 2, CancellationToken.None)!.Count);
            Assert.Single(run.Predict(folder.Write("in.txt", "[MAX 4 [SM 7 5 ] 1 ]"), 2));
            Refusal.Of("9 tokens, more than the 8", () => run.Predict(folder.Write("in.txt", "[MAX 4 [SM 7 5 ] 1 2 ]"), 2).Count());
        }
        string Sha() { using var run = Finetuning.Prepare(options); return run.Identity().DataSha256; }
        string before = Sha();
        folder.Write("basic_test.tsv", Header + "[MIN 7 9 ]\t7\n");
        Assert.NotEqual(before, Sha());
    }

    [Fact]
    public void Expressions_longer_than_the_positions_are_refused()
    {
        WriteFolder();
        folder.Write("basic_test.tsv", Header + $"[MIN {string.Join(' ', Enumerable.Repeat(3, 30))} ]\t3\n");
        using var tiny = new TinyRun();
        Refusal.Of("positions", () => Finetuning.Prepare(tiny.Options.Change(o => o with { Data = o.Data with { Task = "listops", Path = folder.Path } })));
    }

    private void WriteFolder()
    {
        string[] rows = ["[MIN 3 9 ]\t3\n( ( ( [MAX 4 ) ( [SM 7 5 ] ) ) 1 ) ]\t4\n", "[MAX 1 2 ]\t2\n", "[MIN 8 7 ]\t7\n"];
        foreach ((string name, string text) in Names.Zip(rows)) folder.Write(name, Header + text);
    }
}
