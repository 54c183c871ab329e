using System.Text.Json;
using System.Text.Json.Nodes;
using FsCheck.Xunit;
using Permafrost.Tokenizers;

namespace Permafrost.Tests.Tokenizers;

/// <summary>BERT's tokenizer against Hugging Face's ids, and what must hold for any text.</summary>
public sealed class WordPieceTests : IDisposable
{
    private static readonly string[] Vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##want", "##ed", "run", "##ning", ",", "low", "##e", "##r", "e", "a", "##a", "中", "!"];

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Ids_are_those_of_Hugging_Face()
    {
        JsonNode expected = JsonNode.Parse(File.ReadAllText(Repository.Fixture("tokenizer_bert", "expected.json")))!;
        Tokenizer lower = TokenizerFiles.Load(Repository.Data("tokenizers", "bert-base-uncased", "vocab.txt"));
        Tokenizer cased = Road(plain: true, lowerCase: false), fast = Road(plain: false, lowerCase: true);
        var wrong = new List<string>();
        JsonArray cases = expected["cases"]!.AsArray();
        Assert.NotEmpty(cases);
        foreach (JsonNode? one in cases)
        {
            string text = (string)one!["text"]!;
            void Check(string what, Tokenizer tokenizer, string key)
            {
                int[] ids = tokenizer.Encode(text).Ids;
                if (!ids.SequenceEqual(one[key]!.AsArray().Select(id => (int)id!))) wrong.Add($"{what} {JsonSerializer.Serialize(text)}: {string.Join(' ', ids)} for {one[key]!.ToJsonString()}");
            }
            Check("lower", lower, "ids");
            Check("fast", fast, "ids");
            Check("cased", cased, "ids_without_lowercasing");
            string[] tokens = [.. lower.Encode(text, addSpecialTokens: false).Ids.Select(lower.Token)];
            if (!tokens.SequenceEqual(one["tokens"]!.AsArray().Select(token => (string)token!))) wrong.Add($"tokens {text}: {string.Join(' ', tokens)}");
        }
        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
        JsonNode truncated = expected["truncated"]!;
        TokenizedText cut = lower.Encode((string)truncated["text"]!, maxLength: (int)truncated["max_length"]!);
        Assert.Equal(truncated["ids"]!.AsArray().Select(id => (int)id!), cut.Ids);
        Assert.Equal(lower.Encode((string)truncated["text"]!).Ids.Length - 16, cut.Dropped);
    }

    // The fixture's vocabulary with settings of its own, by one road or the other.
    private Tokenizer Road(bool plain, bool lowerCase)
    {
        string vocabulary = Repository.Data("tokenizers", "bert-base-uncased", "vocab.txt"), name = $"{plain}-{lowerCase}";
        if (plain)
        {
            folder.Write(Path.Combine(name, "vocab.txt"), File.ReadAllText(vocabulary));
            folder.Write(Path.Combine(name, "tokenizer_config.json"), lowerCase ? """{"model_max_length": 512}""" : """{"do_lower_case": false, "tokenizer_class": "BertTokenizer"}""");
        }
        else folder.Write(Path.Combine(name, "tokenizer.json"), FastJson(File.ReadAllLines(vocabulary), lowerCase).ToJsonString());
        return TokenizerFiles.Load(folder[name]);
    }

    private static JsonObject FastJson(string[] vocabulary, bool lowerCase) => new()
    {
        ["version"] = "1.0",
        ["added_tokens"] = new JsonArray([.. new[] { "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]" }.Select(token => (JsonNode)new JsonObject
        {
            ["id"] = Array.IndexOf(vocabulary, token), ["content"] = token, ["special"] = true,
        })]),
        ["normalizer"] = new JsonObject { ["type"] = "BertNormalizer", ["clean_text"] = true, ["handle_chinese_chars"] = true, ["strip_accents"] = null, ["lowercase"] = lowerCase },
        ["pre_tokenizer"] = new JsonObject { ["type"] = "BertPreTokenizer" },
        ["post_processor"] = new JsonObject
        {
            ["type"] = "TemplateProcessing",
            ["single"] = JsonNode.Parse("""[{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}]"""),
        },
        ["model"] = new JsonObject
        {
            ["type"] = "WordPiece",
            ["unk_token"] = "[UNK]",
            ["continuing_subword_prefix"] = "##",
            ["max_input_chars_per_word"] = 100,
            ["vocab"] = new JsonObject(vocabulary.Select((token, id) => KeyValuePair.Create(token, (JsonNode?)id))),
        },
    };

