using System.Text;
using System.Text.Json.Nodes;
using Permafrost.Tokenizers;

namespace Permafrost.Tests.Tokenizers;

/// <summary>Files that are no tokenizer, damaged or made to do harm: one sentence each, soon, and in little memory.</summary>
public sealed class TokenizerRefusalTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("GPT-2", "normalizer", """{"type": "Odd"}""", "the normalizer Odd is not known")]
    [InlineData("GPT-2", "normalizer", """{"type": "Replace", "pattern": {"Regex": "(a"}, "content": "b"}""", "the regular expression '(a' is not known")]
    [InlineData("GPT-2", "normalizer", """{"type": "Prepend"}""", "has no \"prepend\"")]
    [InlineData("GPT-2", "normalizer", """{"type": "Strip", "odd": 1}""", "has the setting \"odd\", which is not known")]
    [InlineData("GPT-2", "normalizer", "[1]", "\"normalizer\" is no object")]
    [InlineData("GPT-2", "pre_tokenizer", """{"type": "UnicodeScripts"}""", "the pre_tokenizer UnicodeScripts is not known")]
    [InlineData("GPT-2", "pre_tokenizer", """{"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "Digits"}]}""", "Digits stands behind ByteLevel")]
    [InlineData("GPT-2", "pre_tokenizer", """{"type": "Split", "behavior": "Isolated", "pattern": {}}""", "has no \"pattern\"")]
    [InlineData("GPT-2", "post_processor", """{"type": "RobertaProcessing"}""", "does not say which tokens stand around a text")]
    [InlineData("GPT-2", "post_processor", """{"type": "BertProcessing", "sep": ["[SEP]", 1], "cls": ["[CLS]", 2]}""", "the special token '[CLS]' is not among its")]
    [InlineData("GPT-2", "decoder", """{"type": "CTC"}""", "the decoder CTC is not known")]
    [InlineData("GPT-2", "surprise", "{}", "the key \"surprise\" is not known")]
    [InlineData("GPT-2", "model", """{"type": "WordLevel", "vocab": {}}""", "of the kind WordLevel")]
    [InlineData("GPT-2", "model", """{"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}""", "needs the token 'b', which is not in the vocabulary")]
    [InlineData("GPT-2", "model", """{"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}""", "needs the token 'ab'")]
    [InlineData("GPT-2", "model", """{"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}""", "merge 1 is not two tokens")]
    [InlineData("GPT-2", "model", """{"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}""", "have the same id, 0")]
    [InlineData("GPT-2", "model", """{"type": "BPE", "vocab": {"a": 2000000000}, "merges": []}""", "has no id that can be")]
    [InlineData("GPT-2", "model", """{"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 0.1}""", "cuts words at random")]
    [InlineData("GPT-2", "model", """{"type": "BPE", "vocab": {"a": 0}, "merges": [], "unk_token": "?"}""", "'?', is not in the vocabulary")]
    [InlineData("GPT-2", "model", """{"type": "BPE", "vocab": {"a": 0}}""", "no \"merges\"")]
    [InlineData("GPT-2", "model", """{"type": "BPE", "vocab": {}, "merges": []}""", "vocabulary is empty")]
    [InlineData("T5", "model", """{"type": "Unigram", "vocab": [["a", 0]]}""", "has no \"unk_id\"")]
    [InlineData("T5", "model", """{"type": "Unigram", "unk_id": 7, "vocab": [["a", 0]]}""", "\"unk_id\" is 7, and it has 1 pieces")]
    [InlineData("T5", "model", """{"type": "Unigram", "unk_id": 0, "vocab": [["a", 0], ["a", 1]]}""", "'a' is there twice")]
    [InlineData("T5", "model", """{"type": "Unigram", "unk_id": 0, "vocab": [["a", 0], ["b"]]}""", "piece 1 of the vocabulary is not a text and a score")]
    [InlineData("T5", "model", """{"type": "Unigram", "unk_id": 0, "vocab": [["a", 0]], "alpha": 0.1}""", "the model's setting \"alpha\" is not known")]
    [InlineData("T5", "normalizer", """{"type": "Precompiled", "precompiled_charsmap": "?"}""", "is not base64")]
    [InlineData("T5", "normalizer", """{"type": "Precompiled", "precompiled_charsmap": "/////w=="}""", "its trie is longer than the map")]
    [InlineData("T5", "pre_tokenizer", """{"type": "Metaspace", "replacement": "ab"}""", "is not one character")]
    [InlineData("T5", "pre_tokenizer", """{"type": "Metaspace", "replacement": "_", "prepend_scheme": "often"}""", "has the prepend_scheme 'often'")]
    [InlineData("T5", "pre_tokenizer", """{"type": "ByteLevel"}""", "ByteLevel goes with BPE")]
    public void What_is_not_known_or_cannot_be_is_refused_by_name(string name, string key, string value, string mention)
    {
        JsonObject json = PipelineFile.Json(name);
        json["added_tokens"] = new JsonArray();
        json[key] = JsonNode.Parse(value);
        string path = folder.Write("tokenizer.json", json.ToJsonString());
        Assert.Contains(path, Refusal.Of(mention, () => TokenizerFiles.Load(path)), StringComparison.Ordinal);
    }

    [Fact]
    public void Files_of_the_wrong_kind_say_so()
    {
        string vocabulary = """{"a": 0, "b": 1, "ab": 2}""";
        void Of(string what, string name, string content, params (string, string)[] beside)
        {
            using var other = new TemporaryFolder();
            foreach ((string file, string text) in beside) other.Write(file, text);
            Refusal.Of(what, () => TokenizerFiles.Load(other.Write(name, content)));
        }
        Of("is no tokenizer: it has no \"model\"", "config.json", """{"model_type": "gpt2"}""");
        Of("is no vocabulary: the value of 'model' is no id", "vocab.json", """{"model": {}}""", ("merges.txt", ""));
        Of("merges.txt does not exist", "vocab.json", vocabulary);
        Of("vocab.json does not exist", "merges.txt", "a b\n");
        Of("merges.txt line 2 is not two tokens", "vocab.json", vocabulary, ("merges.txt", "a b\nc\n"));
        Of("needs the token 'c'", "vocab.json", vocabulary, ("merges.txt", "#version: 0.2\nc b\n"));
        Of("have the same id, 0", "vocab.json", """{"a": 0, "b": 0}""", ("merges.txt", ""));
        foreach (string merges in new[] { "", "#version: 0.2\n" })
            Of("merges.txt is truncated, or of another vocabulary: none of its merges makes 1 of the tokens, such as 'ab'", "vocab.json", vocabulary, ("merges.txt", merges));
        foreach ((string name, string beside) in new[] { ("tokenizer.json", ""), ("vocab.txt", ""), ("vocab.json", "merges.txt"), ("merges.txt", "vocab.json"), ("spiece.model", "") })
        {
            (string, string)[] other = beside.Length == 0 ? [] : [(beside, beside == "vocab.json" ? vocabulary : "a b\n")];
            Of($"{name} is a web page under another file's name", name, "\n<!DOCTYPE html><html></html>", other);
            Of($"{name} is a Git LFS pointer", name, "version https://git-lfs.github.com/spec/v1\n", other);
        }
        Of("is no SentencePiece model, or is damaged", "spiece.model", "hello");
        Of("Git LFS pointer", "spiece.model", "version https://git-lfs.github.com/spec/v1\n");
        Of("tokenizer_class is XLNet", "vocab.json", vocabulary, ("merges.txt", "a b"), ("tokenizer_config.json", """{"tokenizer_class": "XLNetTokenizer"}"""));
        Refusal.Of("holds no tokenizer (tokenizer.json, vocab.txt, vocab.json and merges.txt, spiece.model or tokenizer.model)", () => TokenizerFiles.Load(folder.Path));
    }

    [Theory]
    [InlineData("model_max_length", "0", "0")]
    [InlineData("model_max_length", "-5", "-5")]
    [InlineData("model_max_length", "\"512\"", "\"512\"")]
    [InlineData("tokenizer_class", "7", "7")]
    [InlineData("tokenizer_class", "[\"GPT2Tokenizer\"]", "[\"GPT2Tokenizer\"]")]
    public void A_configuration_of_wrong_values_is_refused_by_name(string key, string value, string mention)
    {
        foreach ((string road, (string, string)[] files) in new[]
        {
            ("vocab.json", new[] { ("vocab.json", """{"a": 0, "b": 1, "ab": 2}"""), ("merges.txt", "a b\n") }),
            ("vocab.txt", [("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")]),
            ("tokenizer.json", [("tokenizer.json", PipelineFile.Json("GPT-2").ToJsonString())]),
        })
        {
            // With a tokenizer.json nothing follows from the class.
            if (road == "tokenizer.json" && key == "tokenizer_class") continue;
            foreach ((string name, string content) in files) folder.Write(Path.Combine(road, name), content);
            folder.Write(Path.Combine(road, "tokenizer_config.json"), $$"""{"{{key}}": {{value}}}""");
            Refusal.Of($"tokenizer_config.json: \"{key}\" is {mention}, where", () => TokenizerFiles.Load(folder[road]));
            foreach (string sound in new[] { "1000000000000000019884624838656", "1e30", "Infinity", "null" })
            {
                folder.Write(Path.Combine(road, "tokenizer_config.json"), $$"""{"model_max_length": {{sound}}}""");
                Assert.Null(TokenizerFiles.Load(folder[road]).LongestText);
            }
        }
    }

    [Fact]
    public void Tokens_that_no_text_has_as_a_word_need_no_merge()
    {
        folder.Write("vocab.json", """{"a": 0, "b": 1, "ab": 2, "<odd>": 3, "madeupword0000": 4, "new": 5}""");
        folder.Write("merges.txt", "a b\n");
        Assert.Contains("'new'", Refusal.Of("merges.txt is truncated", () => TokenizerFiles.Load(folder.Path)), StringComparison.Ordinal);
        folder.Write("added_tokens.json", """{"new": 5}""");
        Assert.Equal([2, 5], TokenizerFiles.Load(folder.Path).Encode("abnew").Ids);
    }

    [Fact]
    public void Published_vocabularies_are_whole()
    {
        foreach (string name in new[] { "gpt2", "tiny-bpe" }) Assert.NotEmpty(TokenizerFiles.Load(Repository.Data("tokenizers", name)).Encode("a text").Ids);
        string merges = File.ReadAllText(Path.Combine(Repository.Data("tokenizers", "gpt2"), "merges.txt")).TrimEnd('\n');
        File.Copy(Path.Combine(Repository.Data("tokenizers", "gpt2"), "vocab.json"), folder["vocab.json"]);
        folder.Write("merges.txt", merges[..(merges.LastIndexOf('\n', merges.Length * 9 / 10) + 1)]);
        Refusal.Of("merges.txt is truncated", () => TokenizerFiles.Load(folder.Path));
    }

    [Fact]
    public void A_file_larger_than_any_vocabulary_is_not_read()
    {
        foreach (string name in new[] { "tokenizer.json", "vocab.txt" })
        {
            using (FileStream file = File.Create(folder[name])) file.SetLength((128L << 20) + 1);
            Refusal.Of(name, () => TokenizerFiles.Load(folder[name]));
        }
    }

    [Fact]
    public void A_SentencePiece_model_cut_anywhere_is_read_or_refused_and_lengths_are_not_believed()
    {
        byte[] model = PipelineFile.Model("uni");
        for (int length = 0; length < model.Length; length += 7)
        {
            string path = folder.Write("cut.model", model[..length]);
            try
            {
                TokenizerFiles.Load(path).Encode("the cat");
            }
            catch (PermafrostException error)
            {
                Assert.Contains(path, error.Message, StringComparison.Ordinal);
            }
        }
        // A piece of 2 GiB, in a file of a few bytes.
        Refusal.Of("is damaged", () => TokenizerFiles.Load(folder.Write("long.model", [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x07, 0x0A])));
        Refusal.Of("is damaged", () => TokenizerFiles.Load(folder.Write("nested.model", [0x0A, 0x06, 0x0A, 0xFF, 0xFF, 0xFF, 0x7F, 0x61])));
    }

    [Fact]
    public void A_map_of_characters_whose_offsets_lead_astray_is_refused_or_does_no_harm()
    {
        JsonObject json = PipelineFile.Json("T5");
        byte[] map = Convert.FromBase64String((string)json["normalizer"]!["precompiled_charsmap"]!);
        var random = new Random(3);
        string text = string.Concat(PipelineFile.Texts("T5").Select(one => one.Text));
        int refused = 0;
        for (int i = 0; i < 300; i++)
        {
            byte[] bad = [.. map];
            for (int n = 0; n < 8; n++) bad[random.Next(bad.Length)] = (byte)random.Next(256);
            json["normalizer"]!["precompiled_charsmap"] = Convert.ToBase64String(bad);
            string path = folder.Write("tokenizer.json", json.ToJsonString());
            try
            {
                TokenizerFiles.Load(path).Encode(text);
            }
            catch (PermafrostException error)
            {
                refused++;
                Assert.Contains("precompiled_charsmap is damaged", error.Message, StringComparison.Ordinal);
            }
        }
        Assert.InRange(refused, 1, 299);
    }

    [Trait("tier", "long")]
    [Fact]
    public void Rules_that_blow_a_text_up_are_stopped()
    {
        JsonObject json = PipelineFile.Json("GPT-2");
        JsonNode Step() => JsonNode.Parse("""{"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}""")!;
        json["normalizer"] = new JsonObject { ["type"] = "Sequence", ["normalizers"] = new JsonArray([.. Enumerable.Range(0, 7).Select(_ => Step())]) };
        string path = folder.Write("tokenizer.json", json.ToJsonString());
        Refusal.Of("its normalizer is not sound", () => TokenizerFiles.Load(path).Encode("a"));
        // As much as Unicode's own rules make of U+FDFA is the text's fault.
        json["normalizer"] = JsonNode.Parse("""{"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaaaaaaaaaa"}""");
        path = folder.Write("tokenizer.json", json.ToJsonString());
        Refusal.Of("break the text up", () => TokenizerFiles.Load(path).Encode(new string('a', Tokenizer.MostCharacters / 2)));
    }

    [Fact]
    public void A_regular_expression_that_takes_for_ever_is_stopped()
    {
        JsonObject json = PipelineFile.Json("GPT-2");
        json["pre_tokenizer"] = JsonNode.Parse("""{"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}, {"type": "ByteLevel", "use_regex": false}]}""");
        Tokenizer tokenizer = TokenizerFiles.Load(folder.Write("tokenizer.json", json.ToJsonString()));
        Refusal.Of("takes longer than 10 seconds", () => tokenizer.Encode(new string('a', 60) + "b"));
    }

    [Fact]
    public void Gaps_are_no_tokens_and_bytes_that_are_missing_are_left_out()
    {
        folder.Write("vocab.json", """{"a": 0, "b": 7, "ab": 9}""");
        folder.Write("merges.txt", "a b\n");
        Tokenizer tokenizer = TokenizerFiles.Load(folder.Path);
        Assert.Equal(10, tokenizer.VocabularySize);
        Assert.Equal([9, 7], tokenizer.Encode("abzb").Ids);
        Refusal.Of("8 is no token", () => tokenizer.Token(8));
    }

    [Fact]
    public void Half_of_a_surrogate_pair_and_NUL_are_read()
    {
        foreach (string name in new[] { "GPT-2", "T5", "Llama 2", "ALBERT", "o200k, inverted" })
        {
            Tokenizer tokenizer = TokenizerFiles.Load(folder.Write(Path.Combine(name, "tokenizer.json"), PipelineFile.Json(name).ToJsonString()));
            Assert.Equal(tokenizer.Encode("a\uFFFD\0 b").Ids, tokenizer.Encode("a\uD800\0 b").Ids);
            Assert.Equal(tokenizer.Encode("\uFFFD\uFFFD").Ids, tokenizer.Encode("\uDC00\uD800").Ids);
        }
        Assert.Equal("\uFFFD", TokenizerFiles.Load(folder["GPT-2"]).Decode(Encoding.UTF8.GetBytes("😀").Take(1).Select(_ => 240).ToArray()));
    }
}
