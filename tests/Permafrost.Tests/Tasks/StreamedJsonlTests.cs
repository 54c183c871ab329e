using System.Text;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Runs;
using Permafrost.Tasks;
using Permafrost.Tests.Tokenizers;

namespace Permafrost.Tests.Tasks;

/// <summary>JSON lines that are not kept in memory.</summary>
[Collection(ProcessWide.Name)]
public sealed class StreamedJsonlTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    [Fact]
    public void Examples_are_those_of_a_file_that_is_kept_in_memory()
    {
        string path = folder.Write("own.jsonl", string.Concat(Enumerable.Range(0, 200).Select(i => Row($"text {i}", i % 3 == 0 ? "up" : "down"))));
        string[] held = [folder.Write("validation.jsonl", Row("one", "up") + Row("two", "down")), folder.Write("test.jsonl", Row("three", "down"))];
        TaskOptions All(string stream) => Options(path, stream) with { ValidationPath = held[0], TestPath = held[1] };
        using TaskData streamed = Load(All("always")), kept = Load(All("never"));
        Assert.Equal(kept.Spec.Input, streamed.Spec.Input);
        Assert.Equal(kept.Spec.Preprocessing, streamed.Spec.Preprocessing);
        Assert.Equal(["down", "up"], ((ClassOutput)streamed.Spec.Output).Labels);
        Assert.Contains("200 lines", streamed.Notes[0], StringComparison.Ordinal);
        foreach (string split in new[] { "train", "validation", "test" })
        {
            Assert.Equal(kept.Split(split)!.Count, streamed.Split(split)!.Count);
            long[] numbers = [.. Enumerable.Range(0, (int)kept.Split(split)!.Count!.Value).Select(i => (long)i).Reverse()];
            Batch one = streamed.Split(split)!.Get(numbers), other = kept.Split(split)!.Get(numbers);
            Assert.Equal(other.Inputs.ToArray<long>(), one.Inputs.ToArray<long>());
            Assert.Equal(other.Targets.ToArray<long>(), one.Targets.ToArray<long>());
            Assert.Equal(other.Mask?.ToArray<long>(), one.Mask?.ToArray<long>());
        }
    }

    [Fact]
    public void Held_out_lines_are_the_same_for_every_run_and_in_one_split_only()
    {
        string path = folder.Write("own.jsonl", string.Concat(Enumerable.Range(0, 1000).Select(i => Row($"text {i}", i % 2 == 0 ? "up" : "down"))));
        using TaskData data = Load(Options(path, "always")), again = Load(Options(path, "always"));
        string[] Texts(IDataset split) => [.. Enumerable.Range(0, (int)split.Count!.Value).Select(i => SmallTokenizer.Instance.Decode([.. split.Get([i]).Inputs.ToArray<long>().Select(id => (int)id)]))];
        string[] test = Texts(data.Test!);
        Assert.Equal(test, Texts(again.Test!));
        Assert.InRange(test.Length, 70, 130);
        Assert.InRange(data.Validation!.Count!.Value, 70, 130);
        Assert.Equal(1000, Texts(data.Train).Concat(Texts(data.Validation)).Concat(test).Distinct().Count());
        Assert.Equal(DataHash.Of(data), DataHash.Of(again));
        folder.Write("own.jsonl", File.ReadAllText(path).Replace("text 500", "text 5OO", StringComparison.Ordinal));
        using TaskData changed = Load(Options(path, "always"));
        Assert.NotEqual(DataHash.Of(data), DataHash.Of(changed));
    }

    [Fact]
    public void Memory_does_not_grow_with_the_texts()
    {
        string path = folder["large.jsonl"];
        string words = string.Concat(Enumerable.Repeat("lorem ipsum ", 200));
        using (var file = new StreamWriter(path, append: false, new UTF8Encoding(false)))
            for (int i = 0; i < 16_000; i++) file.Write(Row($"{i} {words}", i % 2 == 0 ? "up" : "down"));
        long bytes = new FileInfo(path).Length, before = GC.GetTotalMemory(forceFullCollection: true);
        Assert.True(bytes > 36 << 20);
        using TaskData data = Load(Options(path, "always") with { MaxLength = 16 });
        for (int step = 0; step < 20; step++)
        {
            using DisposeScope own = torch.NewDisposeScope();
            data.Train.Get([.. Enumerable.Range(0, 8).Select(i => (step * 613L + i * 97) % data.Train.Count!.Value)]);
        }
        long grown = GC.GetTotalMemory(forceFullCollection: true) - before;
        Assert.True(grown < 4 << 20, $"{grown:N0} bytes stay, of a file of {bytes:N0}");
        GC.KeepAlive(data);
    }

    [Theory]
    [InlineData("{\"text\": \"a\", \"label\": \"up\"}\n{\"text\": \"b\"}\n", "own.jsonl:2")]
    [InlineData("{\"text\": \"a\", \"label\": \"up\"}\n\n{\"tokens\": [1], \"label\": \"up\"}\n", "own.jsonl:3")]
    [InlineData("{\"text\": \"a\", \"label\": \"up\"}\n{\"text\": \"b\", \"label\": [\"up\"]}\n", "task_options.answer labels")]
    [InlineData("{\"text\": \"a\", \"label\": \"up\"}\n{\"text\": \"b\", \"label\": \"up\"}\n", "at least two")]
    public void Lines_that_cannot_be_are_refused_by_their_number(string text, string reason) =>
        Assert.Contains(reason, Assert.Throws<PermafrostException>(() => Load(Options(folder.Write("own.jsonl", text), "always"))).Message, StringComparison.Ordinal);

    [Fact]
    public void Data_that_is_refused_leaves_no_file_open()
    {
        string path = folder.Write("own.jsonl", Row("a", "up") + Row("b", "down")), other = folder.Write("other.jsonl", Row("c", "sideways"));
        var trained = new TaskSpec(new TextInput(10, 16), new ClassOutput(2) { Labels = ["down", "up"] });
        TaskOptions good = Options(path, "always") with { ValidationFraction = 0, TestFraction = 0, Trained = trained };
        Assert.Throws<PermafrostException>(() => Load(good with { TestPath = other }));
        Assert.Throws<PermafrostException>(() => Load(good with { TestPath = folder["gone.jsonl"] }));
        Assert.Throws<PermafrostException>(() => Load(good with { ValidationFraction = 1 }));
        string one = folder.Write("one.jsonl", Row("a", "up") + Row("b", "up"));
        Assert.Throws<PermafrostException>(() => Load(Options(one, "always")));
        foreach (string file in new[] { path, other, one }) new FileStream(file, FileMode.Open, FileAccess.ReadWrite, FileShare.None).Dispose();
    }

    [Fact]
    public void A_label_of_a_list_may_hold_anything_but_the_character_between_them()
    {
        string path = folder.Write("lists.jsonl", "{\"text\": \"a\", \"label\": [\"x; y\", \"z\"]}\n{\"text\": \"b\", \"label\": []}\n{\"text\": \"c\", \"label\": [\"z\"]}\n");
        TaskOptions options = new(path, Settings: new Dictionary<string, string> { ["answer"] = "labels" }) { Tokenizer = () => SmallTokenizer.Instance, MaxLength = 32, ValidationFraction = 0, TestFraction = 0 };
        using (TaskData data = Load(options)) Assert.Equal(["x; y", "z"], ((MultiLabelOutput)data.Spec.Output).Labels);
        File.WriteAllText(path, File.ReadAllText(path).Replace("x; y", "x\\u001fy", StringComparison.Ordinal));
        Refusal.Of("lists.jsonl:1", () => Load(options));
    }

    [Fact]
    public void A_label_that_training_does_not_have_is_refused_and_so_is_another_word_for_how()
    {
        string path = folder.Write("own.jsonl", Row("a", "up") + Row("b", "down")), other = folder.Write("other.jsonl", Row("c", "sideways"));
        var trained = new TaskSpec(new TextInput(10, 16), new ClassOutput(2) { Labels = ["down", "up"] });
        TaskOptions options = Options(path, "always") with { TestPath = other, ValidationFraction = 0, Trained = trained };
        Assert.Contains("other.jsonl:1", Assert.Throws<PermafrostException>(() => Load(options)).Message, StringComparison.Ordinal);
        Refusal.OfUsage("task_options.stream", () => Load(Options(path, "perhaps")));
    }

    private static string Row(string text, string label) => $"{{\"text\": \"{text}\", \"label\": \"{label}\"}}\n";

    private static TaskOptions Options(string path, string stream) =>
        new(path, Settings: new Dictionary<string, string> { ["stream"] = stream }) { Tokenizer = () => SmallTokenizer.Instance, MaxLength = 32 };

    private static TaskData Load(TaskOptions options) => TaskRegistry.Find("jsonl").Task.Load(options);
}