    [Fact]
    public void Words_are_cut_into_the_longest_pieces_with_their_places_in_the_text()
    {
        TokenizedText text = new WordPiece(Vocabulary).Encode("UNwantéd, running lower! 中a");
        Assert.Equal(["[CLS]", "un", "##want", "##ed", ",", "run", "##ning", "low", "##e", "##r", "!", "中", "a", "[SEP]"], text.Ids.Select(new WordPiece(Vocabulary).Token));
        Assert.Equal([(0, 0), (0, 2), (2, 6), (6, 8), (8, 9), (10, 13), (13, 17), (18, 21), (21, 22), (22, 23), (23, 24), (25, 26), (26, 27), (0, 0)], text.Offsets);
        Assert.Equal(0, text.Dropped);
    }

    [Fact]
    public void An_accent_of_its_own_belongs_to_the_character_before_it_or_is_left_out()
    {
        var tokenizer = new WordPiece(Vocabulary);
        Assert.Equal(tokenizer.Encode("e").Ids, tokenizer.Encode("e\u0301").Ids);
        Assert.Equal((0, 1), tokenizer.Encode("e\u0301", addSpecialTokens: false).Offsets[0]);
        var cased = new WordPiece([.. Vocabulary, "é"], new WordPieceSettings { LowerCase = false });
        Assert.Equal("é", cased.Token(cased.Encode("e\u0301", false).Ids[0]));
        Assert.Equal((0, 2), cased.Encode("e\u0301", false).Offsets[0]);
    }

    [Fact]
    public void Special_tokens_in_a_text_are_recognised_unless_they_are_to_be_split()
    {
        var tokenizer = new WordPiece([.. Vocabulary, "[", "]", "mask"]);
        Assert.Equal([15, 4, 15], tokenizer.Encode("a[MASK] a", addSpecialTokens: false).Ids);
        Assert.Equal([15, 19, 21, 20, 15], tokenizer.Encode("a[MASK] a", addSpecialTokens: false, splitSpecialTokens: true).Ids);
        Assert.Equal([19, 21, 20], tokenizer.Encode("[mask]", addSpecialTokens: false).Ids);
        Assert.Equal("running lower!", tokenizer.Decode(tokenizer.Encode("running lower!").Ids));
        Assert.Equal("[CLS] a [SEP]", tokenizer.Decode([2, 15, 3], skipSpecialTokens: false));
        Refusal.Of("99 is no token", () => tokenizer.Decode([99]));
    }

    [Property(MaxTest = 300)]
    public void Any_text_gives_tokens_of_the_vocabulary_at_places_in_order(char[] characters)
    {
        var tokenizer = new WordPiece(Vocabulary);
        string text = new(characters);
        TokenizedText tokens = tokenizer.Encode(text, addSpecialTokens: false);
        int end = 0;
        foreach (((int start, int stop), int id) in tokens.Offsets.Zip(tokens.Ids))
        {
            Assert.InRange(id, 0, tokenizer.VocabularySize - 1);
            Assert.InRange(stop, start + 1, text.Length);
            Assert.True(start >= end || stop == end, "places go back");
            end = stop;
        }
        Assert.Equal(tokens.Ids, tokenizer.Encode(text, addSpecialTokens: false).Ids);
        for (int most = 2; most < tokens.Ids.Length + 2; most++)
        {
            TokenizedText cut = tokenizer.Encode(text, maxLength: most);
            Assert.Equal((Math.Min(most, tokens.Ids.Length + 2), Math.Max(0, tokens.Ids.Length + 2 - most)), (cut.Ids.Length, cut.Dropped));
        }
    }

    [Fact]
    public void Lone_surrogates_nothing_and_a_text_of_two_megabytes_are_texts_too()
    {
        var tokenizer = new WordPiece(Vocabulary);
        Assert.Equal([2, 3], tokenizer.Encode("").Ids);
        Assert.Equal([15, 16], tokenizer.Encode("a\uD800a", addSpecialTokens: false).Ids);
        Assert.Equal([2, 1, 3], tokenizer.Encode(new string('a', 2_000_000)).Ids);
        Assert.Equal(500_002, tokenizer.Encode(string.Concat(Enumerable.Repeat("a ! ", 250_000))).Ids.Length);
    }

