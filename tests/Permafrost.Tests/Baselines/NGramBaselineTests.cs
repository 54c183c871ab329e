using Permafrost.Baselines;
using Permafrost.Data;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;
using Permafrost.Tests.Tokenizers;

namespace Permafrost.Tests.Baselines;

/// <summary>A linear model of n-grams learns what words and letters tell, and nothing else.</summary>
public class NGramBaselineTests
{
    private static readonly string[] Words = ["the", "film", "is", "a", "story", "of", "people", "and", "music", "it", "was", "long", "in", "summer"];

    // Sentences of which one word tells the class.
    private static LabelledText[] Sentences(string stream, int count, params string[] telling)
    {
        var texts = new LabelledText[count];
        for (int i = 0; i < count; i++)
        {
            var random = new CounterRandom(stream, 0, i);
            string[] words = [.. Enumerable.Range(0, 8).Select(_ => Words[random.Next(Words.Length)])];
            words[random.Next(words.Length)] = telling[i % telling.Length];
            texts[i] = new LabelledText(string.Join(' ', words), i % telling.Length, $"{stream} {i}");
        }
        return texts;
    }

    private static TaskData Data(LabelledText[] train, LabelledText[]? validation, LabelledText[]? test, int classes) =>
        SmallTokenizer.Data([.. Enumerable.Range(0, classes).Select(i => $"class {i}")], train, validation, test);

    [Fact]
    public void It_learns_which_words_tell_the_class()
    {
        using TaskData data = Data(Sentences("train", 200, "good", "bad", "odd"), Sentences("validation", 60, "good", "bad", "odd"), Sentences("test", 60, "good", "bad", "odd"), 3);
        BaselineScore score = new NGramBaseline().Score(data, 0, TestContext.Current.CancellationToken)!;
        Assert.Equal((1, 1), (score.Validation, score.Test));
        Assert.StartsWith("words 1-2", score.Settings, StringComparison.Ordinal);
    }

    [Fact]
    public void It_learns_from_the_letters_of_words_that_it_has_not_met()
    {
        using TaskData data = Data(
            Sentences("train", 300, "unhappily", "brightest"), Sentences("validation", 60, "luckily", "lightest"), Sentences("test", 60, "heavily", "rightest"), 2);
        BaselineScore score = new NGramBaseline().Score(data, 0, TestContext.Current.CancellationToken)!;
        Assert.Contains("characters", score.Settings, StringComparison.Ordinal);
        // A guess is 0.5 of 60.
        Assert.InRange(score.Test!.Value, 0.75, 1);
    }

    [Fact]
    public void Labels_at_random_are_a_guess_on_the_test()
    {
        LabelledText[] Random(string stream, int count) => [.. Sentences(stream, count, "good").Select((text, i) => text with { Class = new CounterRandom($"{stream} class", 0, i).Next(2) })];
        using TaskData data = Data(Random("train", 300), Random("validation", 100), Random("test", 400), 2);
        Assert.InRange(new NGramBaseline().Score(data, 0, TestContext.Current.CancellationToken)!.Test!.Value, 0.375, 0.625);
    }

    [Fact]
    public void The_same_seed_gives_the_same_scores()
    {
        LabelledText[] Noisy(string stream, int count) => [.. Sentences(stream, count, "good", "bad").Select((text, i) => i % 3 == 0 ? text with { Class = 1 - text.Class } : text)];
        using TaskData data = Data(Noisy("train", 300), Noisy("validation", 100), Noisy("test", 400), 2);
        BaselineScore first = new NGramBaseline().Score(data, 7, TestContext.Current.CancellationToken)!;
        Assert.Equal(first, new NGramBaseline().Score(data, 7, TestContext.Current.CancellationToken));
    }

    [Fact]
    public void Without_validation_texts_it_takes_its_usual_settings_and_without_test_texts_it_shows_validation()
    {
        LabelledText[] train = Sentences("train", 100, "good", "bad");
        using TaskData unchosen = Data(train, null, Sentences("test", 40, "good", "bad"), 2), untested = Data(train, Sentences("validation", 40, "good", "bad"), null, 2);
        BaselineScore usual = new NGramBaseline().Score(unchosen, 0, TestContext.Current.CancellationToken)!, chosen = new NGramBaseline().Score(untested, 0, TestContext.Current.CancellationToken)!;
        Assert.Equal((null, "words 1-2, characters 4, L2 1E-05"), (usual.Validation, usual.Settings));
        Assert.Equal((null, chosen.Validation), (chosen.Test, chosen.Shown));
    }

    [Fact]
    public void Texts_of_one_class_or_of_one_word_do_no_harm()
    {
        using TaskData one = Data(Sentences("train", 20, "good"), null, Sentences("test", 10, "good", "bad"), 2);
        Assert.Null(new NGramBaseline().Score(one, 0, TestContext.Current.CancellationToken));
        LabelledText[] same = [.. Enumerable.Range(0, 20).Select(i => new LabelledText("the", i % 2, ""))];
        using TaskData nothing = Data(same, same, same, 2);
        Assert.Equal(0.5, new NGramBaseline().Score(nothing, 0, TestContext.Current.CancellationToken)!.Test);
    }

    [Fact]
    public void It_applies_to_texts_with_a_class_alone()
    {
        var texts = new TextInput(100, 10);
        Assert.True(new NGramBaseline().AppliesTo(new TaskSpec(texts, new ClassOutput(2))));
        Assert.False(new NGramBaseline().AppliesTo(new TaskSpec(texts, new ClassOutput(2) { Count = 3 })));
        Assert.False(new NGramBaseline().AppliesTo(new TaskSpec(texts, new NumberOutput())));
        Assert.False(new NGramBaseline().AppliesTo(new TaskSpec(new IdInput(100, 10), new ClassOutput(2))));
    }
}
