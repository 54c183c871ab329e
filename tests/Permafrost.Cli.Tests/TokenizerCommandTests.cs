using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Permafrost.Cli.Tests;

/// <summary>`tokenizer encode` and `decode`, on the fixture's vocabulary and on a small one.</summary>
public sealed class TokenizerCommandTests : IDisposable
{
    private const string Vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##want\n##ed\nrun\n##ning\n,\na\n##a\né\n!\n";

    private readonly Scratch scratch = new();

    public void Dispose() => scratch.Dispose();

    private string Small
    {
        get
        {
            Directory.CreateDirectory(scratch["small"]);
            scratch.Write(Path.Combine("small", "vocab.txt"), Vocabulary);
            return scratch["small"];
        }
    }

    [Theory]
    [InlineData("vocab.txt")]
    [InlineData("tokenizer.json")]
    public void Ids_and_tokens_of_the_fixture_by_either_road(string road)
    {
        JsonNode expected = JsonNode.Parse(File.ReadAllText(Repository.Fixture("tokenizer_bert", "expected.json")))!;
        string vocabulary = Repository.Data("tokenizers", "bert-base-uncased", "vocab.txt");
        JsonArray cases = expected["cases"]!.AsArray();
        string input = scratch.Write("texts.jsonl", string.Concat(cases.Select(one => one!["text"]!.ToJsonString() + "\n")));
        foreach ((string key, bool lower) in new[] { ("ids", true), ("ids_without_lowercasing", false) })
        {
            string folder = $"{road}-{lower}";
            Directory.CreateDirectory(scratch[folder]);
            string settings = road == "vocab.txt" ? $$"""{"do_lower_case": {{(lower ? "true" : "false")}}}""" : Fast(File.ReadAllLines(vocabulary), lower);
            scratch.Write(Path.Combine(folder, road == "vocab.txt" ? "tokenizer_config.json" : road), settings);
            if (road == "vocab.txt") File.Copy(vocabulary, scratch[Path.Combine(folder, road)]);
            CliResult result = Cli.Run("tokenizer", "encode", "--tokenizer", scratch[folder], "--input", input, "--json-lines", "--json").Succeeded();
            JsonNode[] lines = [.. result.Lines.Select(line => JsonNode.Parse(line)!)];
            Assert.Equal(cases.Count, lines.Length);
            foreach ((JsonNode? one, JsonNode line) in cases.Zip(lines))
            {
                Assert.Equal($"{one!["text"]!.ToJsonString()} {one[key]!.ToJsonString()}", $"{one["text"]!.ToJsonString()} {line["ids"]!.ToJsonString()}");
                JsonArray tokens = line["tokens"]!.AsArray();
                Assert.Equal(line["offsets"]!.AsArray().Count, tokens.Count);
                if (lower) Assert.Equal(one["tokens"]!.AsArray().Select(token => (string)token!), tokens.Skip(1).SkipLast(1).Select(token => (string)token!));
            }
        }
    }

    private static string Fast(string[] vocabulary, bool lower) => JsonSerializer.Serialize(new
    {
        added_tokens = new[] { "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]" }.Select(token => new { id = Array.IndexOf(vocabulary, token), content = token, special = true, normalized = false }),
        normalizer = new { type = "BertNormalizer", clean_text = true, handle_chinese_chars = true, strip_accents = (bool?)null, lowercase = lower },
        pre_tokenizer = new { type = "BertPreTokenizer" },
        post_processor = new { type = "BertProcessing", sep = new object[] { "[SEP]", 102 }, cls = new object[] { "[CLS]", 101 } },
        decoder = new { type = "WordPiece", prefix = "##", cleanup = true },
        model = new { type = "WordPiece", unk_token = "[UNK]", continuing_subword_prefix = "##", max_input_chars_per_word = 100, vocab = vocabulary.Select((token, id) => (token, id)).ToDictionary(p => p.token, p => p.id) },
    });

    [Fact]
    public void Plain_lines_hold_ids_and_json_has_offsets_in_code_points()
    {
        string[] options = ["tokenizer", "encode", "--tokenizer", Small, "--input", "-"];
        Assert.Equal("2 5 6 7 10 8 9 14 3\n2 3\n2 11 3\n", Cli.Run(new CliSettings { Input = "UNwanted, running!\n\na" }, options).Succeeded().Output);
        JsonNode line = JsonNode.Parse(Cli.Run(new CliSettings { Input = "😀 a [SEP]\r\n" }, [.. options, "--json"]).Succeeded().Output)!;
        Assert.Equal("""{"ids":[2,1,11,3,3],"tokens":["[CLS]","[UNK]","a","[SEP]","[SEP]"],"offsets":[[0,0],[0,1],[2,3],[4,9],[0,0]],"dropped":0}""", line.ToJsonString());
        Assert.Equal("11 3\n", Cli.Run(new CliSettings { Input = "a [SEP]\n" }, [.. options, "--no-special-tokens"]).Succeeded().Output);
        Assert.Equal("2 11 1 1 1 3\n", Cli.Run(new CliSettings { Input = "a [SEP]\n" }, [.. options, "--split-special-tokens"]).Succeeded().Output);
        Assert.Equal("2 11 11 3\n", Cli.Run(new CliSettings { Input = "{\"text\": \"a\\na\"}\n" }, [.. options, "--json-lines"]).Succeeded().Output);
    }

