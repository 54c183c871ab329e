namespace Permafrost.Cli.Tests;

/// <summary>Texts through the tokenizers of every family: trained on a table, and answered.</summary>
public sealed class TextFamilyTests : IDisposable
{
    private readonly Scratch scratch = new();

    public void Dispose() => scratch.Dispose();

    public static TheoryData<string> Families => [.. SmallBody.Families];

    [Theory]
    [MemberData(nameof(Families))]
    public void A_body_reads_texts_by_its_own_tokenizer(string family)
    {
        string data = TextTables.Write(scratch, "train.csv", 60), body = SmallBody.Write(scratch["body"], family), run = scratch["run"];
        CliResult trained = Cli.Run(TextTables.Finetune(body, data, run, "--max-steps", "6", "--max-length", "48", "--json")).Succeeded();
        Assert.InRange((double)trained.Json["metrics"]!["test"]!["accuracy"]!, 0, 1);
        // One text and many of other lengths give the same: what fills up is masked.
        string[] texts = ["a film", "the people and the music and a long story, it says", "zzz"];
        string[] together = Cli.Run(new CliSettings { Input = string.Join('\n', texts) + "\n" }, "predict", run, "--input", "-").Succeeded().Lines.ToArray();
        for (int i = 0; i < texts.Length; i++)
        {
            string alone = Cli.Run(new CliSettings { Input = texts[i] + "\n" }, "predict", run, "--input", "-").Succeeded().Lines.Single();
            Assert.Equal(alone.Split('\t')[1..], together[i].Split('\t')[1..]);
        }
    }

    [Fact]
    public void A_tokenizer_of_another_vocabulary_is_refused()
    {
        string data = TextTables.Write(scratch, "train.csv", 60), body = SmallBody.Write(scratch["body"], "gpt2", rows: 240);
        Cli.Run(TextTables.Finetune(body, data, scratch["run"], "--max-steps", "2")).Failed(1, "the tokenizer has 262 tokens and the token table 240 rows");
    }
}
