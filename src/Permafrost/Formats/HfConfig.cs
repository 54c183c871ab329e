using System.Text.Json;
using System.Text.Json.Nodes;

namespace Permafrost.Formats;

/// <summary>A Hugging Face <c>config.json</c>: keys verbatim, defaults given by the model that reads them.</summary>
public sealed class HfConfig
{
    private static readonly string[] GenerationTokens = ["bos_token_id", "eos_token_id", "forced_bos_token_id", "forced_eos_token_id", "decoder_start_token_id"];

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

    /// <summary>A configuration from JSON text.</summary>
    /// <param name="json">An object, as in <c>config.json</c>; it may be empty for a model of one's own.</param>
    /// <param name="source">Names it in errors.</param>
    /// <exception cref="PermafrostException">The text is no JSON object.</exception>
    public static HfConfig Parse(string json, string source)
    {
        try
        {
            return new HfConfig(JsonNode.Parse(json) as JsonObject ?? throw new JsonException("no object"), source);
        }
        catch (JsonException error)
        {
            throw new PermafrostException($"{source} is no JSON object: {error.Message.TrimEnd('.')}");
        }
    }

    /// <summary>Reads <c>config.json</c> of a model folder.</summary>
    /// <exception cref="PermafrostException">The file is missing or is not a JSON object.</exception>
    public static HfConfig Load(string folder)
    {
        string path = Path.Combine(folder, "config.json");
        if (!File.Exists(path) && File.Exists(Path.Combine(folder, "adapter_config.json")))
            throw new PermafrostException($"{folder} holds an adapter (adapter_config.json), not a model; give the model that the adapter was trained on");
        if (!File.Exists(path)) throw new PermafrostException($"{path} does not exist; a model folder holds config.json and model.safetensors, pytorch_model.bin or model.onnx");
        return new HfConfig(JsonFile.Read(path), path);
    }