    [Fact]
    public void Damaged_files_are_refused_in_a_sentence()
    {
        string Write(string name, string text) => folder.Write(Path.Combine(Guid.NewGuid().ToString("N"), name), text);
        Refusal.Of("is empty", () => TokenizerFiles.Load(Write("vocab.txt", "\n\n")));
        Refusal.Of("line 2: the token 'a' is there for the second time", () => TokenizerFiles.Load(Write("vocab.txt", "a\na\n")));
        Refusal.Of("'[UNK]' is not among its 1 tokens", () => TokenizerFiles.Load(Write("vocab.txt", "a\n")));
        Refusal.Of("one token a line", () => TokenizerFiles.Load(Write("vocab.txt", new string('x', 100_000))));
        Refusal.Of("does not exist", () => TokenizerFiles.Load(folder["nowhere"]));
        Refusal.Of("holds no tokenizer", () => TokenizerFiles.Load(Path.GetDirectoryName(Write("other.txt", "a"))!));
        Refusal.Of("kind WordLevel; BPE, Unigram and WordPiece are known", () => TokenizerFiles.Load(Write("tokenizer.json", """{"model": {"type": "WordLevel", "vocab": {}}}""")));
        Refusal.Of("no \"model\"", () => TokenizerFiles.Load(Write("tokenizer.json", "{}")));
        Refusal.Of("'a' and 'b' have the same id, 0", () => TokenizerFiles.Load(Write("tokenizer.json", """{"model": {"type": "WordPiece", "vocab": {"a": 0, "b": 0}}}""")));
        Refusal.Of("do_lower_case", () =>
        {
            string vocabulary = Write("vocab.txt", string.Join('\n', Vocabulary));
            File.WriteAllText(Path.Combine(Path.GetDirectoryName(vocabulary)!, "tokenizer_config.json"), """{"do_lower_case": "no"}""");
            TokenizerFiles.Load(vocabulary);
        });
        string binary = Write("vocab.txt", "");
        File.WriteAllBytes(binary, [0x61, 0xFF, 0x0A]);
        Refusal.Of("no UTF-8 text", () => TokenizerFiles.Load(binary));
    }

    [Fact]
    public void Added_tokens_and_the_longest_text_are_read_from_the_files_beside_a_vocabulary()
    {
        folder.Write(Path.Combine("t", "vocab.txt"), string.Join('\n', Vocabulary));
        folder.Write(Path.Combine("t", "added_tokens.json"), """{"<user>": 19}""");
        folder.Write(Path.Combine("t", "tokenizer_config.json"), """{"model_max_length": 1000000000000000019884624838656, "pad_token": {"content": "[MASK]"}}""");
        Tokenizer tokenizer = TokenizerFiles.Load(folder["t"]);
        Assert.Equal((20, null, 4), (tokenizer.VocabularySize, tokenizer.LongestText, tokenizer.PadId));
        Assert.Equal([15, 19, 15], tokenizer.Encode("a<user>a", addSpecialTokens: false).Ids);
    }

    [Fact]
    public void A_blank_before_a_mark_ends_a_word()
    {
        var cased = new WordPiece([.. Vocabulary, "\u0301"], new WordPieceSettings { LowerCase = false });
        Assert.Equal([15, 19], cased.Encode("a\t\u0301", addSpecialTokens: false).Ids);
    }

    [Fact]
    public void Added_tokens_of_a_vocabulary_are_found_in_lower_case_and_left_out_only_where_they_are_special()
    {
        folder.Write(Path.Combine("t", "vocab.txt"), string.Join('\n', Vocabulary));
        folder.Write(Path.Combine("t", "added_tokens.json"), """{"<User>": 19, "<end>": 20}""");
        folder.Write(Path.Combine("t", "special_tokens_map.json"), """{"additional_special_tokens": ["<end>", "!"]}""");
        Tokenizer tokenizer = TokenizerFiles.Load(folder["t"]);
        Assert.Equal([15, 19, 19, 20], tokenizer.Encode("a <user> <USER><end>", addSpecialTokens: false).Ids);
        Assert.Equal([15, 1], tokenizer.Encode("a<END>", addSpecialTokens: false).Ids.Distinct());
        Assert.Equal("a <User>", tokenizer.Decode([15, 19, 20, 18]));
        Assert.Equal("a <User> <end>!", tokenizer.Decode([15, 19, 20, 18], skipSpecialTokens: false));
    }

    [Theory]
    [InlineData("DistilBertTokenizer", true)]
    [InlineData("ElectraTokenizerFast", true)]
    [InlineData("BertJapaneseTokenizer", false)]
    [InlineData("BertweetTokenizer", false)]
    [InlineData("XLNetTokenizer", false)]
    public void Only_the_classes_that_read_so_are_taken(string name, bool known)
    {
        folder.Write(Path.Combine("t", "vocab.txt"), string.Join('\n', Vocabulary));
        folder.Write(Path.Combine("t", "tokenizer_config.json"), $$"""{"tokenizer_class": "{{name}}"}""");
        if (known) Assert.Equal([15], TokenizerFiles.Load(folder["t", "tokenizer_config.json"]).Encode("A", false).Ids);
        else Refusal.Of($"tokenizer_class is {name}", () => TokenizerFiles.Load(folder["t"]));
    }
}
