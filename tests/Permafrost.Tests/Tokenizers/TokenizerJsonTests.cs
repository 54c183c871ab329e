using System.Text.Json;
using System.Text.Json.Nodes;
using FsCheck.Xunit;
using Permafrost.Tokenizers;

namespace Permafrost.Tests.Tokenizers;

/// <summary>Every kind of <c>tokenizer.json</c> that is known, against ids, offsets and texts of Hugging Face's own library (tokenizer-json.json says which).</summary>
public sealed class TokenizerJsonTests : IDisposable
{
    private static readonly Lazy<JsonObject> Expected = new(() =>
        JsonNode.Parse(File.ReadAllText(Path.Combine(Repository.Root, "tests", "Permafrost.Tests", "Tokenizers", "tokenizer-json.json")))!.AsObject());

    private readonly TemporaryFolder folder = new();

    public static TheoryData<string> Names => [.. Expected.Value["cases"]!.AsArray().Select(one => (string)one!["name"]!)];

    public void Dispose() => folder.Dispose();

    [Theory]
    [MemberData(nameof(Names))]
    public void Ids_offsets_and_texts_are_those_of_Hugging_Face(string name)
    {
        JsonNode one = Expected.Value["cases"]!.AsArray().Single(one => (string)one!["name"]! == name)!;
        Tokenizer tokenizer = TokenizerFiles.Load(folder.Write("tokenizer.json", Merged(one["with"]!.AsObject()).ToJsonString()));
        foreach (JsonNode? expected in one["texts"]!.AsArray())
        {
            string text = (string)expected!["text"]!, what = JsonSerializer.Serialize(text);
            TokenizedText tokens = tokenizer.Encode(text);
            int[] Numbers(string key) => [.. expected[key]!.AsArray().Select(id => (int)id!)];
            Assert.True(Numbers("ids").SequenceEqual(tokens.Ids), $"{what}: {string.Join(' ', tokens.Ids.Select(tokenizer.Token))}, expected {string.Join(' ', Numbers("ids").Select(tokenizer.Token))}");
            string offsets = string.Join(' ', tokens.Offsets.Select(offset => $"{CodePoints(text, offset.Start)}-{CodePoints(text, offset.End)}"));
            Assert.Equal(string.Join(' ', expected["offsets"]!.AsArray().Select(offset => $"{offset![0]}-{offset[1]}")), offsets);
            // A token that is looked for in normalised text is decoded as it is written, as by transformers; the library writes it normalised.
            if (name != "added") Assert.Equal((string)expected["decoded"]!, tokenizer.Decode(tokens.Ids));
            Assert.Equal(Numbers("ids_without_special_tokens"), tokenizer.Encode(text, addSpecialTokens: false).Ids);
        }
    }

    [Property(MaxTest = 300)]
    public void Berts_own_way_is_the_general_way_only_faster(string[] parts, bool lower, bool? strip, bool chinese, bool clean, bool slow)
    {
        string[] vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", "é", "##é", "e", "##e", ".", "中", "##中", "i", "##\u0307"];
        var settings = new WordPieceSettings { LowerCase = lower, StripAccents = strip, SplitChinese = chinese, CleanText = clean, Slow = slow };
        string text = string.Concat(parts.Select((part, i) => part + new[] { "é", "e\u0301", "\t\u0301", "中A", "İ", " . ", "\u000b", "\u0378", "[MASK]" }[i % 9]));
        TokenizedText fast = new WordPiece(vocabulary, settings).Encode(text), general = new WordPiece(vocabulary, settings with { Pipeline = settings.BertPipeline }).Encode(text);
        Assert.Equal(general.Ids, fast.Ids);
        if (!slow) Assert.Equal(general.Offsets, fast.Offsets);
    }

    [Theory]
    [InlineData("normalizer", """{"type": "Odd"}""", "the normalizer Odd is not known")]
    [InlineData("normalizer", """{"type": "Replace", "pattern": {"Regex": "(a"}, "content": "b"}""", "regular expression")]
    [InlineData("normalizer", """{"type": "BertNormalizer", "lowercase": 1}""", "\"lowercase\" is 1")]
    [InlineData("pre_tokenizer", """{"type": "ByteLevel"}""", "ByteLevel goes with BPE")]
    [InlineData("pre_tokenizer", """{"type": "Punctuation", "behavior": "Odd"}""", "behavior 'Odd'")]
    [InlineData("post_processor", """{"type": "ByteLevel"}""", "ByteLevel goes with BPE")]
    [InlineData("post_processor", """{"type": "TemplateProcessing", "single": [{"Other": {}}]}""", "something else than special tokens")]
    [InlineData("decoder", """{"type": "Metaspace"}""", "the decoder Metaspace is not known")]
    [InlineData("added_tokens", """[{"id": 5, "content": "[NEW]", "special": true}]""", "have the same id, 5")]
    [InlineData("added_tokens", """[{"id": 7, "content": "a"}]""", "the added token 'a' has the id 7, but 5 in the vocabulary")]
    [InlineData("added_tokens", """[{"id": -1, "content": "new"}]""", "'new' has no id that can be")]
    public void What_is_not_known_or_cannot_be_is_refused_by_name(string key, string json, string mention)
    {
        string path = folder.Write("tokenizer.json", Merged(new JsonObject { [key] = JsonNode.Parse(json) }).ToJsonString());
        Assert.Contains(path, Refusal.Of(mention, () => TokenizerFiles.Load(path)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("0")]
    [InlineData("-1")]
    [InlineData("\"many\"")]
    public void A_longest_word_that_is_none_is_refused(string most)
    {
        JsonObject json = Merged([]);
        json["model"]!["max_input_chars_per_word"] = JsonNode.Parse(most);
        Refusal.Of($"\"max_input_chars_per_word\" is {most}, where a whole number of at least 1", () => TokenizerFiles.Load(folder.Write("tokenizer.json", json.ToJsonString())));
    }

    [Fact]
    public void A_vocabulary_may_have_gaps_which_are_no_tokens()
    {
        JsonObject json = Merged([]);
        json["model"]!["vocab"]!["behind"] = 500;
        Tokenizer tokenizer = TokenizerFiles.Load(folder.Write("tokenizer.json", json.ToJsonString()));
        Assert.Equal(501, tokenizer.VocabularySize);
        Assert.Equal([500], tokenizer.Encode("behind", addSpecialTokens: false).Ids);
        Refusal.Of("499 is no token", () => tokenizer.Token(499));
    }

    [Fact]
    public void The_configuration_beside_it_goes_before_its_normaliser()
    {
        folder.Write("tokenizer_config.json", """{"do_lower_case": false, "model_max_length": 77}""");
        Tokenizer tokenizer = TokenizerFiles.Load(Path.GetDirectoryName(folder.Write("tokenizer.json", Merged([]).ToJsonString()))!);
        Assert.Equal(["A"], tokenizer.Encode("A", addSpecialTokens: false).Ids.Select(tokenizer.Token));
        Assert.Equal(77, tokenizer.LongestText);
    }

    private static JsonObject Merged(JsonObject changes)
    {
        JsonObject json = Expected.Value["base"]!.DeepClone().AsObject();
        foreach ((string key, JsonNode? value) in changes) json[key] = value?.DeepClone();
        return json;
    }

    private static int CodePoints(string text, int units) => text[..units].EnumerateRunes().Count();
}
