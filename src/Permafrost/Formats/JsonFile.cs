using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Permafrost.Formats;

/// <summary>Reads JSON objects from files that somebody else may have written: what is wrong is found here, not at some later look-up.</summary>
public static partial class JsonFile
{
    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false };

    // In memory JSON is many times as large.
    private const long MostBytes = 16 << 20;

    /// <summary>The object in a file of at most 16 MiB.</summary>
    /// <exception cref="PermafrostException">The file is missing, unreadable, too large, not JSON or not an object, has a key twice, or holds text that is not Unicode.</exception>
    public static JsonObject Read(string path) => Read(path, MostBytes);

    /// <summary>The object in a file of at most so many bytes.</summary>
    /// <exception cref="PermafrostException">As above.</exception>
    internal static JsonObject Read(string path, long mostBytes)
    {
        try
        {
            byte[] bytes = BoundedFile.Read(path, mostBytes) ?? throw new PermafrostException($"{path} has more than {mostBytes >> 20:N0} MiB, which no such file needs");
            if (WrongContent.Of(bytes) is { } what) throw new PermafrostException($"{path} is {what}");
            using var reader = new StreamReader(new MemoryStream(bytes));
            string text = reader.ReadToEnd();
            JsonNode? json = JsonNode.Parse(WithTextForNaN(text), documentOptions: Strict);
            Check(json);
            return json as JsonObject ?? throw new PermafrostException($"{path} is not a JSON object");
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or ArgumentException)
        {
            throw new PermafrostException($"{path} is not valid JSON: {Reason(error)}");
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
    }

    // Python writes NaN and Infinity, which JSON does not have. As strings they do no harm where nobody reads them, and are refused where a number is asked for.
    private static string WithTextForNaN(string json)
    {
        if (!json.Contains("NaN", StringComparison.Ordinal) && !json.Contains("Infinity", StringComparison.Ordinal)) return json;
        return TextOrNumber().Replace(json, match => match.Groups["number"].Success ? $"\"{match.Value}\"" : match.Value);
    }

    [GeneratedRegex(@"""(?:[^""\\]|\\.)*""|(?<number>-?Infinity|NaN)", RegexOptions.Singleline)]
    private static partial Regex TextOrNumber();

    /// <summary>The value of a key that must be there.</summary>
    /// <exception cref="FormatException">It is not, or is null.</exception>
    public static JsonNode Given(JsonNode node, string name) => node[name] ?? throw new FormatException($"{name} is missing");

    /// <summary>What is wrong, in one clause: System.Text.Json adds further sentences and positions in its own words.</summary>
    public static string Reason(Exception error) => error.Message.ReplaceLineEndings(" ").Split(". ")[0].TrimEnd('.');

    // Strings are decoded only when they are read; reading each one here finds unpaired surrogates.
    private static void Check(JsonNode? node)
    {
        if (node is JsonObject map) foreach ((_, JsonNode? inner) in map) Check(inner);
        else if (node is JsonArray list) foreach (JsonNode? inner in list) Check(inner);
        else if (node is JsonValue value && value.GetValueKind() == JsonValueKind.String) value.GetValue<string>();
    }
}
