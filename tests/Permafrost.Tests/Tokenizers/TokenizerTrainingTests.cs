using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json.Nodes;
using Permafrost.Tests.Pretraining;
using Permafrost.Tokenizers;
using Oracle = Tokenizers.DotNet.Tokenizer;

namespace Permafrost.Tests.Tokenizers;

/// <summary>Byte-level BPE that was trained here: the merges themselves, and that both libraries read the files to the same ids.</summary>
public sealed class TokenizerTrainingTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Pairs_are_merged_by_their_counts_and_of_equals_the_lowest_ids_first()
    {
        // Pairs: "lo" 3+2 times, "ow" 3, " l" none at the beginning of a text.
        Train(256 + 1 + 4, "low low low lot lot");
        string[] merges = File.ReadAllLines(folder["tokenizer", "merges.txt"])[1..];
        // "lo" 5 times; then " lo" 4 times ("low" begins the text); then "low" as " lo w" 2, " lo t" 2: t before w.
        Assert.Equal(["l o", "\u0120 lo", "\u0120lo t", "\u0120lo w"], merges);
    }

    [Theory]
    [InlineData("gpt2")]
    [InlineData("bert")]
    [InlineData("t5")]
    public void Hugging_Faces_core_and_our_own_loader_read_the_same_ids(string style)
    {
        Train(700, SmallCorpus.Text(5, 20) + "\u00e9t\u00e9 \u4e2d\u6587 1234 don't\n", style);
        Tokenizer ours = TokenizerFiles.Load(folder["tokenizer"]);
        string[] texts = ["the cat sat", " nobody's  dog\n\n barked", "\u00e9t\u00e9 \U0001F600 \u4e2d", "", "a\tb <|endoftext|> c"];
        foreach (string text in texts) Assert.Equal(text, ours.Decode(ours.Encode(text, splitSpecialTokens: true).Ids));
        Assert.SkipUnless(OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64, "Tokenizers.DotNet has a native library for Linux here");
        var oracle = new Oracle(folder["tokenizer", "tokenizer.json"]);
        foreach (string text in texts) Assert.Equal(oracle.Encode(text).Select(id => (int)id), ours.Encode(text).Ids);
    }

    [Fact]
    public void The_older_files_give_the_same_ids()
    {
        Train(500, SmallCorpus.Text(5, 20));
        Tokenizer whole = TokenizerFiles.Load(folder["tokenizer"]);
        File.Delete(folder["tokenizer", "tokenizer.json"]);
        Tokenizer older = TokenizerFiles.Load(folder["tokenizer"]);
        string text = SmallCorpus.Text(1, 3, seed: 4);
        Assert.Equal(whole.Encode(text).Ids, older.Encode(text).Ids);
        Assert.Equal(whole.VocabularySize, older.VocabularySize);
    }

    [Fact]
    public void Sentinels_are_the_top_of_the_vocabulary_downwards()
    {
        int size = Train(460, SmallCorpus.Text(5, 20), "t5");
        Tokenizer tokenizer = TokenizerFiles.Load(folder["tokenizer"]);
        Assert.Equal((tokenizer.VocabularySize, "<extra_id_0>", "<extra_id_99>"), (size, tokenizer.Token(size - 1), tokenizer.Token(size - 100)));
        Assert.Equal(["<pad>", "</s>", "<unk>"], Enumerable.Range(0, 3).Select(tokenizer.Token));
        Assert.Equal(1, tokenizer.Encode("the cat").Ids[^1]);
    }

    [Fact]
    public void The_same_text_gives_the_same_files_and_too_little_room_is_refused()
    {
        Train(500, SmallCorpus.Text(5, 20));
        byte[] first = File.ReadAllBytes(folder["tokenizer", "tokenizer.json"]);
        Train(500, SmallCorpus.Text(5, 20));
        Assert.Equal(first, File.ReadAllBytes(folder["tokenizer", "tokenizer.json"]));
        Refusal.Of("200 tokens", () => Train(200, "a b"));
        Refusal.Of("no text", () => Train(500));
        Refusal.OfUsage("`style` 'gpt5'", () => Train(500, "a b", "gpt5"));
        Assert.True(Train(5000, "a b a b") < 300);
        JsonNode.Parse(Encoding.UTF8.GetString(first));
    }

    private int Train(int size, string text, string style = "gpt2") => TokenizerTraining.Train([[text]], size, style, folder["tokenizer"]);

    private int Train(int size) => TokenizerTraining.Train([], size, "gpt2", folder["tokenizer"]);
}
