namespace Permafrost.Formats.Hub;

/// <summary>Which files of a model are fetched: its configuration, its tokenizer, and its weights in one form.</summary>
internal static class HubChoice
{
    /// <summary>The configuration, which comes last into a snapshot.</summary>
    public const string Config = "config.json";

    private static readonly HashSet<string> Small =
    [
        "generation_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt",
    ];

    private static readonly string[] Weights = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

    /// <summary>Everything but the weights, the configuration last.</summary>
    /// <exception cref="PermafrostException">The model has no configuration.</exception>
    public static IReadOnlyList<string> Described(string name, IReadOnlyList<string> files)
    {
        if (!files.Contains(Config))
        {
            throw new PermafrostException(files.Contains("adapter_config.json")
                ? $"{name} is an adapter (adapter_config.json), not a model; fetch the model that it was trained on"
                : $"{name} has no {Config}, so it is no model that can be a backbone");
        }
        return [.. files.Where(IsDescription).Distinct().Order(StringComparer.Ordinal), Config];
    }

    /// <summary>The file of weights, or of shards' names, that goes before others: safetensors, else PyTorch's.</summary>
    /// <exception cref="PermafrostException">There is none.</exception>
    public static string Weight(string name, IReadOnlyList<string> files) => Array.Find(Weights, files.Contains)
        ?? throw new PermafrostException($"{name} has no weights that can be read: neither model.safetensors nor pytorch_model.bin, whole or in shards");

    /// <summary>The shards that an index names.</summary>
    /// <exception cref="PermafrostException">The index is none, or names files that the model does not have.</exception>
    public static IReadOnlyList<string> Shards(string name, string index, IReadOnlyList<string> files)
    {
        string[] shards = [.. ShardIndex.Read(index).Select(pair => pair.File).Distinct().Order(StringComparer.Ordinal)];
        if (Array.Find(shards, shard => !files.Contains(shard)) is { } missing) throw new PermafrostException($"{name} has no file '{missing}', which its index of shards names");
        return shards;
    }

    // vocab.json, vocab.txt, spiece.model, tokenizer.model and their like; a name with a folder is another thing's.
    private static bool IsDescription(string file) =>
        Small.Contains(file) || (ShardIndex.IsPlain(file) && (file.StartsWith("vocab.", StringComparison.Ordinal) || file.EndsWith(".model", StringComparison.Ordinal)));
}
