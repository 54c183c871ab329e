using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tests.Tokenizers;

namespace Permafrost.Tests.Tasks;

/// <summary>JSON lines of texts with any number of labels keep every task's promises.</summary>
public class JsonLabelsContract : JsonTextsContract
{
    protected override Dictionary<string, string> Settings => new() { ["answer"] = "labels" };

    protected override string MakeData() =>
        Folder.Write("labels.jsonl", File.ReadAllText(base.MakeData()).Replace("\"up\"", "[\"up\", \"far; away\"]", StringComparison.Ordinal).Replace("\"down\"", "[\"down\"]", StringComparison.Ordinal));
}

/// <summary>So do ids with labels written as one text.</summary>
public class JsonTokenLabelsContract : JsonTokensContract
{
    protected override Dictionary<string, string> Settings => new() { ["answer"] = "labels", ["label_separator"] = "|" };

    protected override string MakeData()
    {
        string text = File.ReadAllText(base.MakeData());
        return Folder.Write("labels.jsonl", text.Replace("\"label\": 0", "\"label\": \"a | b\"", StringComparison.Ordinal));
    }
}

/// <summary>So do the numbers of a table.</summary>
public class CsvLabelsContract : OwnDataContract
{
    protected internal override string Name => "csv";

    protected override Dictionary<string, string> Settings => new() { ["answer"] = "labels" };

    protected override TaskOptions With(TaskOptions options) => base.With(options) with { LabelColumn = "label" };

    protected override string MakeData() => Write("own.csv", i => $"{Joined(Numbers(i, 3))},{Label(i)}{(i % 4 == 0 ? ";warm" : "")}", "a,b,c,label\n");

    protected override void WriteInputs(string path, IDataset examples) =>
        File.WriteAllLines(path, Numbers(examples).Select(number => Joined(Decoded(examples.Get([number])).Select(value => (float)Math.Round(value, 3)))));
}

/// <summary>What is asked, and what is refused, where examples have any number of labels.</summary>
public sealed class MultiLabelTaskTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    [Fact]
    public void Targets_are_flags_of_all_labels_in_order()
    {
        string path = folder.Write("own.jsonl", """
            {"text": "a", "label": ["new", "bad"]}
            {"text": "b", "label": "good; new"}
            {"text": "c", "label": []}
            """);
        using TaskData data = Load(path, []);
        var output = (MultiLabelOutput)data.Spec.Output;
        Assert.Equal(["bad", "good", "new"], output.Labels);
        Assert.Equal(["micro_f1", "macro_f1", "exact_match"], data.Spec.Metrics.Select(metric => metric.Name));
        Assert.Equal([1, 0, 1, 0, 1, 1, 0, 0, 0], data.Train.Get([0, 1, 2]).Targets.ToArray<long>());
    }

    [Fact]
    public void Unknown_labels_lists_without_the_word_and_separators_for_nothing_are_refused()
    {
        string path = folder.Write("own.jsonl", "{\"text\": \"a\", \"label\": [\"x\", \"y\"]}\n{\"text\": \"b\", \"label\": [\"x\"]}\n"), other = folder.Write("other.jsonl", "{\"text\": \"c\", \"label\": [\"x\", \"z\"]}\n");
        Assert.Contains("'z'", Assert.Throws<PermafrostException>(() => Load(path, [], other)).Message, StringComparison.Ordinal);
        Assert.Contains("task_options.answer labels", Assert.Throws<PermafrostException>(() => Load(path, new() { ["answer"] = "class" })).Message, StringComparison.Ordinal);
        Refusal.OfUsage("task_options.label_separator", () => Load(path, new() { ["answer"] = "class", ["label_separator"] = ";" }));
        Refusal.OfUsage("task_options.answer", () => Load(path, new() { ["answer"] = "several" }));
        Assert.Contains("no label but 'x'", Assert.Throws<PermafrostException>(() => Load(folder.Write("one.jsonl", "{\"text\": \"a\", \"label\": [\"x\"]}\n"), [])).Message, StringComparison.Ordinal);
    }

    private static TaskData Load(string path, Dictionary<string, string> settings, string? test = null) => TaskRegistry.Find("jsonl").Task.Load(
        new TaskOptions(path, Settings: new Dictionary<string, string> { ["answer"] = "labels" }.Concat(settings).GroupBy(pair => pair.Key).ToDictionary(group => group.Key, group => group.Last().Value), ValidationFraction: 0, TestFraction: 0)
        { Tokenizer = () => SmallTokenizer.Instance, TestPath = test });
}
