using Permafrost.Adaptation;
using Permafrost.Baselines;
using Permafrost.Training;

namespace Permafrost.Tests;

/// <summary>The front door on texts: a table to a classifier, answers, a folder and back, and what is refused.</summary>
public sealed class SequenceClassifierTextTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private string Body => SmallBert.Write(folder["body"]);

    private static ClassifierOptions Quick { get; } = new() { Init = "random", MaxSteps = 60, LearningRate = 1e-2, Patience = 0, MaxLength = 20 };

    public void Dispose() => folder.Dispose();

    private Dataset Table(int rows = 120) => Dataset.FromCsv(
        folder.Write("table.csv", "text,label\n" + string.Join('\n', Enumerable.Range(0, rows).Select(i => $"{(i % 2 == 0 ? "aaaab" : "abbbb")} {i},{"xy"[i % 2]}")) + "\n"), label: "label", text: "text");

    private Task<SequenceClassifier> Train(Dataset data, ClassifierOptions? options = null, IProgress<TrainingEvent>? progress = null) =>
        SequenceClassifier.TrainAsync(Body, data, options ?? Quick, progress, TestContext.Current.CancellationToken);

    [Fact]
    public async Task A_table_of_texts_becomes_a_classifier_that_answers_from_its_folder_as_it_did()
    {
        using SequenceClassifier classifier = await Train(Table());
        Assert.Equal(["x", "y"], classifier.Labels);
        Assert.Equal(18, classifier.Result.Test.Count);
        Assert.InRange(classifier.Result.Test["accuracy"], 0.8, 1);
        ClassPrediction answer = classifier.Predict("aaaab 7");
        Assert.Equal("x", answer.Label);
        classifier.Save(folder["saved"]);
        using var loaded = SequenceClassifier.Load(folder["saved"]);
        Assert.Equal(answer.Probabilities[0], loaded.Predict("aaaab 7").Probabilities[0]);
        Assert.Equal(classifier.Result.StrongBaselines, loaded.Result.StrongBaselines);
        // Answers come in the order of the texts, whatever their lengths.
        string[] texts = ["abbbb abbbb abbbb", "aaaab", "abbbb", "aaaab aaaab"];
        Assert.Equal(["y", "x", "y", "x"], loaded.Predict(texts).Select(one => one.Label));
        Assert.Equal([0L, 1, 2, 3], loaded.Predict(texts).Select(one => one.Index));
    }

    [Fact]
    public async Task The_result_has_the_linear_probe_and_what_was_brought_beside_it()
    {
        using SequenceClassifier with = await Train(Table(), Quick with { StrongBaselines = StrongBaselines.All }), without = await Train(Table(), Quick with { Baselines = false });
        Assert.Equal(["linear-probe", "ngram-linear"], with.Result.StrongBaselines.Keys.Order(StringComparer.Ordinal));
        Assert.Equal(1, with.Result.StrongBaselines["ngram-linear"]);
        Assert.Equal(0.5, with.Result.Baselines["majority"], 0.1);
        Assert.Equal((0, 0), (without.Result.StrongBaselines.Count, without.Result.Baselines.Count));
        Assert.Equal(with.Predict("aaaab").Probabilities[0], without.Predict("aaaab").Probabilities[0]);
    }

    [Fact]
    public async Task Cut_texts_are_told_and_longer_ones_are_cut_when_it_answers()
    {
        var events = new List<TrainingEvent>();
        using SequenceClassifier classifier = await Train(Table(), Quick with { MaxLength = 6 }, new SequenceClassifierTests.Listener(events.Add));
        Assert.Contains("more than 6 tokens and were cut", Assert.Single(events.OfType<TrainingNote>(), note => note.Text.Contains("training text", StringComparison.Ordinal)).Text, StringComparison.Ordinal);
        // What is cut away plays no part.
        Assert.Equal(classifier.Predict("aaaa").Probabilities[0], classifier.Predict("aaaa" + string.Concat(Enumerable.Repeat(" b", 1_000_000))).Probabilities[0]);
    }

    [Fact]
    public async Task Odd_texts_are_answered_or_refused_by_number()
    {
        using SequenceClassifier classifier = await Train(Table());
        Assert.Equal(3, classifier.Predict(["a\ud800b", "\ud83d\ude00", "\u65e5\u672c"]).Count);
        Refusal.Of("text 1", () => classifier.Predict(["aaaab", " \u0001 "]));
        Refusal.Of("text 0", () => classifier.Predict(""));
        Assert.Throws<InvalidOperationException>(() => classifier.Predict(new float[] { 1, 2 }));
    }

    [Fact]
    public async Task A_body_without_a_tokenizer_or_with_another_is_refused()
    {
        Assert.Contains("tokenizer", (await Assert.ThrowsAsync<UsageException>(() =>
            SequenceClassifier.TrainAsync("gpt2-tiny", Table(), Quick, null, TestContext.Current.CancellationToken))).Message, StringComparison.Ordinal);
        using (SequenceClassifier classifier = await Train(Table(), Quick with { MaxSteps = 2, Baselines = false })) classifier.Save(folder["saved"]);
        File.WriteAllText(Path.Combine(Body, "vocab.txt"), string.Join('\n', SmallBert.Vocabulary.SkipLast(1)));
        string saved = folder["saved"];
        Refusal.Of("tokenizer", () => SequenceClassifier.Load(saved).Dispose());
    }

    [Fact]
    public void Tables_of_texts_that_do_not_do_are_refused_with_their_line()
    {
        Dataset Read(string text) => Dataset.FromCsv(folder.Write("bad.csv", text), label: "label", text: "text");
        Refusal.Of("bad.csv:3", () => Read("text,label\na,x\n,y\n"));
        Refusal.Of("bad.csv:3", () => Read("text,label\na,x\nb,y,z\n"));
        Refusal.Of("no column 'text'", () => Read("texts,label\na,x\n"));
        Refusal.Of("every row has the label 'x'", () => Read("text,label\na,x\nb,x\n"));
        Refusal.Of("two columns", () => Dataset.FromCsv(folder.Write("bad.csv", "text,label\na,x\nb,y\n"), label: "text", text: "text"));
        Refusal.Of("text 1 is empty", () => Dataset.FromTexts(["a", " "], ["x", "y"]));
        Refusal.Of("2 texts and 1 labels", () => Dataset.FromTexts(["a", "b"], ["x"]));
        Refusal.Of("there are no texts", () => Dataset.FromTexts([], []));
        Refusal.Of("null", () => Dataset.FromTexts(["a", null!], ["x", "y"]));
        Assert.True(Read("text,label\n\"a, b\nc\",x\n\"d \"\"e\"\"\",y\n").IsText);
        Assert.Equal(["a, b\nc", "d \"e\""], Read("text,label\n\"a, b\nc\",x\n\"d \"\"e\"\"\",y\n").Texts);
    }
}