    [Fact]
    public void What_was_cut_is_said()
    {
        CliResult result = Cli.Run(new CliSettings { Input = "a a a a\na\n" }, "tokenizer", "encode", "--tokenizer", Small, "--input", "-", "--max-length", "4").Succeeded();
        Assert.Equal("2 11 11 3\n2 11 3\n", result.Output);
        Assert.Contains("1 of 2 text(s) had more than 4 tokens, and were cut: 2 token(s) in all", result.Error, StringComparison.Ordinal);
        Cli.Run("tokenizer", "encode", "--tokenizer", Small, "--input", "-", "--max-length", "1").Failed(2, "--max-length 1 is too short: it must be at least 2 (2 are special tokens)");
    }

    [Fact]
    public void What_encode_prints_decode_reads()
    {
        string small = Small;
        CliResult Decode(string input, params string[] more) => Cli.Run(new CliSettings { Input = input }, ["tokenizer", "decode", "--tokenizer", small, "--input", "-", .. more]);
        Assert.Equal("[CLS] unwanted, running! [SEP]\n\na\n", Decode("2 5 6 7 10 8 9 14 3\n\n11\n").Succeeded().Output);
        Assert.Equal("unwanted\n", Decode("{\"ids\":[2,5,6,7,3]}\n", "--skip-special-tokens").Succeeded().Output);
        Assert.Equal("{\"text\":\"é\"}\n", Decode("[13]\n", "--json").Succeeded().Output);
        Decode("11\n15\n").Failed(1, "standard input, line 2: 15 is no token's id; the vocabulary has 0 to 14");
        Decode("-1\n").Failed(1, "-1 is no token's id");
        Decode("11 x\n").Failed(1, "line 1: 'x' is no token's id");
        Decode("99999999999\n").Failed(1, "'99999999999' is no token's id");
        Decode("[1.5]\n").Failed(1, "1.5 is no token's id");
        Decode("{\"id\":[1]}\n").Failed(1, "neither ids separated by spaces");
        Decode("[\"x\"]\n").Failed(1, "x is no token's id");
        Decode("[[1]]\n").Failed(1, "is no token's id");
        Decode("[1,\n").Failed(1, "neither ids separated by spaces");
        Decode("[1] 2\n").Failed(1, "neither ids separated by spaces");
        Assert.Equal("a\n", Decode("{\"tokens\":[\"a\"],\"ids\":[11],\"offsets\":[[0,1]]}\n").Succeeded().Output);
    }

    [Fact]
    public void A_line_of_more_ids_than_any_text_has_is_refused()
    {
        string many = string.Concat(Enumerable.Repeat("1 ", (1 << 23) + 1));
        foreach (string line in new[] { many, $"[{many[..^1].Replace(' ', ',')}]" })
            Cli.Run(new CliSettings { Input = line + "\n" }, "tokenizer", "decode", "--tokenizer", Small, "--input", "-").Failed(1, "line 1 has more than 8,388,608 ids");
    }

    [Fact]
    public void Bad_texts_and_tokenizers_are_refused_in_a_sentence()
    {
        string small = Small, invalid = scratch["invalid.txt"];
        File.WriteAllBytes(invalid, [.. "a\n"u8, 0xED, 0xA0, 0x80, .. "\n"u8]);
        CliResult Encode(string input, params string[] more) => Cli.Run(new CliSettings { Input = input }, ["tokenizer", "encode", "--tokenizer", small, "--input", .. more]);
        CliResult result = Encode("", invalid);
        result.Failed(1, $"{invalid}:2: the line is not valid UTF-8");
        Assert.Equal("2 11 3\n", result.Output);
        Encode("\"\\ud800\"\n", "-", "--json-lines").Failed(1, "line 1: the text holds half of a surrogate pair");
        Encode("a\n", "-", "--json-lines").Failed(1, "line 1: neither a JSON string");
        Encode("[1]\n", "-", "--json-lines").Failed(1, "line 1: neither a JSON string");
        Encode("", scratch["nowhere"]).Failed(1, "does not exist");
        Encode("", small).Failed(1, "is a folder");
        Cli.Run("tokenizer", "encode", "--tokenizer", "gpt2", "--input", "-").Failed(1, "gpt2 is a preset, and has no tokenizer", "that has them; `permafrost data fetch gpt2` fetches it");
        Cli.Run("tokenizer", "encode", "--tokenizer", "nowhere", "--input", "-").Failed(1, "'nowhere' is no backbone");
        Cli.Run("tokenizer", "encode", "--tokenizer", scratch.Path, "--input", "-").Failed(1, "holds no tokenizer");
        Cli.Run("tokenizer").Failed(2, "needs one of train, encode, decode");
    }

    [Fact]
    public void A_text_of_two_megabytes_is_a_text_and_no_text_is_none()
    {
        string path = scratch.Write("long.txt", new StringBuilder().Insert(0, "a run! ", 300_000).ToString());
        Assert.Equal(900_002, Cli.Run("tokenizer", "encode", "--tokenizer", Small, "--input", path).Succeeded().Output.Split(' ').Length);
        Assert.Empty(Cli.Run("tokenizer", "encode", "--tokenizer", Small, "--input", "-").Succeeded().Output);
    }

    [Fact]
    public async Task Each_line_is_answered_as_it_comes()
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(CliSettings.Patience);
        using CliProcess process = Cli.Start(new CliSettings { Interactive = true }, "tokenizer", "encode", "--tokenizer", Small, "--input", "-");
        foreach ((string line, string ids) in new[] { ("a", "2 11 3"), ("run", "2 8 3") })
        {
            await process.WriteLine(line);
            Assert.Equal(ids, await process.ReadLine(patience.Token));
        }
        process.CloseInput();
        Assert.Null(await process.ReadLine(patience.Token));
    }
}
