using Permafrost.Data;
using Permafrost.Tasks;
using Permafrost.Tests.Tokenizers;

namespace Permafrost.Tests.Tasks;

/// <summary>Sentences of film reviews, as their files have them.</summary>
public sealed class Sst2Tests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private static TaskData Load(string path, string reading = "") => new Sst2().Load(new TaskOptions(path, reading) { Tokenizer = () => SmallTokenizer.Instance });

    private string Write(string train)
    {
        folder.Write(Path.Combine("sst2", "sentence_train.tsv"), train);
        folder.Write(Path.Combine("sst2", "sentence_dev.tsv"), "fine\t1\n");
        folder.Write(Path.Combine("sst2", "sentence_test.tsv"), "poor\t0\n");
        return folder["sst2"];
    }

    [Theory]
    [InlineData("", 6920)]
    [InlineData("phrases", 67349)]
    public void The_published_splits_have_their_published_sizes(string reading, int train)
    {
        using TaskData data = Load(Repository.Data("sst2"), reading);
        Assert.Equal((train, 872, 1821), ((int)data.Train.Count!, (int)data.Validation!.Count!, (int)data.Test!.Count!));
        // Half of each are positive, nearly.
        Assert.InRange(((TextRows)data.Test).Targets.Count(target => target == 1), 900, 920);
    }

    [Fact]
    public void A_line_is_a_text_a_tab_and_a_class()
    {
        using TaskData data = Load(Write("good\tor so\t1\n\n bad \t0\n"));
        Assert.Equal(["good\tor so", "bad"], ((TextRows)data.Train).Texts);
        Assert.Equal([1, 0], ((TextRows)data.Train).Targets);
    }

    [Theory]
    [InlineData("fine\t1\nno tab\n", "sentence_train.tsv:2")]
    [InlineData("fine\t2\n", "sentence_train.tsv:1")]
    [InlineData("\t1\n", "sentence_train.tsv:1")]
    [InlineData("fine\t1\n\u200b\t0\n", "sentence_train.tsv:2")]
    [InlineData("", "sentence_train.tsv")]
    public void Other_lines_are_refused(string train, string where) => Refusal.Of(where, () => Load(Write(train)));

    [Fact]
    public void A_folder_without_the_files_is_refused_by_name() => Refusal.Of("sentence_train.tsv", () => Load(folder.Path));
}