    /// <summary>
    /// This configuration with the tokens that begin and end texts as <c>generation_config.json</c> beside it gives them, which goes before <c>config.json</c> (Hugging Face's
    /// GenerationConfig); itself where there is no such file. Sampling settings that stand there are left alone: how tokens are drawn is the caller's to say.
    /// </summary>
    /// <exception cref="PermafrostException">The file is not a JSON object, or one of them can be no token.</exception>
    internal HfConfig WithGenerationTokens(string folder)
    {
        string path = Path.Combine(folder, "generation_config.json");
        if (!File.Exists(path)) return this;
        JsonObject given = JsonFile.Read(path), merged = (JsonObject)json.DeepClone();
        var named = new HfConfig(given, path);
        int rows = Int("vocab_size", int.MaxValue);
        foreach (string key in GenerationTokens.Where(key => given[key] is not null))
        {
            if (named.TokenIds(key).FirstOrDefault(id => id >= rows, -1) is >= 0 and var id)
                throw new PermafrostException($"{path}: \"{key}\" is {id}, and the model has the tokens 0 to {rows - 1}");
            merged[key] = given[key]!.DeepClone();
        }
        return new HfConfig(merged, Source);
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
    /// <exception cref="PermafrostException">The key holds something else, or a number below <paramref name="minimum"/>.</exception>
    public int? OptionalInt(string key, int minimum = 1) => json[key] is null ? null : Int(key, minimum, minimum);

    /// <summary>Ids of tokens: one, or a list; none where the key is missing or null.</summary>
    /// <exception cref="PermafrostException">The key holds something else.</exception>
    internal IReadOnlyList<int> TokenIds(string key) => json[key] is JsonArray list ? Ints(key, 0, list.Count, minimum: 0) : OptionalInt(key, 0) is { } id ? [id] : [];

    /// <summary>A whole number for each of <paramref name="count"/> things: a list of so many, or one number for all of them.</summary>
    /// <exception cref="PermafrostException">The key holds something else, another count, or a number below <paramref name="minimum"/>.</exception>
    public IReadOnlyList<int> Ints(string key, int fallback, int count, int minimum = 1)
    {
        if (json[key] is not JsonArray list) return [.. Enumerable.Repeat(Int(key, fallback, minimum), count)];
        var numbers = new List<int>();
        foreach (JsonNode? one in list)
            if (one is JsonValue value && value.TryGetValue(out int number) && number >= minimum) numbers.Add(number);
        return numbers.Count == list.Count && list.Count == count ? numbers
            : throw Wrong(key, list, $"a list of {count} whole numbers of at least {minimum}, or one such number for all,");
    }

    /// <summary>Two whole numbers of at least 1, such as height and width: a list of two, or one number that stands for both.</summary>
    /// <exception cref="PermafrostException">The key holds something else.</exception>
    public (int First, int Second) Pair(string key, int fallback)
    {
        if (json[key] is not JsonArray list) return (Int(key, fallback), Int(key, fallback));
        if (list is [JsonValue first, JsonValue second] && first.TryGetValue(out int one) && second.TryGetValue(out int two) && one >= 1 && two >= 1) return (one, two);
        throw Wrong(key, list, "a whole number of at least 1, or a list of two,");
    }

    /// <summary>The number of a classifier's classes: as many as <c>id2label</c> names; else <c>num_labels</c>, and 2 where that is missing too.</summary>
    /// <exception cref="PermafrostException">The keys hold something else.</exception>
    public int NumLabels => json["id2label"] switch
    {
        null => Int("num_labels", 2),
        JsonObject { Count: > 0 } names => names.Count,
        JsonNode other => throw Wrong("id2label", other, "an object with a name for each class"),
    };

    /// <summary>A finite number; <paramref name="fallback"/> where the key is missing.</summary>
    /// <exception cref="PermafrostException">The key holds something else.</exception>
    public double Number(string key, double fallback)
    {
        if (json[key] is not { } node) return fallback;
        if (node is JsonValue value && value.TryGetValue(out double number) && double.IsFinite(number)) return number;
        throw Wrong(key, node, "a number");
    }

    /// <summary>A Boolean; <paramref name="fallback"/> where the key is missing.</summary>
    /// <exception cref="PermafrostException">The key holds something else.</exception>
    public bool Flag(string key, bool fallback)
    {
        if (json[key] is not { } node) return fallback;
        if (node is JsonValue value && value.TryGetValue(out bool flag)) return flag;
        throw Wrong(key, node, "true or false");
    }

    /// <summary>A string; <paramref name="fallback"/> where the key is missing.</summary>
    /// <exception cref="PermafrostException">The key holds something else.</exception>
    public string? Text(string key, string? fallback)
    {
        if (json[key] is not { } node) return fallback;
        if (node is JsonValue value && value.TryGetValue(out string? text)) return text;
        throw Wrong(key, node, "a text");
    }

    /// <summary>Whether the file has the key, be it null: some defaults differ between a key that is missing and one that is null.</summary>
    public bool Holds(string key) => json.ContainsKey(key);

    /// <summary>An object within the configuration, such as <c>rope_scaling</c>; null where the key is missing or null.</summary>
    /// <exception cref="PermafrostException">The key holds something else.</exception>
    public HfConfig? Section(string key)
    {
        if (json[key] is not { } node) return null;
        return node is JsonObject inner ? new HfConfig(inner, $"{Source}, {key}") : throw Wrong(key, node, "an object");
    }

    /// <summary>A list of strings; null where the key is missing or null.</summary>
    /// <exception cref="PermafrostException">The key holds something else.</exception>
    public IReadOnlyList<string>? Texts(string key)
    {
        if (json[key] is not { } node) return null;
        string?[] texts = node is JsonArray list ? [.. list.Select(item => item is JsonValue value && value.TryGetValue(out string? text) ? text : null)] : [null];
        return texts.Contains(null) ? throw Wrong(key, node, "a list of texts") : [.. texts.OfType<string>()];
    }

    /// <summary>The whole object as indented JSON.</summary>
    public string ToJson() => json.ToJsonString(new JsonSerializerOptions { WriteIndented = true });

    private PermafrostException Wrong(string key, JsonNode node, string wanted) => new($"{Source}: \"{key}\" is {ShownText.Short(node.ToJsonString())}, where {wanted} is needed");
}
