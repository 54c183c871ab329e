using System.Text.Json.Nodes;
using Permafrost.Formats;

namespace Permafrost.Tokenizers;

/// <summary>Reads single values of the files that Hugging Face's tokenizers are kept in.</summary>
internal static class TokenizerFields
{
    /// <summary>Of a file with a vocabulary; those of a quarter of a million tokens have 35 MB.</summary>
    public const long MostBytes = 1L << 27;

    // model_max_length of a tokenizer that has no bound is a sentinel such as 1e30.
    private const double NoBound = 1e9;

    /// <summary>The object in a file; an empty one where there is no such file.</summary>
    public static JsonObject Optional(string folder, string name)
    {
        string path = Path.Combine(folder, name);
        return File.Exists(path) ? JsonFile.Read(path) : [];
    }

    /// <summary>The object in a file with a vocabulary.</summary>
    public static JsonObject ReadJson(string path) => JsonFile.Read(path, MostBytes);

    public static string? Text(JsonNode? node) => node is JsonValue value && value.TryGetValue(out string? text) ? text : null;

    /// <summary>A token stands in these files as a text or as an object with its content.</summary>
    public static string? Content(JsonNode? node) => Text(node) ?? Text((node as JsonObject)?["content"]);

    /// <summary>A number that can be an id; -1 for anything else.</summary>
    public static int Id(JsonNode? node) => node is JsonValue value && value.TryGetValue(out int id) ? id : -1;

    public static bool? Flag(JsonObject json, string key, string source)
    {
        if (json[key] is not { } node) return null;
        return node is JsonValue value && value.TryGetValue(out bool flag) ? flag
            : throw new PermafrostException($"{source}: \"{key}\" is {node.ToJsonString()}, where true or false is needed");
    }

    /// <summary>Most tokens of a text, as a configuration says; null where it sets no bound.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="source">Names its file in errors.</param>
    public static int? LongestText(JsonObject config, string source)
    {
        // Python's infinity is read as a text.
        if (config["model_max_length"] is not { } node || Text(node) == "Infinity") return null;
        double most = node is JsonValue value && value.TryGetValue(out double number) ? number : 0;
        if (!(most >= 1)) throw new PermafrostException($"{source}: \"model_max_length\" is {ShownText.Short(node.ToJsonString())}, where a number of at least 1 is needed");
        return most < NoBound ? (int)most : null;
    }

    /// <summary>An added token from an object with its content and how it is found.</summary>
    /// <param name="json">The object, or the content alone.</param>
    /// <param name="special">Whether it is special where the object does not say so.</param>
    /// <param name="source">Names the file in errors.</param>
    public static AddedToken Added(JsonNode? json, bool special, string source)
    {
        if (json is not JsonObject one) return new AddedToken(Text(json) ?? "", special, Normalized: !special);
        special = Flag(one, "special", source) ?? special;
        bool Is(string key, bool otherwise) => Flag(one, key, source) ?? otherwise;
        return new AddedToken(Content(one) ?? "", special, Is("normalized", !special), Is("single_word", false), Is("lstrip", false), Is("rstrip", false));
    }
}
