using Permafrost.Data;
using Permafrost.Tasks;
using Permafrost.Tests.Tokenizers;

namespace Permafrost.Tests.Tasks;

/// <summary>The lists of words, and how they are split.</summary>
public class WordKindsTests
{
    private static TaskData Load(int? words = null, long seed = 0) => new WordKinds().Load(new TaskOptions
    {
        Tokenizer = () => SmallTokenizer.Instance,
        Seed = seed,
        Settings = words is null ? null : new Dictionary<string, string> { ["words_per_kind"] = $"{words}" },
    });

    private static string[] Words(IDataset? split) => [.. ((TextRows)split!).Texts];

    [Fact]
    public void There_are_at_least_ten_kinds_of_sixty_words_and_no_word_is_of_two()
    {
        Assert.InRange(WordKinds.Lists.Count, 10, 100);
        Assert.All(WordKinds.Lists, list => Assert.InRange(list.Value.Count, 60, 1000));
        string[] all = [.. WordKinds.Lists.Values.SelectMany(words => words)];
        Assert.Empty(all.GroupBy(word => word).Where(group => group.Count() > 1).Select(group => group.Key));
        Assert.All(all, word => Assert.Matches("^[a-z]+$", word));
        Assert.All(WordKinds.Lists.Keys, kind => Assert.Matches("^[a-z]+$", kind));
    }

    [Fact]
    public void No_word_is_in_two_kinds_in_another_number()
    {
        HashSet<string> all = [.. WordKinds.Lists.Values.SelectMany(words => words)];
        Assert.DoesNotContain(all, word => all.Contains(word + "s") || all.Contains(word + "es"));
    }

    [Theory]
    [InlineData(5)]
    [InlineData(15)]
    [InlineData(30)]
    public void Any_number_of_training_words_is_scored_on_the_same_words(int words)
    {
        using TaskData usual = Load(), data = Load(words, seed: 3);
        Assert.Equal(words * WordKinds.Lists.Count, data.Train.Count);
        Assert.Equal(Words(usual.Validation), Words(data.Validation));
        Assert.Equal(Words(usual.Test), Words(data.Test));
        string[] all = [.. Words(data.Train), .. Words(data.Validation), .. Words(data.Test)];
        Assert.Equal(all.Length, all.Distinct().Count());
        foreach (IDataset split in new[] { data.Train, data.Validation!, data.Test! })
            Assert.Single(((TextRows)split).Targets.GroupBy(kind => kind).Select(kind => kind.Count()).Distinct());
        for (int i = 0; i < Words(data.Test).Length; i++)
            Assert.Contains(Words(data.Test)[i], WordKinds.Lists.ElementAt((int)((TextRows)data.Test!).Targets[i]).Value);
    }

    [Fact]
    public void Fewer_training_words_are_among_the_more()
    {
        using TaskData five = Load(5), fifteen = Load(15), thirty = Load(30);
        Assert.Subset(Words(fifteen.Train).ToHashSet(), Words(five.Train).ToHashSet());
        Assert.Subset(Words(thirty.Train).ToHashSet(), Words(fifteen.Train).ToHashSet());
    }

    [Theory]
    [InlineData("0")]
    [InlineData("31")]
    [InlineData("many")]
    public void Numbers_of_words_that_there_are_not_are_refused(string words)
    {
        int pool = WordKinds.Pool;
        string given = words == "31" ? $"{pool + 1}" : words;
        Refusal.OfUsage("task_options.words_per_kind", () => new WordKinds().Load(new TaskOptions { Settings = new Dictionary<string, string> { ["words_per_kind"] = given } }));
        Assert.InRange(pool, 30, 1000);
    }

    [Fact]
    public void A_body_without_a_tokenizer_is_refused() => Refusal.OfUsage("tokenizer", () => new WordKinds().Load(new TaskOptions { Tokenizer = () => null }));
}
