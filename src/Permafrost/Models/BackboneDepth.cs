using System.Globalization;
using System.Text.Json.Nodes;
using Permafrost.Formats;

namespace Permafrost.Models;

/// <summary>
/// The first layers of a body alone, as in <c>gpt2:2</c>: what follows the layers, such as a final norm, stays (Lu et al. 2021, Tables 11 and 12, vary the depth so).
/// </summary>
internal static class BackboneDepth
{
    // By family: the configuration's keys, and the word before a layer's number in names of tensors.
    private static readonly Dictionary<string, (string[] Keys, string Word)> Families = new()
    {
        ["gpt2"] = (["n_layer", "num_hidden_layers"], "h"),
        ["bert"] = (["num_hidden_layers"], "layer"),
        ["roberta"] = (["num_hidden_layers"], "layer"),
        ["distilbert"] = (["n_layers", "num_hidden_layers"], "layer"),
        ["vit"] = (["num_hidden_layers"], "layer"),
        ["llama"] = (["num_hidden_layers"], "layers"),
        ["t5"] = (["num_layers", "num_decoder_layers"], "block"),
    };

    /// <summary>A reference without its depth, and the depth; null where it names none.</summary>
    public static (string Name, int? Layers) Split(string reference)
    {
        int colon = reference.LastIndexOf(':');
        // A folder's name may hold a colon, and on Windows a drive's letter stands before one.
        if (colon < 2 || Directory.Exists(reference)) return (reference, null);
        return int.TryParse(reference.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int layers) ? (reference[..colon], layers) : (reference, null);
    }

    /// <summary>The configuration with fewer layers, and the checkpoint's tensors that it then lacks, as patterns with commas.</summary>
    /// <exception cref="PermafrostException">The family has no such form, or the body has not so many layers.</exception>
    public static (HfConfig Config, string? Beyond) Cut(HfConfig config, string reference, int layers)
    {
        if (!Families.TryGetValue(config.ModelType, out var family))
            throw new PermafrostException(
                $"'{reference}': a {ShownText.Short(config.ModelType)} body cannot be cut to its first layers; of {string.Join(", ", Families.Keys)} it can");
        JsonObject json = JsonNode.Parse(config.ToJson())!.AsObject();
        string[] keys = [.. family.Keys.Where(key => json[key] is not null)];
        int all = keys.Length == 0 ? 0 : config.Int(keys[0], 0);
        if (layers < 1 || layers > all) throw new PermafrostException($"'{reference}': the body has {all} layers; give a number from 1 to {all} behind the colon");
        foreach (string key in keys) json[key] = layers;
        string[] beyond = [.. Enumerable.Range(layers, all - layers).Select(layer => $"*{family.Word}.{layer}.*")];
        return (new HfConfig(json, config.Source), beyond.Length == 0 ? null : string.Join(',', beyond));
    }
}
