using System.Text;
using Permafrost.Data;
using Permafrost.Tasks;
using Permafrost.Tests.Tokenizers;

namespace Permafrost.Tests.Tasks;

/// <summary>Questions, as their files have them.</summary>
public sealed class TrecTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private static TaskData Load(string path, string reading = "") => new Trec().Load(new TaskOptions(path, reading) { Tokenizer = () => SmallTokenizer.Instance });

    private string Write(string train, string test = "LOC:city Where is it ?\n")
    {
        folder.Write(Path.Combine("trec", "train_5500.label"), Encoding.Latin1.GetBytes(train));
        folder.Write(Path.Combine("trec", "TREC_10.label"), test);
        return folder["trec"];
    }

    [Theory]
    [InlineData("", 6)]
    [InlineData("fine", 50)]
    public void The_published_questions_have_their_published_numbers(string reading, int classes)
    {
        using TaskData data = Load(Repository.Data("trec"), reading);
        Assert.Equal((classes, 5452, 500), (data.Spec.Classes, (int)(data.Train.Count + data.Validation!.Count)!, (int)data.Test!.Count!));
        // What is asked twice is in one split.
        Assert.Empty(((TextRows)data.Train).Texts.Intersect(((TextRows)data.Validation).Texts));
    }

    [Fact]
    public void Classes_questions_and_Latin_letters_are_read()
    {
        using TaskData data = Load(Write("LOC:city Where is Orl\u00e9ans ?\nNUM:date When ?\nHUM:ind Who ?\nHUM:ind Who ?\nDESC:def What ?\n"));
        string[] all = [.. ((TextRows)data.Train).Texts, .. ((TextRows)data.Validation!).Texts];
        Assert.Equal(["What ?", "When ?", "Where is Orl\u00e9ans ?", "Who ?", "Who ?"], all.Order(StringComparer.Ordinal));
        Assert.Equal(["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"], data.Spec.Labels);
    }

    [Theory]
    [InlineData("LOC:city Where ?\nLOC Where ?\n", "train_5500.label:2")]
    [InlineData("XXX:city Where ?\n", "train_5500.label:1")]
    [InlineData("LOC:city\n", "train_5500.label:1")]
    [InlineData("LOC:city Where ?\n", "too few")]
    [InlineData("", "train_5500.label")]
    public void Other_lines_are_refused(string train, string mention) => Refusal.Of(mention, () => Load(Write(train)));

    [Fact]
    public void A_class_that_no_training_question_has_is_refused() =>
        Refusal.Of("TREC_10.label:1", () => Load(Write("NUM:date When ?\nHUM:ind Who ?\nHUM:ind Who is it ?\n"), "fine"));
}
