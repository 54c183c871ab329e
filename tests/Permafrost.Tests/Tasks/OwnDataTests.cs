using Permafrost.Kernels;
using Permafrost.Tasks;

namespace Permafrost.Tests.Tasks;

/// <summary>A user's own series and JSON lines: what is made of them, and what is refused, with the line.</summary>
public sealed class OwnDataTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    [Fact]
    public void Long_series_are_cut_into_as_few_steps_a_token_as_fit()
    {
        string path = folder.Write("long.csv", string.Concat(Enumerable.Range(0, 20).Select(i => $"{"ab"[i % 2]},{string.Join(',', Enumerable.Range(0, 700).Select(t => t + i))}\n")));
        using TaskData data = new TimeSeriesTask().Load(new TaskOptions(path));
        Assert.Equal(new VectorInput(3, 234), data.Spec.Input);
        Assert.Contains("3 step(s) a token", data.Notes[0], StringComparison.Ordinal);
        using TaskData narrow = new TimeSeriesTask().Load(new TaskOptions(path) { LongestInput = () => 100 });
        Assert.Equal(new VectorInput(7, 100), narrow.Spec.Input);
    }

    [Fact]
    public void Channels_are_scaled_by_the_training_series_and_missing_readings_count_as_the_mean()
    {
        string train = folder.Write("train.ts", "@data\n1,3:5,5:a\n1,?:5,5:b\n"), test = folder.Write("test.ts", "@data\n?,5:9,5:a\n");
        using TaskData data = new TimeSeriesTask().Load(new TaskOptions(train) { TestPath = test, ValidationFraction = 0 });
        double deviation = Math.Sqrt(((1 - 5 / 3.0) * (1 - 5 / 3.0) * 2 + (3 - 5 / 3.0) * (3 - 5 / 3.0)) / 3);
        float[] expected = [0, 0, (float)((5 - 5 / 3.0) / deviation), 0];
        Assert.All(expected.Zip(data.Test!.Get([0]).Inputs.ToArray<float>()), pair => Assert.Equal(pair.First, pair.Second, 1e-5f));
        Assert.Contains(data.Notes, note => note.Contains("2 series have missing readings", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("own.ts", "@data\n1,2:a\n1:2:b\n", "own.ts:3", "2 channel(s)")]
    [InlineData("own.ts", "@data\n1,2:1:a\n", "own.ts:2", "channel 1 has 1 readings")]
    [InlineData("own.ts", "@data\n1,x:a\n", "own.ts:2", "'x' is not a reading")]
    [InlineData("own.ts", "@data\n1,2\n", "own.ts:2", "no label")]
    [InlineData("own.ts", "@data\n1,2:\n", "own.ts:2", "label is empty")]
    [InlineData("own.ts", "@data\n?,?:a\n", "own.ts:2", "no reading at all")]
    [InlineData("own.ts", "@timeStamps true\n@data\n(0,1):a\n", "own.ts:1", "time stamps")]
    [InlineData("own.ts", "@relation x\n1,2:a\n", "own.ts:2", "before @data")]
    [InlineData("own.ts", "@data\n", "own.ts", "holds no series")]
    [InlineData("own.ts", "@data\n1,2:a\n1,2:a\n", "own.ts", "every example has the label 'a'")]
    [InlineData("own.tsv", "a\t1\t2\nb\tInfinity\t2\n", "own.tsv:2", "not finite")]
    [InlineData("own.tsv", "a\n", "own.tsv:1", "not a label and readings")]
    public void Series_that_cannot_be_are_refused_by_line(string name, string content, string where, string said)
    {
        string path = folder.Write(name, content);
        Assert.Contains(said, Refusal.Of(where, () => new TimeSeriesTask().Load(new TaskOptions(path))), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"text": "a", "label": 1}""", "[1]", "own.jsonl:2", "not a JSON object")]
    [InlineData("""{"text": "a", "label": 1}""", """{"text": "b"}""", "own.jsonl:2", "no `label`")]
    [InlineData("""{"text": "a", "label": 1}""", """{"values": [1], "label": 2}""", "own.jsonl:2", "all lines have the same")]
    [InlineData("""{"text": "", "label": 1}""", "{}", "own.jsonl:1", "empty one")]
    [InlineData("""{"tokens": [1, 2], "mask": [1, 0], "label": 1}""", "{}", "own.jsonl:1", "`mask` is not read")]
    [InlineData("""{"values": [1, 2], "attention_mask": [1, 0], "label": 1}""", "{}", "own.jsonl:1", "`attention_mask` is not read")]
    [InlineData("""{"label": 1}""", "{}", "own.jsonl:1", "none of `text`")]
    [InlineData("""{"tokens": [-1], "label": 1}""", "{}", "own.jsonl:1", "holds -1")]
    [InlineData("""{"tokens": [1.5], "label": 1}""", "{}", "own.jsonl:1", "holds 1.5")]
    [InlineData("""{"values": [[1], [1, 2]], "label": 1}""", "{}", "own.jsonl:1", "step 1")]
    [InlineData("""{"values": [1e999], "label": 1}""", "{}", "own.jsonl:1", "no number that float32 can hold")]
    [InlineData("""{"values": [[1, 2]], "label": 1}""", """{"values": [1], "label": 2}""", "own.jsonl:2", "1 number(s) a step")]
    [InlineData("""{"text": "a", "label": [1]}""", "{}", "own.jsonl:1", "no text, number")]
    [InlineData("""{"text": "a", "label": 1""", "{}", "own.jsonl:1", "not a JSON object")]
    public void Lines_that_cannot_be_are_refused(string first, string second, string where, string said)
    {
        string path = folder.Write("own.jsonl", first + "\n" + second + "\n");
        Assert.Contains(said, Refusal.Of(where, () => new JsonlTask().Load(new TaskOptions(path) { TestFraction = 0, ValidationFraction = 0 })), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(">a x\nAC\n>a y\nAC\n", "own.fasta:3", "the name a appears twice")]
    [InlineData(">a x\n>b y\nAC\n", "own.fasta:1", "has no letters")]
    [InlineData("AC\n>b y\nAC\n", "own.fasta:1", "before the first heading")]
    [InlineData(">a x\nA7C\n>b y\nAC\n", "own.fasta:1", "'7' at 2")]
    [InlineData(">a\nAC\n>b y\nAC\n", "own.fasta:1", "no label behind the name")]
    [InlineData("> \nAC\n", "own.fasta:1", "no name")]
    public void Sequences_that_cannot_be_are_refused(string content, string where, string said)
    {
        string path = folder.Write("own.fasta", content);
        Assert.Contains(said, Refusal.Of(where, () => new FastaTask().Load(new TaskOptions(path))), StringComparison.Ordinal);
    }

    [Fact]
    public void Labels_of_sequences_may_be_in_a_file_of_their_own()
    {
        string path = folder.Write("own.fa", ">a\nAC\n>b\nGT\n"), labels = folder.Write("labels.tsv", "a\tx\nb\ty\n"), half = folder.Write("half.tsv", "a\tx\n");
        TaskOptions With(string file) => new(path, Settings: new Dictionary<string, string> { ["labels"] = file }) { LongestInput = () => 1 };
        using TaskData data = new FastaTask().Load(With(labels));
        Assert.Equal(new IdInput(29, 1), data.Spec.Input);
        Assert.Contains("2 of 2 sequences have more than 1 letters", data.Notes[^1], StringComparison.Ordinal);
        Assert.Contains("has no label for it", Refusal.Of("own.fa:3", () => new FastaTask().Load(With(half))), StringComparison.Ordinal);
    }

    [Fact]
    public void Other_keys_can_be_named_and_labels_may_be_unknown()
    {
        string path = folder.Write("own.jsonl", string.Concat(Enumerable.Range(0, 20).Select(i => $$"""{"values": [{{i}}], "kind": {{(i % 2 == 0 ? "true" : "false")}}}""" + "\n")));
        using TaskData data = new JsonlTask().Load(new TaskOptions(path) { LabelColumn = "kind" });
        Assert.Equal(["false", "true"], ((ClassOutput)data.Spec.Output).Labels);
        string other = folder.Write("other.jsonl", """{"values": [1], "kind": "maybe"}""" + "\n");
        Assert.Contains("no example to train on has the label 'maybe'", Refusal.Of("other.jsonl:1", () => new JsonlTask().Load(new TaskOptions(path) { LabelColumn = "kind", TestPath = other })), StringComparison.Ordinal);
        Refusal.OfUsage("task_options.answer", () => new JsonlTask().Load(new TaskOptions(path, Settings: new Dictionary<string, string> { ["answer"] = "both" })));
    }

    [Theory]
    [InlineData("first", "a,1,2\nb,3,4\na,5,6\n")]
    [InlineData("first", "a;1;2\nb;3;4\na;5;6\n")]
    [InlineData("first", "  a   1 2\n  b   3 4\n  a   5 6\n")]
    [InlineData("first", "label,0,1\na,1,2\nb,3,4\na,5,6\n")]
    [InlineData("first", "what,t0,t1\na,1,2\nb,3,4\na,5,6\n")]
    [InlineData("last", "1,2,a\n3,4,b\n5,6,a\n")]
    [InlineData("last", "0,1,class\n1,2,a\n3,4,b\n5,6,a\n")]
    public void Tables_of_series_have_their_label_first_or_last_and_may_have_a_header(string at, string content)
    {
        string path = folder.Write("own.csv", content);
        TaskOptions options = new(path, Settings: new Dictionary<string, string> { ["label_at"] = at }, ValidationFraction: 0, TestFraction: 0);
        using TaskData data = new TimeSeriesTask().Load(options);
        Assert.Equal(["a", "b"], ((ClassOutput)data.Spec.Output).Labels);
        float[] given = data.Train.Get([0, 1, 2]).Inputs.ToArray<float>();
        Assert.Equal(6, given.Length);
        Assert.Equal(given, Assert.Single(new TimeSeriesTask().ReadInputs(path, data.Spec, options, 9)).Get([0, 1, 2]).Inputs.ToArray<float>());
        string lines = folder.Write("lines.txt", "1,2\n3,4\n5,6\n");
        Assert.Equal(given, Assert.Single(new TimeSeriesTask().ReadInputs(lines, data.Spec, options, 9)).Get([0, 1, 2]).Inputs.ToArray<float>());
        Refusal.Of("lines.txt:1: commas and semicolons", () => new TimeSeriesTask().ReadInputs(folder.Write("lines.txt", "0,5;0,6\n"), data.Spec, options, 9).ToArray());
        Refusal.Of("lines.txt:1: the reading at step 2", () => new TimeSeriesTask().ReadInputs(folder.Write("lines.txt", "0,3e38\n"), data.Spec with
        {
            Preprocessing = new Dictionary<string, string>(data.Spec.Preprocessing) { ["deviations"] = "1E-05" },
        }, options, 9).ToArray());
        Refusal.OfUsage("task_options.label_at", () => new TimeSeriesTask().Load(options with { Settings = new Dictionary<string, string> { ["label_at"] = "middle" } }));
    }

    [Fact]
    public void Columns_that_are_named_where_none_has_a_name_are_refused()
    {
        foreach (TaskDefinition task in new TaskDefinition[] { new TimeSeriesTask(), new FastaTask(), new ImagesTask(), new IdxTask() })
        {
            Refusal.OfUsage("`label_column` kind", () => new TaskOptions { LabelColumn = "kind" }.CheckTables(task));
            new TaskOptions { TestPath = "other" }.CheckTables(task);
        }
        string path = folder.Write("own.fasta", ">a x\nAC\n>b y\nAC\n");
        Refusal.OfUsage("`text_column` words", () => new AutoTask().Load(new TaskOptions(path) { TextColumn = "words" }));
    }

    [Fact]
    public void Another_file_of_which_a_share_is_scored_says_so()
    {
        string path = folder.Write("own.csv", string.Concat(Enumerable.Range(0, 40).Select(i => $"{"ab"[i % 2]},{i},{i + 1}\n")));
        using TaskData trained = new TimeSeriesTask().Load(new TaskOptions(path)), again = new TimeSeriesTask().Load(new TaskOptions(path) { Trained = trained.Spec });
        Assert.Contains(again.Notes, note => note.Contains("of the 40 examples", StringComparison.Ordinal) && note.Contains("4 test", StringComparison.Ordinal));
        Assert.DoesNotContain(trained.Notes, note => note.Contains("held out", StringComparison.Ordinal));
    }

    [Fact]
    public void Packed_lines_are_read_in_predictions_as_in_training_and_numbers_are_asked_for_of_texts()
    {
        string path = folder["own.jsonl.gz"];
        using (var zip = new System.IO.Compression.GZipStream(File.Create(path), System.IO.Compression.CompressionMode.Compress))
            zip.Write(System.Text.Encoding.UTF8.GetBytes("{\"text\": \"a\", \"label\": 1.5}\n{\"text\": \"b\", \"label\": -2}\n"));
        TaskOptions options = new(path, Settings: new Dictionary<string, string> { ["answer"] = "number" }, ValidationFraction: 0, TestFraction: 0) { Tokenizer = () => Tokenizers.SmallTokenizer.Instance };
        using TaskData data = new JsonlTask().Load(options);
        Assert.IsType<NumberOutput>(data.Spec.Output);
        Assert.Equal([1.5f, -2f], data.Train.Get([0, 1]).Targets.ToArray<float>());
        Assert.Equal(2, Assert.Single(new JsonlTask().ReadInputs(path, data.Spec, options, 9)).Count);
    }

    [Fact]
    public void Examples_that_are_trained_on_and_scored_are_counted()
    {
        string train = folder.Write("train.csv", "x,y,label\n1,2,a\n3,4,b\n5,6,a\n"), test = folder.Write("test.csv", "y,x,label\n2,1,a\n7,8,b\n");
        TaskOptions options = new(train, ValidationFraction: 0) { TestPath = test };
        using TaskData table = new CsvTask().Load(options);
        Assert.Contains(table.Notes, note => note.StartsWith("1 of 2 test example(s) are also", StringComparison.Ordinal));
        string lines = folder.Write("own.jsonl", """{"tokens": [1, 2], "label": 1}""" + "\n" + """{"tokens": [3], "label": 2}""" + "\n");
        using TaskData ids = new JsonlTask().Load(new TaskOptions(lines, TestFraction: 0) { ValidationPath = lines });
        Assert.Contains(ids.Notes, note => note.StartsWith("2 of 2 validation example(s)", StringComparison.Ordinal));
        string letters = folder.Write("own.fa", ">a x\nAC\n>b y\nGT\n");
        using TaskData proteins = new FastaTask().Load(new TaskOptions(letters, ValidationFraction: 0) { TestPath = letters });
        Assert.Contains(proteins.Notes, note => note.StartsWith("2 of 2 test", StringComparison.Ordinal));
        string series = folder.Write("own.ts", "@data\n1,2:a\n3,4:b\n");
        using TaskData readings = new TimeSeriesTask().Load(new TaskOptions(series, ValidationFraction: 0) { TestPath = series });
        Assert.Contains(readings.Notes, note => note.StartsWith("2 of 2 test", StringComparison.Ordinal));
    }
}
