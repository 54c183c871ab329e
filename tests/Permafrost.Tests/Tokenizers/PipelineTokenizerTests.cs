using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using FsCheck.Xunit;
using Permafrost.Tokenizers;

namespace Permafrost.Tests.Tokenizers;

/// <summary>BPE and Unigram against the software that they are of, from every kind of file, and what must hold for any text.</summary>
public sealed class PipelineTokenizerTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public static TheoryData<string> Names => [.. PipelineFile.Names];

    public static TheoryData<string> Models => [.. PipelineFile.Models];

    public void Dispose() => folder.Dispose();

    private Tokenizer Load(string name) => TokenizerFiles.Load(folder.Write(Path.Combine(name, "tokenizer.json"), PipelineFile.Json(name).ToJsonString()));

    [Theory]
    [MemberData(nameof(Names))]
    public void Ids_offsets_and_texts_are_those_of_Hugging_Face(string name)
    {
        Tokenizer tokenizer = Load(name);
        foreach ((string text, int[] ids, string offsets, string decoded) in PipelineFile.Texts(name))
        {
            string what = JsonSerializer.Serialize(text);
            TokenizedText tokens = tokenizer.Encode(text);
            Assert.True(ids.SequenceEqual(tokens.Ids), $"{what}: {string.Join(' ', tokens.Ids.Select(tokenizer.Token))}, expected {string.Join(' ', ids.Select(tokenizer.Token))}");
            int Characters(int units) => text[..units].EnumerateRunes().Count();
            Assert.Equal($"{what} {offsets}", $"{what} {string.Join(' ', tokens.Offsets.Select(offset => $"{Characters(offset.Start)} {Characters(offset.End)}"))}");
            Assert.Equal(decoded, tokenizer.Decode(ids, skipSpecialTokens: false));
        }
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void Ids_and_texts_of_SentencePiece_models_are_SentencePieces(string name)
    {
        Tokenizer tokenizer = TokenizerFiles.Load(folder.Write($"{name}.model", PipelineFile.Model(name)));
        foreach ((string text, int[] ids, string decoded) in PipelineFile.ModelTexts(name))
        {
            int[] made = tokenizer.Encode(text, addSpecialTokens: false, splitSpecialTokens: true).Ids;
            Assert.True(ids.SequenceEqual(made), $"{JsonSerializer.Serialize(text)}: {string.Join(' ', made.Select(tokenizer.Token))}, expected {string.Join(' ', ids.Select(tokenizer.Token))}");
            Assert.Equal(decoded, tokenizer.Decode(ids, skipSpecialTokens: false));
        }
    }

    [Fact]
    public void A_SentencePiece_model_and_the_tokenizer_json_made_of_it_give_the_same_ids()
    {
        Tokenizer model = TokenizerFiles.Load(folder.Write("spiece.model", PipelineFile.Model("uni"))), json = Load("T5, new");
        Assert.Equal(json.VocabularySize + 100, model.VocabularySize);
        foreach ((string text, _, _, _) in PipelineFile.Texts("T5")) Assert.Equal(json.Encode(text.Replace('▁', '_')).Ids, model.Encode(text.Replace('▁', '_')).Ids);
        Assert.Equal(model.VocabularySize - 1, model.Encode("a<extra_id_0>", addSpecialTokens: false).Ids[^1]);
    }

    [Fact]
    public void On_odd_texts_the_two_differ_as_the_library_and_SentencePiece_do()
    {
        // U+0085 is a blank to the library, where it splits at blanks, and an unknown character to SentencePiece.
        Tokenizer model = TokenizerFiles.Load(folder.Write("spiece.model", PipelineFile.Model("uni"))), json = Load("T5, old");
        const string Odd = "the\u0085cat";
        Assert.DoesNotContain(json.UnknownId!.Value, json.Encode(Odd).Ids);
        Assert.Contains(model.UnknownId!.Value, model.Encode(Odd).Ids);
    }

    [Fact]
    public void A_vocabulary_with_merges_and_the_tokenizer_json_made_of_it_give_the_same_ids()
    {
        foreach ((string name, string type, bool prefixed) in new[] { ("GPT-2", "gpt2", false), ("RoBERTa", "roberta", false), ("RoBERTa with a space before", "roberta", true), ("Qwen2", "qwen2", false) })
        {
            JsonObject json = PipelineFile.Json(name), vocabulary = json["model"]!["vocab"]!.DeepClone().AsObject();
            // It is there for models that ignore merges.
            vocabulary.Remove("Ġwhole");
            JsonArray added = json["added_tokens"]!.AsArray();
            foreach (JsonNode? token in added) vocabulary[(string)token!["content"]!] = (int)token["id"]!;
            folder.Write(Path.Combine(type, "vocab.json"), vocabulary.ToJsonString());
            folder.Write(Path.Combine(type, "merges.txt"), "#version: 0.2\n" + string.Join('\n', json["model"]!["merges"]!.AsArray().Select(merge => (string)merge!)) + "\n");
            folder.Write(Path.Combine(type, "config.json"), $$"""{"model_type": "{{type}}"}""");
            var decoder = new JsonObject(added.Select(token => KeyValuePair.Create(token!["id"]!.ToString(), (JsonNode?)token.DeepClone())));
            foreach ((_, JsonNode? token) in decoder) token!.AsObject().Remove("id");
            folder.Write(Path.Combine(type, "tokenizer_config.json"), new JsonObject { ["add_prefix_space"] = prefixed, ["added_tokens_decoder"] = decoder }.ToJsonString());
            Tokenizer files = TokenizerFiles.Load(folder[type]);
            foreach ((string text, int[] ids, string offsets, _) in PipelineFile.Texts(name))
            {
                Assert.Equal(ids, files.Encode(text).Ids);
                if (name != "GPT-2") Assert.Equal(Load(name).Encode(text).Offsets, files.Encode(text).Offsets);
            }
            Assert.Equal(files.VocabularySize, TokenizerFiles.Load(folder[type, "merges.txt"]).VocabularySize);
            Assert.Equal(files.VocabularySize, TokenizerFiles.Load(folder[type, "vocab.json"]).VocabularySize);
        }
    }

    [Fact]
    public void Ids_of_GPT2_are_those_of_the_fixture()
    {
        JsonNode expected = JsonNode.Parse(File.ReadAllText(Repository.Fixture("tokenizer_gpt2", "expected.json")))!;
        Tokenizer tokenizer = TokenizerFiles.Load(Repository.Data("tokenizers", "gpt2"));
        Assert.Equal(50257, tokenizer.VocabularySize);
        foreach (JsonNode? one in expected["cases"]!.AsArray())
        {
            string text = (string)one!["text"]!;
            int[] ids = tokenizer.Encode(text, addSpecialTokens: false, splitSpecialTokens: true).Ids;
            Assert.Equal($"{text} {one["ids"]!.ToJsonString()}", $"{text} [{string.Join(',', ids)}]");
            Assert.Equal(one["tokens"]!.AsArray().Select(token => (string)token!), ids.Select(tokenizer.Token));
            Assert.Equal((string)one["decoded"]!, tokenizer.Decode(ids, skipSpecialTokens: false));
        }
        Assert.Equal([50256], tokenizer.Encode("<|endoftext|>").Ids);
    }

    [Theory]
    [InlineData("t5", "t5/spiece.model")]
    [InlineData("albert", "albert/spiece.model")]
    [InlineData("sentencepiece-test", "sentencepiece-tests/test_model.model")]
    [InlineData("llama-style-tiny", "llama-style-tiny/m.model")]
    public void Ids_of_SentencePiece_are_those_of_the_fixture(string name, string file)
    {
        JsonNode expected = JsonNode.Parse(File.ReadAllText(Repository.Fixture("tokenizer_sentencepiece", "expected.json")))!["models"]![name]!;
        Tokenizer tokenizer = TokenizerFiles.Load(Repository.Data(["tokenizers", .. file.Split('/')]));
        foreach (JsonNode? one in expected["cases"]!.AsArray())
        {
            string text = (string)one!["text"]!;
            int[] ids = tokenizer.Encode(text, addSpecialTokens: false, splitSpecialTokens: true).Ids;
            Assert.Equal($"{text} {one["ids"]!.ToJsonString()}", $"{text} [{string.Join(',', ids)}]");
            Assert.Equal((string)one["decoded"]!, tokenizer.Decode(ids, skipSpecialTokens: false));
        }
        if (name == "t5") Assert.Equal([8774, 1, 32099], [.. tokenizer.Encode("Hello").Ids, .. tokenizer.Encode("<extra_id_0>", addSpecialTokens: false).Ids]);
        if (name == "albert") Assert.Equal((2, 3), (tokenizer.Encode("a").Ids[0], tokenizer.Encode("a").Ids[^1]));
    }

    [Property(MaxTest = 300)]
    public void A_byte_level_vocabulary_gives_any_text_back(char[] characters)
    {
        string text = new(characters), sound = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));
        Tokenizer tokenizer = Load("Llama 3");
        TokenizedText tokens = tokenizer.Encode(text, addSpecialTokens: false, splitSpecialTokens: true);
        Assert.Equal(sound, tokenizer.Decode(tokens.Ids, skipSpecialTokens: false));
        foreach ((int start, int end) in tokens.Offsets) Assert.True(start >= 0 && start <= end && end <= text.Length);
        TokenizedText cut = tokenizer.Encode(text, maxLength: 3);
        Assert.Equal(tokenizer.Encode(text).Ids.Length, cut.Ids.Length + cut.Dropped);
        Assert.Equal(tokenizer.Encode(text).Ids.Take(3), cut.Ids);
    }

    [Trait("tier", "long")]
    [Theory]
    [InlineData(@"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")]
    [InlineData(@"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")]
    [InlineData(@"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")]
    public void Words_found_without_a_regular_expression_are_those_that_it_finds(string expression)
    {
        var random = new Random(7);
        string[] parts = ["a", "Z", "é", "'s", "'LL", "'", " ", "  ", "\n", "\r\n", "\t", "1", "22", "٣", "½", "!", "?!", "\u00a0", "\u0301", "😀", "𝒳", "𝟘", "中", "_", "\u200b"];
        for (int i = 0; i < 2000; i++)
        {
            string text = string.Concat(Enumerable.Range(0, random.Next(1, 12)).Select(_ => parts[random.Next(parts.Length)]));
            (var scanned, var matched) = (new List<(int, int)>(), new List<(int, int)>());
            WordScanner.For(expression)!.Find(text, scanned);
            new RegexPattern(expression, "a test").Find(text, matched);
            Assert.True(matched.SequenceEqual(scanned), $"{JsonSerializer.Serialize(text)}: {string.Join(' ', scanned)}, expected {string.Join(' ', matched)}");
            if (i > 200 && i % 8 != 0) i++;
        }
    }

    [Fact]
    public void Many_texts_on_all_cores_are_each_as_by_itself()
    {
        Tokenizer tokenizer = Load("T5");
        string[] texts = [.. Enumerable.Range(0, 3000).Select(i => $"the cat sat {i} on a {new string('x', i % 50)} mat")];
        IReadOnlyList<TokenizedText> batch = tokenizer.EncodeBatch(texts, maxLength: 9);
        for (int i = 0; i < texts.Length; i++) Assert.Equal(tokenizer.Encode(texts[i], maxLength: 9).Ids, batch[i].Ids);
        Refusal.Of("characters", () => tokenizer.EncodeBatch([.. texts, new string('a', Tokenizer.MostCharacters + 1)]));
        Assert.Throws<OperationCanceledException>(() => tokenizer.EncodeBatch(texts, cancellation: new CancellationToken(true)));
    }

    [Fact]
    public void A_long_word_costs_no_more_than_its_length()
    {
        string text = new('a', 1 << 20);
        foreach (string name in new[] { "GPT-2", "Llama 2", "T5", "Qwen2" }) Assert.Equal(1 << 20, Load(name).Encode(text, addSpecialTokens: false).Offsets[^1].End);
        Refusal.Of("at most 8,388,608 are read as one", () => Load("GPT-2").Encode(new string('a', 1 << 24)));
        // Nothing but marks: put in their order, and not one by one.
        Assert.NotEmpty(Load("Qwen2").Encode(string.Concat(Enumerable.Repeat("\u0301\u0323", 1 << 18))).Ids);
    }
}
