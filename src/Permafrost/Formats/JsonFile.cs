using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Permafrost.Formats;

/// <summary>Reads JSON objects from files that somebody else may have written: what is wrong is found here, not at some later look-up.</summary>
public static partial class JsonFile
{
    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false };

    /// <summary>The object in a file.</summary>
    /// <exception cref="PermafrostException">The file is missing, unreadable, not JSON, no object, has a key twice, or holds text that is no Unicode.</exception>
    public static JsonObject Read(string path)
    {
        try
        {
            JsonNode? json = JsonNode.Parse(WithTextForNaN(File.ReadAllText(path)), documentOptions: Strict);
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

    // Python writes numbers that JSON does not have. As texts they do no harm where nobody asks for them, and are refused as no numbers where somebody does.
    private static string WithTextForNaN(string json)
    {
        if (!json.Contains("NaN", StringComparison.Ordinal) && !json.Contains("Infinity", StringComparison.Ordinal)) return json;
        return TextOrNumber().Replace(json, match => match.Groups["number"].Success ? $"\"{match.Value}\"" : match.Value);
    }

    [GeneratedRegex(@"""(?:[^""\\]|\\.)*""|(?<number>-?Infinity|NaN)", RegexOptions.Singleline)]
    private static partial Regex TextOrNumber();

    /// <summary>A value that has to be there.</summary>
    /// <exception cref="FormatException">It is not, or is null.</exception>
    public static JsonNode Given(JsonNode node, string name) => node[name] ?? throw new FormatException($"{name} is missing");

    /// <summary>What is wrong, in one clause: System.Text.Json adds further sentences and positions in its own words.</summary>
    public static string Reason(Exception error) => error.Message.ReplaceLineEndings(" ").Split(". ")[0].TrimEnd('.');

    // Texts are decoded when they are asked for; asking for each once finds halves of surrogate pairs.
    private static void Check(JsonNode? node)
    {
        if (node is JsonObject map) foreach ((_, JsonNode? inner) in map) Check(inner);
        else if (node is JsonArray list) foreach (JsonNode? inner in list) Check(inner);
        else if (node is JsonValue value && value.GetValueKind() == JsonValueKind.String) value.GetValue<string>();
    }
}
