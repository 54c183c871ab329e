using System.Text.Json;
using System.Text.Json.Nodes;

namespace Permafrost.Formats;

/// <summary>A Hugging Face <c>config.json</c>: keys verbatim, defaults given by the model that reads them.</summary>
public sealed class HfConfig
{
    private readonly JsonObject json;

    /// <summary>A configuration from JSON; <paramref name="source"/> names it in errors.</summary>
    public HfConfig(JsonObject json, string source)
    {
        this.json = json;
        Source = source;
    }

    /// <summary>Where it came from: a file, or a preset's name.</summary>
    public string Source { get; }

    /// <summary>The model family, such as <c>gpt2</c>.</summary>
    /// <exception cref="PermafrostException">The key is missing.</exception>
    public string ModelType => Text("model_type", null) ?? throw new PermafrostException($"{Source} has no \"model_type\", so it does not say which model this is");

    /// <summary>The first of <c>architectures</c>, which decides the head; null when there is none.</summary>
    public string? Architecture => json["architectures"] is JsonArray { Count: > 0 } list && list[0] is JsonValue value && value.TryGetValue(out string? name) ? name : null;

    /// <summary>Reads <c>config.json</c> of a model folder.</summary>
    /// <exception cref="PermafrostException">The file is missing or is not a JSON object.</exception>
    public static HfConfig Load(string folder)
    {
        string path = Path.Combine(folder, "config.json");
        if (!File.Exists(path) && File.Exists(Path.Combine(folder, "adapter_config.json")))
            throw new PermafrostException($"{folder} holds an adapter (adapter_config.json), not a model; give the model that the adapter was trained on");
        if (!File.Exists(path)) throw new PermafrostException($"{path} does not exist; a model folder holds config.json and model.safetensors");
        return new HfConfig(JsonFile.Read(path), path);
    }

    /// <summary>A whole number; where <paramref name="alias"/>, Hugging Face's common name of it, is given in the file, that one.</summary>
    /// <exception cref="PermafrostException">The key holds something else, or a number below <paramref name="minimum"/>.</exception>
    public int Int(string key, int fallback, int minimum = 1, string? alias = null)
    {
        if (alias is not null && json[alias] is not null) key = alias;
        if (json[key] is not { } node) return fallback;
        if (node is JsonValue value && value.TryGetValue(out int number) && number >= minimum) return number;
        throw Wrong(key, node, $"a whole number of at least {minimum}");
    }

    /// <summary>A whole number, or null where the key is missing or null.</summary>
    /// <exception cref="PermafrostException">The key holds something else.</exception>
    public int? OptionalInt(string key) => json[key] is null ? null : Int(key, 0);

    /// <summary>A real number.</summary>
    /// <exception cref="PermafrostException">The key holds something else.</exception>
    public double Number(string key, double fallback)
    {
        if (json[key] is not { } node) return fallback;
        if (node is JsonValue value && value.TryGetValue(out double number) && double.IsFinite(number)) return number;
        throw Wrong(key, node, "a number");
    }

    /// <summary>True or false.</summary>
    /// <exception cref="PermafrostException">The key holds something else.</exception>
    public bool Flag(string key, bool fallback)
    {
        if (json[key] is not { } node) return fallback;
        if (node is JsonValue value && value.TryGetValue(out bool flag)) return flag;
        throw Wrong(key, node, "true or false");
    }

    /// <summary>A text.</summary>
    /// <exception cref="PermafrostException">The key holds something else.</exception>
    public string? Text(string key, string? fallback)
    {
        if (json[key] is not { } node) return fallback;
        if (node is JsonValue value && value.TryGetValue(out string? text)) return text;
        throw Wrong(key, node, "a text");
    }

    /// <summary>The whole object as indented JSON.</summary>
    public string ToJson() => json.ToJsonString(new JsonSerializerOptions { WriteIndented = true });

    private PermafrostException Wrong(string key, JsonNode node, string wanted) => new($"{Source}: \"{key}\" is {node.ToJsonString()}, where {wanted} is needed");
}
