using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using Library = Tokenizers.DotNet.Tokenizer;

namespace Permafrost.Bench;

/// <summary>Hugging Face's own tokenizers, compiled, behind Tokenizers.DotNet: one text after the other on one core, each time on a tokenizer of its own.</summary>
internal sealed class TokenizerPeer
{
    private string? path;
    private string[] texts = [];

    /// <summary>Seconds for all texts, how many tokens they have, and the sum of their ids.</summary>
    /// <param name="command"><c>tokenizer</c>, a tokenizer.json; <c>texts</c>, a file of JSON strings, one a line.</param>
    public JsonObject Tokenize(JsonObject command)
    {
        if (path != (string?)command["texts"])
        {
            path = (string)command["texts"]!;
            texts = [.. File.ReadLines(path).Select(line => JsonSerializer.Deserialize<string>(line)!)];
        }
        var tokenizer = new Library((string)command["tokenizer"]!);
        (long tokens, long sum) = (0, 0);
        long start = Stopwatch.GetTimestamp();
        foreach (string text in texts)
            foreach (uint id in tokenizer.Encode(text)) (tokens, sum) = (tokens + 1, sum + id);
        return new JsonObject { ["seconds"] = Stopwatch.GetElapsedTime(start).TotalSeconds, ["tokens"] = tokens, ["sum"] = sum };
    }
}
