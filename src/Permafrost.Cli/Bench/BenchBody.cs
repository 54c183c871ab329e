using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Models;

namespace Permafrost.Cli.Bench;

/// <summary>The bodies that can be measured: how each family is fed and read, and its sizes, as the other measuring processes are told them.</summary>
internal static class BenchBody
{
    /// <summary>The families, with the body that a case of each measures.</summary>
    public static IReadOnlyDictionary<string, string> Usual { get; } = new Dictionary<string, string>
    {
        ["gpt2"] = "gpt2",
        ["bert"] = "all-MiniLM-L6-v2",
        ["t5"] = "t5-base",
        ["bart"] = "bart-base",
        ["vit"] = "vit-base",
        ["longformer"] = "longformer-base-4096",
        ["qwen2"] = "qwen2-0.5b",
    };

    /// <summary>Whether ids go through the body's own token table; the others are fed vectors.</summary>
    public static bool TakesIds(string family) => family == "bert";

    /// <summary>Whether a token sees only those before it, so that the last one is read; of the others the mean of all is.</summary>
    public static bool IsCausal(string family) => family is "gpt2" or "qwen2";

    /// <summary>The sizes of a body, by name.</summary>
    /// <exception cref="PermafrostException">The family has no peer.</exception>
    public static JsonObject Sizes(HfConfig config)
    {
        JsonObject sizes = config.ModelType switch
        {
            "gpt2" => Gpt2(new Gpt2Config(config)),
            "bert" => Bert(new BertConfig(config)),
            // Without a peer: its mixers are measured against each other.
            "conv-seq2seq" => T5(new T5Config(config)),
            "t5" => T5(new T5Config(config)),
            "bart" => Bart(new BartConfig(config)),
            "vit" => Vit(new VitConfig(config)),
            "longformer" => Longformer(new LongformerConfig(config)),
            "qwen2" => Qwen2(new LlamaConfig(config), config),
            _ => throw new PermafrostException($"{config.Source}: benchmarks know no peer of the model_type '{config.ModelType}'; there are {string.Join(", ", Usual.Keys)}"),
        };
        sizes["family"] = config.ModelType;
        return sizes;
    }

    private static JsonObject Basic(int layers, int width, int heads, int inner, int positions, double epsilon) => new()
    {
        ["layers"] = layers,
        ["width"] = width,
        ["heads"] = heads,
        ["inner"] = inner,
        ["positions"] = positions,
        ["layer_norm_epsilon"] = epsilon,
    };

    private static JsonObject Gpt2(Gpt2Config config)
    {
        JsonObject sizes = Basic(config.Layers, config.Width, config.Heads, config.Inner, config.Positions, config.Epsilon);
        sizes["vocab"] = config.VocabSize;
        return sizes;
    }

    private static JsonObject Bert(BertConfig config)
    {
        JsonObject sizes = Basic(config.Layers, config.Width, config.Heads, config.Inner, config.Positions, config.Epsilon);
        sizes["vocab"] = config.VocabSize;
        return sizes;
    }

    private static JsonObject T5(T5Config config)
    {
        JsonObject sizes = Basic(config.Layers, config.Width, config.Heads, config.Inner, 0, config.Epsilon);
        (sizes["head_size"], sizes["gated"], sizes["buckets"], sizes["max_distance"]) = (config.HeadSize, config.IsGated, config.Buckets, config.MaxDistance);
        return sizes;
    }

    private static JsonObject Bart(BartConfig config) => Basic(config.Layers, config.Width, config.Heads, config.Inner, config.Positions, 1e-5);

    private static JsonObject Vit(VitConfig config)
    {
        JsonObject sizes = Basic(config.Layers, config.Width, config.Heads, config.Inner, config.Patches, config.Epsilon);
        sizes["query_bias"] = config.QkvBias;
        return sizes;
    }

    private static JsonObject Longformer(LongformerConfig config)
    {
        JsonObject sizes = Bert(config.Encoder);
        sizes["first_position"] = config.Encoder.FirstPosition;
        sizes["windows"] = new JsonArray([.. config.Windows.Select(window => (JsonNode)window)]);
        return sizes;
    }

    private static JsonObject Qwen2(LlamaConfig config, HfConfig file)
    {
        JsonObject sizes = Basic(config.Layers, config.Width, config.Heads, config.Inner, config.Positions, config.Epsilon);
        (sizes["key_heads"], sizes["head_size"], sizes["gated"]) = (config.KeyHeads, config.HeadSize, true);
        sizes["rope_theta"] = (file.Section("rope_parameters") ?? file).Number("rope_theta", 10000);
        return sizes;
    }
}
