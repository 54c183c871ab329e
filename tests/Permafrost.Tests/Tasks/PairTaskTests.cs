using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tests.Tokenizers;

namespace Permafrost.Tests.Tasks;

/// <summary>MultiNLI, SQuAD and pair match: what their examples are, and what is refused.</summary>
public sealed class PairTaskTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    [Fact]
    public void MultiNli_keeps_the_hypotheses_of_a_premise_together_and_leaves_out_what_nobody_decided()
    {
        string Row(int premise, int hypothesis, string label) => $$"""{"gold_label": "{{label}}", "sentence1": "premise {{premise}}", "sentence2": "word {{hypothesis}}", "genre": "x"}""";
        folder.Write("data/multinli_1.0_train.jsonl", string.Join('\n', Enumerable.Range(0, 90).Select(i => Row(i / 3, i, new[] { "neutral", "entailment", "contradiction" }[i % 3])).Append(Row(99, 1, "-"))));
        folder.Write("data/multinli_1.0_dev_matched.jsonl", Row(200, 1, "contradiction") + "\n" + Row(201, 1, "-"));
        using TaskData data = Load("multinli");
        Assert.Equal((87, 3, 1), (data.Train.Count, data.Validation!.Count, data.Test!.Count));
        Assert.Contains("2 pair(s)", data.Notes[0], StringComparison.Ordinal);
        Assert.Equal([2], data.Test.Get([0]).Targets.ToArray<long>());
        Assert.Equal("[CLS] premise 200 [SEP] word 1 [SEP]", Text(data.Test.Get([0])));
        Assert.Single(Enumerable.Range(0, 3).Select(i => Text(data.Validation.Get([i])).Split("[SEP]")[0]).Distinct());
    }

    [Theory]
    [InlineData("""{"gold_label": "yes", "sentence1": "a", "sentence2": "b"}""", "'yes' is none of")]
    [InlineData("""{"gold_label": "neutral", "sentence1": "a"}""", "sentence2")]
    [InlineData("""{"gold_label": "neutral", "sentence1": " ", "sentence2": "b"}""", "a sentence is empty")]
    [InlineData("no JSON", "not a JSON object")]
    public void What_is_no_pair_of_MultiNli_is_refused_with_its_line(string line, string reason)
    {
        folder.Write("data/multinli_1.0_train.jsonl", "{\"gold_label\": \"neutral\", \"sentence1\": \"a\", \"sentence2\": \"b\"}\n" + line);
        PermafrostException refused = Assert.Throws<PermafrostException>(() => Load("multinli"));
        Assert.Contains("multinli_1.0_train.jsonl:2", refused.Message, StringComparison.Ordinal);
        Assert.Contains(reason, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Squad_asks_whether_the_paragraph_answers()
    {
        const string Article = """{"title": "TITLE", "paragraphs": [{"context": "it is red", "qas": [{"question": "which colour", "is_impossible": false}, {"question": "how far", "is_impossible": true}]}]}""";
        folder.Write("data/train-v2.0.json", $"{{\"data\": [{Article}, {Article.Replace("TITLE", "other", StringComparison.Ordinal)}]}}");
        folder.Write("data/dev-v2.0.json", $"{{\"data\": [{Article}]}}");
        using TaskData data = Load("squad");
        Assert.Equal((2, 2, 2), (data.Train.Count, data.Validation!.Count, data.Test!.Count));
        Assert.Equal("[CLS] which colour [SEP] it is red [SEP]", Text(data.Test.Get([0])));
        Assert.Equal([1, 0], data.Test.Get([0, 1]).Targets.ToArray<long>());
    }

    [Fact]
    public void Of_Squad_1_every_question_is_also_asked_of_another_paragraph()
    {
        const string Article = """{"title": "t", "paragraphs": [{"context": "it is red", "qas": [{"question": "which colour"}]}, {"context": "it is far", "qas": [{"question": "how far"}]}]}""";
        folder.Write("data/train-v1.1.json", $"{{\"data\": [{Article}, {Article.Replace("\"t\"", "\"u\"", StringComparison.Ordinal)}]}}");
        folder.Write("data/dev-v1.1.json", $"{{\"data\": [{Article}]}}");
        using TaskData data = Load("squad");
        Assert.Equal([1, 0, 1, 0], data.Test!.Get([0, 1, 2, 3]).Targets.ToArray<long>());
        Assert.Equal("[CLS] which colour [SEP] it is far [SEP]", Text(data.Test.Get([1])));
    }

    [Theory]
    [InlineData("{}", "data")]
    [InlineData("""{"data": []}""", "no question")]
    [InlineData("""{"data": [{"title": "t", "paragraphs": [{"context": "", "qas": []}]}]}""", "a context is empty")]
    [InlineData("""{"data": [{"title": "t", "paragraphs": [{"context": "c", "qas": [{}]}]}]}""", "question")]
    [InlineData("[", "no SQuAD file")]
    public void What_is_no_SQuAD_is_refused(string json, string reason)
    {
        folder.Write("data/train-v2.0.json", json);
        PermafrostException refused = Assert.Throws<PermafrostException>(() => Load("squad"));
        Assert.Contains("train-v2.0.json", refused.Message, StringComparison.Ordinal);
        Assert.Contains(reason, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_second_sentence_of_pair_match_claims_a_value_of_the_first_and_half_of_the_claims_hold()
    {
        using TaskData data = TaskRegistry.Find("pair-match").Task.Load(new TaskOptions());
        Batch batch = data.Test!.Get([.. Enumerable.Range(0, 400).Select(i => (long)i)]);
        long[][] rows = [.. batch.Inputs.ToArray<long>().Chunk(11)];
        long[] answers = batch.Targets.ToArray<long>();
        for (int i = 0; i < rows.Length; i++)
        {
            var facts = Enumerable.Range(0, 4).ToDictionary(fact => rows[i][2 * fact], fact => rows[i][2 * fact + 1]);
            Assert.Equal(4, facts.Values.Distinct().Count());
            Assert.Equal(1, rows[i][8]);
            Assert.Contains(rows[i][10], facts.Values);
            Assert.Equal(answers[i] == 1, facts[rows[i][9]] == rows[i][10]);
        }
        Assert.InRange(answers.Sum(), 160, 240);
    }

    private TaskData Load(string task) => TaskRegistry.Find(task).Task.Load(new TaskOptions(folder["data"]) { Tokenizer = () => SmallTokenizer.Instance });

    // Words that were cut into letters, and joined again.
    private static string Text(Batch batch)
    {
        IEnumerable<long> ids = batch.Inputs.ToArray<long>();
        return SmallTokenizer.Instance.Decode([.. ids.Select(id => (int)id)], skipSpecialTokens: false);
    }
}
