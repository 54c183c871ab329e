using Permafrost.Data;
using Permafrost.Tasks;
using Permafrost.Tasks.Metrics;
using Permafrost.Tests.Tokenizers;

namespace Permafrost.Tests.Tasks;

/// <summary>Few training examples: drawn by class, held out in turn, and how sure a score of few is.</summary>
public sealed class FewExamplesTests
{
    private static TaskData Data(int first = 30, int second = 20) => SmallTokenizer.Data(
        ["a", "b"], [.. Enumerable.Range(0, first + second).Select(i => new LabelledText($"word {i}", i < first ? 0 : 1, ""))], [new LabelledText("x", 0, "")], null);

    [Fact]
    public void As_many_of_every_class_are_drawn_by_the_seed()
    {
        using TaskData data = Data();
        TextRows one = (TextRows)FewExamples.Draw(data, 5, 0).Train, again = (TextRows)FewExamples.Draw(data, 5, 0).Train, other = (TextRows)FewExamples.Draw(data, 5, 1).Train;
        Assert.Equal([5, 5], one.Targets.CountBy(target => target).OrderBy(pair => pair.Key).Select(pair => pair.Value));
        Assert.Equal(one.Texts, again.Texts);
        Assert.NotEqual(one.Texts, other.Texts);
        Assert.Equal(10, one.Texts.Distinct().Count());
        Assert.All(one.Texts.Zip(one.Targets), pair => Assert.Equal(int.Parse(pair.First.Split(' ')[1], System.Globalization.CultureInfo.InvariantCulture) < 30 ? 0 : 1, pair.Second));
    }

    [Fact]
    public void A_draw_of_all_is_all_and_of_more_is_refused_by_class()
    {
        using TaskData data = Data(20, 20), uneven = Data(20, 7);
        Assert.Equal(((TextRows)data.Train).Texts, ((TextRows)FewExamples.Draw(data, 20, 3).Train).Texts);
        Refusal.OfUsage("`train_per_class` 8: the class b has 7", () => FewExamples.Draw(uneven, 8, 0));
        using TaskData endless = new BitXor().Load(new TaskOptions());
        Refusal.OfUsage("without end", () => FewExamples.Draw(endless, 8, 0));
    }

    [Fact]
    public void Every_row_is_held_out_once_a_round_and_every_part_has_every_class()
    {
        long[] classes = [.. Enumerable.Range(0, 41).Select(i => i % 5 == 0 ? 1L : 0)];
        IReadOnlyList<Fold> folds = FewExamples.Folds(classes, 4, 2, 0);
        Assert.Equal(8, folds.Count);
        foreach (Fold[] round in folds.Chunk(4))
        {
            Assert.Equal(Enumerable.Range(0, 41).Select(i => (long)i), round.SelectMany(fold => fold.Held).Order());
            Assert.All(round, fold => Assert.InRange(fold.Held.Count(row => classes[row] == 1), 2, 3));
            Assert.All(round, fold => Assert.InRange(fold.Held.Length, 10, 11));
            Assert.All(round, fold => Assert.Equal(41, fold.Held.Union(fold.Train).Count()));
        }
        Assert.NotEqual(folds[0].Held, folds[4].Held);
        Assert.Equal(folds.SelectMany(fold => fold.Held), FewExamples.Folds(classes, 4, 2, 0).SelectMany(fold => fold.Held));
    }

    // Wilson 1927, as statsmodels' proportion_confint(method="wilson") and the formula by hand give them.
    [Theory]
    [InlineData(0.5, 10, 0.2366, 0.7634)]
    [InlineData(0, 10, 0, 0.2775)]
    [InlineData(1, 10, 0.7225, 1)]
    [InlineData(0.8, 872, 0.7722, 0.8252)]
    public void A_score_of_few_examples_is_less_sure(double share, long count, double low, double high)
    {
        ScoreInterval interval = ScoreInterval.Wilson(share, count);
        Assert.Equal((low, high), (Math.Round(interval.Low, 4), Math.Round(interval.High, 4)));
    }

    [Fact]
    public void Only_shares_of_examples_have_an_interval()
    {
        var spec = new TaskSpec(new VectorInput(1, 2), new ClassOutput(2));
        var scores = new Scores(10, 0.1, new Dictionary<string, double> { ["accuracy"] = 0.5, ["rmse"] = 1 });
        Assert.NotNull(ScoreInterval.Of(spec, scores));
        Assert.Null(ScoreInterval.Of(spec with { Output = new ClassOutput(2) { Count = 5 } }, scores));
        Assert.Null(ScoreInterval.Of(spec with { Output = new NumberOutput() }, scores));
        Assert.Null(ScoreInterval.Of(spec with { Metrics = [MetricInfo.Accuracy with { Over = "hard" }] }, scores));
    }
}
