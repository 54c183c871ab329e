using System.Diagnostics;
using System.IO.Compression;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Data;
using Permafrost.Models;
using Permafrost.Tokenizers;

namespace Permafrost.Cli.Bench;

/// <summary>
/// How much text a core tokenises a second, in turns with Hugging Face's own core (Tokenizers.DotNet) in a process of its own, both from the same tokenizer.json, to the same ids.
/// With <c>tokenizers</c> and <c>text</c> in PERMAFROST_DATA: GPT-2's byte-level BPE and T5's pieces, scores and map of characters on English novels. Else vocabularies made of
/// MiniLM's words, on made-up texts in which far more words are rare than in prose, accents and Chinese among them.
/// </summary>
internal static class TokenizerBenchmark
{
    private const int Texts = 20_000;
    private const int NovelCharacters = 6_000_000;

    public static JsonObject Measure(string kind, BenchFolders folders, int rounds, CancellationToken cancellation)
    {
        Tokenizer words = TokenizerFiles.Load(BackboneSource.Resolve("all-MiniLM-L6-v2").Folder!);
        (string[] texts, string what) = Novels() is { } novels ? (novels, "English novels") : (MadeUp(words), "made-up texts");
        string file = folders.File($"{kind}-tokenizer.json"), textFile = folders.File($"{kind}-texts.jsonl");
        JsonObject json = kind switch { "bpe" => Pairs(words), "unigram" => Unigram(words), _ => WordPiece(words) };
        File.WriteAllText(file, json.ToJsonString());
        File.WriteAllLines(textFile, texts.Select(text => JsonSerializer.Serialize(text)));
        long bytes = texts.Sum(text => (long)Encoding.UTF8.GetByteCount(text)), tokens = 0;
        using BenchProcess peer = new BenchSide(BenchSide.Onnx).Start();
        var command = new JsonObject { ["cmd"] = "tokenize", ["tokenizer"] = file, ["texts"] = textFile };
        (var ours, var theirs) = (new List<double>(), new List<double>());
        for (int round = -1; round < rounds; round++)
        {
            cancellation.ThrowIfCancellationRequested();
            JsonObject answer = round % 2 == 0 ? peer.Ask((JsonObject)command.DeepClone()) : [];
            // Each round meets every word for the first time, on a tokenizer of its own.
            Tokenizer tokenizer = TokenizerFiles.Load(file);
            (tokens, long sum) = (0, 0);
            long start = Stopwatch.GetTimestamp();
            foreach (string text in texts)
                foreach (int id in tokenizer.Encode(text).Ids) (tokens, sum) = (tokens + 1, sum + id);
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            if (round % 2 != 0) answer = peer.Ask((JsonObject)command.DeepClone());
            if (tokens != (long)answer["tokens"]! || sum != (long)answer["sum"]!)
                throw new PermafrostException(
                    $"{kind}: {tokens:N0} tokens here and {(long)answer["tokens"]!:N0} by Tokenizers.DotNet, or others; a race between different results says nothing");
            if (round < 0) continue;
            ours.Add(seconds);
            theirs.Add((double)answer["seconds"]!);
        }
        double median = PairedRatio.MedianOf(ours), ratio = PairedRatio.MedianOf([.. theirs.Zip(ours, (their, own) => their / own)]);
        string rate = FormattableString.Invariant($"{bytes / 1e6 / median:N1} MB/s, {ratio:N1} times as fast as Tokenizers.DotNet");
        Output.Note(FormattableString.Invariant($"{kind}: {bytes / 1e6:N1} MB of {what}, {tokens:N0} tokens, one core: {rate}, {rounds} rounds"));
        return new JsonObject
        {
            ["case"] = kind,
            ["texts"] = what,
            ["seconds"] = BenchSide.Rounded(median),
            ["megabytes_per_second"] = BenchSide.Rounded(bytes / 1e6 / median),
            ["tokens_per_second"] = BenchSide.Rounded(tokens / median),
            ["speed_ratio_tokenizers_dotnet"] = BenchSide.Rounded(ratio),
            ["rounds"] = rounds,
        };
    }

    private static string? Given(string name) => DataHome.Candidates(Path.Combine("tokenizers", name)).FirstOrDefault(Directory.Exists);

    // Their lines, up to so many characters; null where they are not at hand.
    private static string[]? Novels()
    {
        if (DataHome.Candidates(Path.Combine("text", "novels_eltec_eng.txt.gz")).FirstOrDefault(File.Exists) is not { } path) return null;
        using var reader = new StreamReader(new GZipStream(File.OpenRead(path), CompressionMode.Decompress));
        var lines = new List<string>();
        for (int characters = 0; characters < NovelCharacters && reader.ReadLine() is { } line; characters += line.Length) lines.Add(line);
        return [.. lines];
    }

