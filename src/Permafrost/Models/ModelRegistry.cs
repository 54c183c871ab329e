using System.Text.Json.Nodes;
using Permafrost.Formats;

namespace Permafrost.Models;

/// <summary>A model family.</summary>
/// <param name="ModelType">Hugging Face's name of the family.</param>
/// <param name="Backbone">Makes the headless model.</param>
/// <param name="Heads">By class name, as in <c>architectures</c>: makes the model with that head.</param>
/// <param name="BasePrefixes">Prefixes that checkpoints of the family put before the backbone's names.</param>
/// <param name="Buffers">Endings of tensors in checkpoints that are buffers, not weights.</param>
/// <param name="Tied">The token table's name and, where a configuration ties them, the head's: a checkpoint may hold the one or the other.</param>
/// <param name="HeadPrefixes">Beginnings of tensors in checkpoints that belong to a head; skipped when the head is not wanted, or is tied.</param>
public sealed record Architecture(
    string ModelType, Func<HfConfig, Backbone> Backbone, IReadOnlyDictionary<string, Func<HfConfig, PretrainedModel>> Heads, string[] BasePrefixes, string[] Buffers,
    (string Table, string Head) Tied, string[] HeadPrefixes);

/// <summary>A named configuration, for random bodies.</summary>
/// <param name="Name">The name after <c>--backbone</c>.</param>
/// <param name="Summary">One line for <c>permafrost ls backbones</c>.</param>
/// <param name="Json">The configuration.</param>
public sealed record Preset(string Name, string Summary, string Json)
{
    /// <summary>The configuration.</summary>
    public HfConfig Config => new((JsonObject)JsonNode.Parse(Json)!, $"preset {Name}");
}

/// <summary>Every model family and preset. Adding one: a file beside this one, and a line here.</summary>
public static class ModelRegistry
{
    /// <summary>The families, by Hugging Face's <c>model_type</c>.</summary>
    public static IReadOnlyList<Architecture> Architectures { get; } =
    [
        new("gpt2", config => new Gpt2Model(config), new Dictionary<string, Func<HfConfig, PretrainedModel>>
        {
            ["GPT2Model"] = config => new Gpt2Pretrained(config, head: false),
            ["GPT2LMHeadModel"] = config => new Gpt2Pretrained(config, head: true),
        }, ["transformer."], [".attn.bias", ".attn.masked_bias"], ("wte.weight", "lm_head.weight"), ["lm_head.", "score.", "multiple_choice_head."]),
    ];

    /// <summary>The presets.</summary>
    public static IReadOnlyList<Preset> Presets { get; } =
    [
        Gpt2("gpt2-tiny", 2, 128, 2), Gpt2("gpt2-mini", 4, 256, 4),
        Gpt2("gpt2", 12, 768, 12), Gpt2("gpt2-medium", 24, 1024, 16), Gpt2("gpt2-large", 36, 1280, 20), Gpt2("gpt2-xl", 48, 1600, 25),
    ];

    /// <summary>The family of a configuration.</summary>
    /// <exception cref="PermafrostException">The family is not known.</exception>
    public static Architecture Find(HfConfig config) =>
        Architectures.FirstOrDefault(a => a.ModelType == config.ModelType)
        ?? throw new PermafrostException(
            $"{config.Source}: the model_type '{config.ModelType}' is not known; known are {string.Join(", ", Architectures.Select(a => a.ModelType))}");

    /// <summary>The model that a configuration's <c>architectures[0]</c> names; the headless one when it names none.</summary>
    /// <exception cref="PermafrostException">The family or the class is not known.</exception>
    public static PretrainedModel CreateWithHead(HfConfig config)
    {
        Architecture architecture = Find(config);
        string name = config.Architecture ?? architecture.Heads.Keys.First();
        return architecture.Heads.TryGetValue(name, out Func<HfConfig, PretrainedModel>? create) ? create(config)
            : throw new PermafrostException(
                $"{config.Source}: the architecture '{name}' is not known; of {config.ModelType} there are {string.Join(", ", architecture.Heads.Keys)}");
    }

    private static Preset Gpt2(string name, int layers, int width, int heads) => new(name, $"GPT-2, {layers} layers of {width}, {heads} heads, 1024 positions",
        """{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"],""" +
        $$""" "n_layer": {{layers}}, "n_embd": {{width}}, "n_head": {{heads}}, "n_positions": 1024, "vocab_size": 50257}""");
}
