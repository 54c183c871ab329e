using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Permafrost.Tokenizers;

namespace Permafrost.Cli.Terminal;

/// <summary>What the tokenizer verbs read and print in a line.</summary>
internal static class TokenLines
{
    private static readonly JsonWriterOptions Readable = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The text in a line that is a JSON string, or an object with "text".</summary>
    /// <exception cref="PermafrostException">It is neither, or holds half a surrogate pair.</exception>
    public static string FromJson(string line, string where)
    {
        try
        {
            using var document = JsonDocument.Parse(line);
            JsonElement element = document.RootElement;
            if (element.ValueKind == JsonValueKind.Object && element.TryGetProperty("text", out JsonElement inner)) element = inner;
            if (element.ValueKind == JsonValueKind.String) return element.GetString()!;
        }
        catch (JsonException)
        {
            // Said below.
        }
        catch (InvalidOperationException)
        {
            throw new PermafrostException($"{where}: the text holds half of a surrogate pair, which is no character");
        }
        throw new PermafrostException($"{where}: neither a JSON string nor an object with \"text\"");
    }

    /// <summary>The tokens of a text.</summary>
    /// <exception cref="PermafrostException">The tokenizer refuses it.</exception>
    public static TokenizedText Encode(string text, string where, Tokenizer tokenizer, bool special, int? most, bool splitSpecial)
    {
        try
        {
            return tokenizer.Encode(text, special, most, splitSpecial);
        }
        catch (PermafrostException error)
        {
            throw new PermafrostException($"{where}: {error.Message}");
        }
    }

    /// <summary>Tokens as an object on one line; offsets count code points.</summary>
    public static string ToJson(TokenizedText tokens, string text, Tokenizer tokenizer) => Line(json =>
    {
        int[]? points = CodePoints(text);
        json.WriteStartArray("ids");
        foreach (int id in tokens.Ids) json.WriteNumberValue(id);
        json.WriteEndArray();
        json.WriteStartArray("tokens");
        foreach (int id in tokens.Ids) json.WriteStringValue(tokenizer.Token(id));
        json.WriteEndArray();
        json.WriteStartArray("offsets");
        foreach ((int start, int end) in tokens.Offsets)
        {
            json.WriteStartArray();
            json.WriteNumberValue(points is null ? start : points[start]);
            json.WriteNumberValue(points is null ? end : points[end]);
            json.WriteEndArray();
        }
        json.WriteEndArray();
        json.WriteNumber("dropped", tokens.Dropped);
    });

    /// <summary>A decoded text as an object on one line.</summary>
    public static string ToJson(string text) => Line(json => json.WriteString("text", text));

    /// <summary>The ids in a line: numbers separated by spaces, a JSON array of them, or an object with "ids".</summary>
    /// <exception cref="PermafrostException">Something in it is no number, or there are more than a text has characters.</exception>
    public static int[] Ids(string line, string where)
    {
        if (line.AsSpan().TrimStart() is ['[' or '{', ..]) return IdsOfJson(line, where);
        var ids = new List<int>();
        for (int at = 0, end; at < line.Length; at = end)
        {
            end = at + 1;
            if (char.IsWhiteSpace(line[at])) continue;
            while (end < line.Length && !char.IsWhiteSpace(line[end])) end++;
            if (!int.TryParse(line.AsSpan(at, end - at), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int id))
                throw new PermafrostException($"{where}: '{Short(line[at..end])}' is no token's id; ids are whole numbers separated by spaces");
            Add(ids, id, where);
        }
        return [.. ids];
    }

    // Read as a stream: as a document, a line of millions of numbers takes gigabytes.
    private static int[] IdsOfJson(string line, string where)
    {
        try
        {
            var json = new Utf8JsonReader(Encoding.UTF8.GetBytes(line));
            json.Read();
            if (json.TokenType == JsonTokenType.StartObject)
            {
                while (json.Read() && json.TokenType == JsonTokenType.PropertyName && !json.ValueTextEquals("ids")) json.Skip();
                if (json.TokenType == JsonTokenType.PropertyName) json.Read();
            }
            if (json.TokenType == JsonTokenType.StartArray)
            {
                var ids = new List<int>();
                while (json.Read() && json.TokenType != JsonTokenType.EndArray)
                {
                    if (json.TokenType != JsonTokenType.Number || !json.TryGetInt32(out int id))
                        throw new PermafrostException($"{where}: {Short(Encoding.UTF8.GetString(json.ValueSpan))} is no token's id; ids are whole numbers");
                    Add(ids, id, where);
                }
                while (json.Read()) { }
                return [.. ids];
            }
        }
        catch (JsonException)
        {
            // Said below.
        }
        throw new PermafrostException($"{where}: neither ids separated by spaces, nor a JSON array of them, nor an object with \"ids\"");
    }

    private static void Add(List<int> ids, int id, string where)
    {
        if (ids.Count == Tokenizer.MostCharacters)
            throw new PermafrostException($"{where} has more than {Tokenizer.MostCharacters:N0} ids, and no text has so many tokens; break it up");
        ids.Add(id);
    }

    /// <summary>The text of ids.</summary>
    /// <exception cref="PermafrostException">The vocabulary does not have one of them.</exception>
    public static string Decode(int[] ids, Tokenizer tokenizer, bool skipSpecialTokens, string where)
    {
        int wrong = Array.FindIndex(ids, id => id < 0 || id >= tokenizer.VocabularySize);
        return wrong < 0 ? tokenizer.Decode(ids, skipSpecialTokens)
            : throw new PermafrostException($"{where}: {ids[wrong]} is no token's id; the vocabulary has 0 to {tokenizer.VocabularySize - 1}");
    }

    // For each UTF-16 unit of a text, and for its end, the number of characters before it; null where they are the same.
    private static int[]? CodePoints(string text)
    {
        if (!text.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF')) return null;
        var points = new int[text.Length + 1];
        for (int i = 0; i < text.Length; i++) points[i + 1] = points[i] + (char.IsLowSurrogate(text[i]) && i > 0 && char.IsHighSurrogate(text[i - 1]) ? 0 : 1);
        return points;
    }

    private static string Line(Action<Utf8JsonWriter> write)
    {
        var bytes = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(bytes, Readable))
        {
            json.WriteStartObject();
            write(json);
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(bytes.WrittenSpan);
    }

    private static string Short(string word) => word.Length <= 40 ? word : word[..40] + "...";
}