    private static IEnumerable<string> All(Tokenizer tokenizer) => Enumerable.Range(0, tokenizer.VocabularySize).Select(tokenizer.Token);

    private static JsonObject Ids(IEnumerable<string> tokens)
    {
        var ids = new JsonObject();
        foreach (string token in tokens) ids.TryAdd(token, ids.Count);
        return ids;
    }

    private static bool IsWord(string token) => token.TrimStart('#') is { Length: > 0 } letters && letters.All(char.IsAsciiLetterLower);

    private static JsonObject Pairs(Tokenizer words)
    {
        (JsonObject vocabulary, IEnumerable<string> merges) = Given("gpt2") is { } gpt2 ? Published(gpt2) : Pairs([.. All(words).Where(IsWord)]);
        return new JsonObject
        {
            ["pre_tokenizer"] = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = false, ["use_regex"] = true },
            ["model"] = new JsonObject { ["type"] = "BPE", ["vocab"] = vocabulary, ["merges"] = new JsonArray([.. merges.Select(merge => JsonValue.Create(merge))]) },
        };
    }

    private static (JsonObject Vocabulary, IEnumerable<string> Merges) Published(string folder) => (
        JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "vocab.json")))!.AsObject(),
        File.ReadLines(Path.Combine(folder, "merges.txt")).Skip(1).Where(line => line.Length > 0));

    // Each word is merged letter by letter, with its blank; the commonest come first.
    private static (JsonObject Vocabulary, IEnumerable<string> Merges) Pairs(string[] words)
    {
        int other = 256;
        JsonObject vocabulary = Ids(Enumerable.Range(0, 256).Select(b => ((char)(b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or >= 0xAE ? b : other++)).ToString()));
        var merges = new List<string>();
        foreach (string word in words.Select(word => word.StartsWith('#') ? word[2..] : "Ġ" + word))
            for (int end = 2; end <= word.Length; end++)
                if (vocabulary.TryAdd(word[..end], vocabulary.Count)) merges.Add($"{word[..(end - 1)]} {word[end - 1]}");
        return (vocabulary, merges);
    }

    private static JsonObject Unigram(Tokenizer words)
    {
        if (Given("t5") is { } t5) return SentencePieceJson.Of(Path.Combine(t5, "spiece.model"));
        IEnumerable<string> pieces = All(words).Where(IsWord).Select(word => word.StartsWith('#') ? word[2..] : "▁" + word)
            .Concat("▁abcdefghijklmnopqrstuvwxyz".Select(c => c.ToString()));
        return new JsonObject
        {
            ["pre_tokenizer"] = new JsonObject { ["type"] = "Metaspace", ["replacement"] = "▁", ["prepend_scheme"] = "always" },
            ["model"] = new JsonObject
            {
                ["type"] = "Unigram",
                ["unk_id"] = 0,
                ["vocab"] = new JsonArray([new JsonArray("<unk>", 0), .. pieces.Distinct().Select((piece, rank) => new JsonArray(piece, -4 - Math.Log(rank + 1)))]),
            },
        };
    }

    private static JsonObject WordPiece(Tokenizer words) => new()
    {
        ["normalizer"] = new JsonObject { ["type"] = "BertNormalizer", ["clean_text"] = true, ["handle_chinese_chars"] = true, ["lowercase"] = true },
        ["pre_tokenizer"] = new JsonObject { ["type"] = "BertPreTokenizer" },
        ["model"] = new JsonObject
        {
            ["type"] = "WordPiece",
            ["unk_token"] = "[UNK]",
            ["continuing_subword_prefix"] = "##",
            ["max_input_chars_per_word"] = 100,
            ["vocab"] = Ids(All(words)),
        },
    };

    // Words by Zipf's law: a few make most of a text. One in twenty is made of two, one in a hundred is in another script.
    private static string[] MadeUp(Tokenizer tokenizer)
    {
        string[] words = [.. All(tokenizer).Where(token => token.Length > 1 && token.All(char.IsAsciiLetterLower))];
        string[] others = ["naïve", "résumé", "Ångström", "東京タワー", "Привет", "мир", "世界", "don't", "U.S.A.", "1,234.56"];
        var random = new Random(0);
        string Common() => words[(int)Math.Min(words.Length - 1, Math.Exp(random.NextDouble() * Math.Log(words.Length)))];
        string Word() => random.Next(100) switch
        {
            0 => others[random.Next(others.Length)],
            < 6 => Common() + Common(),
            < 16 => char.ToUpperInvariant(Common()[0]) + Common(),
            _ => Common(),
        };
        return [.. Enumerable.Range(0, Texts).Select(_ => string.Join(' ', Enumerable.Range(0, random.Next(5, 40)).Select(_ => Word())) + ".")];
    }
}
