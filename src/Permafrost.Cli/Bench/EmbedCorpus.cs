using Permafrost.Tokenizers;

namespace Permafrost.Cli.Bench;

/// <summary>Texts of words that are one token each, so that their length is known exactly.</summary>
internal static class EmbedCorpus
{
    private const int Shortest = 6, Longest = 96;

    /// <param name="tokenizer">Whose words they are made of.</param>
    /// <param name="tokens">The tokens of a text, special ones included; 0 for texts of 6 to 96.</param>
    /// <param name="count">The number of texts.</param>
    public static string[] Make(Tokenizer tokenizer, int tokens, int count)
    {
        string[] words = [.. Enumerable.Range(0, tokenizer.VocabularySize).Select(tokenizer.Token).Where(token => token.Length > 1 && token.All(char.IsAsciiLetterLower))];
        var random = new Random(0);
        int special = tokenizer.Encode("").Ids.Length;
        string Text()
        {
            int length = (tokens == 0 ? random.Next(Shortest, Longest + 1) : tokens) - special;
            return string.Join(' ', Enumerable.Range(0, length).Select(_ => words[random.Next(words.Length)]));
        }
        string[] texts = [.. Enumerable.Range(0, count).Select(_ => Text())];
        int wrong = tokens == 0 ? -1 : Array.FindIndex(texts, text => tokenizer.Encode(text).Ids.Length != tokens);
        return wrong < 0 ? texts : throw new InvalidOperationException($"'{texts[wrong]}' has not {tokens} tokens");
    }
}
