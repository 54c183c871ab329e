using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Models;
using Permafrost.Tokenizers;

namespace Permafrost.Cli.Bench;

/// <summary>How much text a core tokenises a second: WordPiece of all-MiniLM-L6-v2, on texts as people write them, unknown words, accents and Chinese among them.</summary>
internal static class WordPieceBenchmark
{
    private const int Texts = 20_000;

    public static JsonObject Measure(int rounds, CancellationToken cancellation)
    {
        Tokenizer tokenizer = TokenizerFiles.Load(BackboneSource.Resolve("all-MiniLM-L6-v2").Folder!);
        string[] texts = Corpus(tokenizer);
        long bytes = texts.Sum(text => (long)Encoding.UTF8.GetByteCount(text)), tokens = 0;
        var seconds = new List<double>();
        for (int round = -1; round < rounds; round++)
        {
            cancellation.ThrowIfCancellationRequested();
            // The first round meets every word for the first time; so does each other one, on a tokenizer of its own.
            tokenizer = TokenizerFiles.Load(BackboneSource.Resolve("all-MiniLM-L6-v2").Folder!);
            tokens = 0;
            long start = Stopwatch.GetTimestamp();
            foreach (string text in texts) tokens += tokenizer.Encode(text).Ids.Length;
            if (round >= 0) seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        double median = PairedRatio.MedianOf(seconds);
        Output.Note($"wordpiece: {bytes >> 10:N0} KiB, {tokens:N0} tokens, {rounds} rounds");
        return new JsonObject
        {
            ["case"] = "wordpiece",
            ["seconds"] = BenchSide.Rounded(median),
            ["megabytes_per_second"] = BenchSide.Rounded(bytes / 1e6 / median),
            ["tokens_per_second"] = BenchSide.Rounded(tokens / median),
            ["rounds"] = rounds,
        };
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
