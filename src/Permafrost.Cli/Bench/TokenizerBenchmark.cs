using System.Diagnostics;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Models;
using Permafrost.Tokenizers;

namespace Permafrost.Cli.Bench;

/// <summary>
/// How much text a core tokenises a second, on texts as people write them, unknown words, accents and Chinese among them: WordPiece of all-MiniLM-L6-v2, and byte-level BPE and
/// Unigram vocabularies made of its words (a real one of GPT-2's or T5's is as fast).
/// </summary>
internal static class TokenizerBenchmark
{
    private const int Texts = 20_000;

    public static JsonObject Measure(string kind, BenchFolders folders, int rounds, CancellationToken cancellation)
    {
        string body = BackboneSource.Resolve("all-MiniLM-L6-v2").Folder!;
        Tokenizer tokenizer = TokenizerFiles.Load(body);
        string[] texts = Corpus(tokenizer), words = [.. Enumerable.Range(0, tokenizer.VocabularySize).Select(tokenizer.Token).Where(IsWord)];
        if (kind != "wordpiece") body = kind == "bpe" ? WritePairs(folders.Create("bpe"), words) : WriteUnigram(folders.Create("unigram"), words);
        long bytes = texts.Sum(text => (long)Encoding.UTF8.GetByteCount(text)), tokens = 0;
        var seconds = new List<double>();
        for (int round = -1; round < rounds; round++)
        {
            cancellation.ThrowIfCancellationRequested();
            // The first round meets every word for the first time; so does each other one, on a tokenizer of its own.
            tokenizer = TokenizerFiles.Load(body);
            tokens = 0;
            long start = Stopwatch.GetTimestamp();
            foreach (string text in texts) tokens += tokenizer.Encode(text).Ids.Length;
            if (round >= 0) seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        double median = PairedRatio.MedianOf(seconds);
        Output.Note($"{kind}: {bytes >> 10:N0} KiB, {tokens:N0} tokens, {rounds} rounds");
        return new JsonObject
        {
            ["case"] = kind,
            ["seconds"] = BenchSide.Rounded(median),
            ["megabytes_per_second"] = BenchSide.Rounded(bytes / 1e6 / median),
            ["tokens_per_second"] = BenchSide.Rounded(tokens / median),
            ["rounds"] = rounds,
        };
    }

    private static bool IsWord(string token) => token.TrimStart('#') is { Length: > 0 } letters && letters.All(char.IsAsciiLetterLower);

    // Each word is merged letter by letter, with its blank; the commonest come first.
    private static string WritePairs(string folder, string[] words)
    {
        int other = 256;
        (var vocabulary, var merges) = (new OrderedDictionary<string, int>(), new List<string>());
        for (int b = 0; b < 256; b++) vocabulary[((char)(b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or >= 0xAE ? b : other++)).ToString()] = b;
        foreach (string word in words.Select(word => word.StartsWith('#') ? word[2..] : "Ġ" + word))
            for (int end = 2; end <= word.Length; end++)
                if (vocabulary.TryAdd(word[..end], vocabulary.Count)) merges.Add($"{word[..(end - 1)]} {word[end - 1]}");
        File.WriteAllText(Path.Combine(folder, "vocab.json"), JsonSerializer.Serialize(vocabulary));
        File.WriteAllLines(Path.Combine(folder, "merges.txt"), merges);
        return folder;
    }

    private static string WriteUnigram(string folder, string[] words)
    {
        IEnumerable<string> letters = "▁abcdefghijklmnopqrstuvwxyz".Select(c => c.ToString());
        IEnumerable<string> pieces = words.Select(word => word.StartsWith('#') ? word[2..] : "▁" + word).Concat(letters).Distinct();
        var json = new JsonObject
        {
            ["pre_tokenizer"] = new JsonObject { ["type"] = "Metaspace", ["replacement"] = "▁", ["prepend_scheme"] = "always" },
            ["model"] = new JsonObject
            {
                ["type"] = "Unigram",
                ["unk_id"] = 0,
                ["vocab"] = new JsonArray([new JsonArray("<unk>", 0), .. pieces.Select((piece, rank) => new JsonArray(piece, -4 - Math.Log(rank + 1)))]),
            },
        };
        File.WriteAllText(Path.Combine(folder, "tokenizer.json"), json.ToJsonString());
        return folder;
    }

    // Words by Zipf's law: a few make most of a text. One in twenty is made of two, one in a hundred is in another script.
    private static string[] Corpus(Tokenizer tokenizer)
    {
        string[] words = [.. Enumerable.Range(0, tokenizer.VocabularySize).Select(tokenizer.Token).Where(token => token.Length > 1 && token.All(char.IsAsciiLetterLower))];
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
