using YamlDotNet.RepresentationModel;

namespace Permafrost.Studies;

/// <summary>A map of a YAML file that knows where it stands.</summary>
internal sealed class YamlMap(YamlMappingNode node, string source)
{
    private readonly Dictionary<string, (YamlNode Value, long Line)> entries = node.Children.ToDictionary(pair => Scalar(pair.Key, source), pair => (pair.Value, pair.Key.Start.Line));

    public string Where => $"{source}:{node.Start.Line}";

    public IReadOnlyList<string> Keys => [.. entries.Keys];

    public bool Has(string key) => entries.ContainsKey(key);

    public string WhereOf(string key) => entries.TryGetValue(key, out var entry) ? $"{source}:{entry.Line}" : Where;

    /// <exception cref="UsageException">There is another key.</exception>
    public void Only(params string[] keys)
    {
        foreach (string key in entries.Keys)
            if (!keys.Contains(key)) throw new UsageException($"{WhereOf(key)}: the key '{key}' does not exist here; there are {string.Join(", ", keys)}");
    }

    public string Text(string key) => Optional(key) is { Length: > 0 } text ? text : throw new UsageException($"{WhereOf(key)}: `{key}` is missing, or empty");

    public string? Optional(string key) => entries.TryGetValue(key, out var entry) ? Scalar(entry.Value, source) : null;

    /// <summary>A list of texts, or one text; empty where there is none.</summary>
    public IReadOnlyList<string> Texts(string key) => !entries.TryGetValue(key, out var entry) ? []
        : entry.Value is YamlSequenceNode list ? [.. list.Children.Select(one => Scalar(one, source))] : [Scalar(entry.Value, source)];

    public YamlMap? Map(string key)
    {
        if (!entries.TryGetValue(key, out var entry)) return null;
        return entry.Value is YamlMappingNode map ? new YamlMap(map, source) : throw new UsageException($"{WhereOf(key)}: `{key}` must hold `key: value` lines");
    }

    public IEnumerable<YamlMap> Maps(string key)
    {
        if (!entries.TryGetValue(key, out var entry)) return [];
        if (entry.Value is not YamlSequenceNode list || list.Children.Any(one => one is not YamlMappingNode))
            throw new UsageException($"{WhereOf(key)}: `{key}` must be a list of `key: value` lines, each with a dash before it");
        return list.Children.Select(one => new YamlMap((YamlMappingNode)one, source));
    }

    /// <summary>Every single value below, under its path with dots.</summary>
    public IEnumerable<(string Key, string Value, string Where)> Leaves() => entries.SelectMany(entry => entry.Value.Value is YamlMappingNode map
        ? new YamlMap(map, source).Leaves().Select(leaf => (Key: $"{entry.Key}.{leaf.Key}", leaf.Value, leaf.Where))
        : [(Key: entry.Key, Value: Scalar(entry.Value.Value, source), Where: $"{source}:{entry.Value.Line}")]);

    private static string Scalar(YamlNode node, string source) =>
        node is YamlScalarNode scalar ? scalar.Value ?? "" : throw new UsageException($"{source}:{node.Start.Line}: a single value is needed here, not a list or map");
}
