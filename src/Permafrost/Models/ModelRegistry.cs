using System.Text.Json.Nodes;
using Permafrost.Formats;

namespace Permafrost.Models;

/// <summary>A model family: how its model is made, and what its checkpoints call things.</summary>
public sealed record Architecture
{
    /// <summary>Hugging Face's name of the family.</summary>
    public required string ModelType { get; init; }

    /// <summary>Makes the headless model, without weights yet.</summary>
    public required Func<HfConfig, Backbone> Backbone { get; init; }

    /// <summary>By class name, as in <c>architectures</c>: makes the model with that head.</summary>
    public IReadOnlyDictionary<string, Func<HfConfig, PretrainedModel>> Heads { get; init; } = new Dictionary<string, Func<HfConfig, PretrainedModel>>();

    /// <summary>Prefixes that checkpoints of the family put before the backbone's names.</summary>
    public IReadOnlyList<string> BasePrefixes { get; init; } = [];

    /// <summary>Endings of tensors in checkpoints that are buffers, not weights.</summary>
    public IReadOnlyList<string> Buffers { get; init; } = [];

    /// <summary>The token table's name and, where a configuration ties them, the head's: a checkpoint may hold the one or the other.</summary>
    public (string Table, string Head)? Tied { get; init; }

    /// <summary>Whether they are tied where the configuration does not say.</summary>
    public bool TiedByDefault { get; init; } = true;

    /// <summary>Endings of parameter names and the endings that older checkpoints have in their place.</summary>
    public IReadOnlyList<(string Name, string Old)> OldEndings { get; init; } = [];

    /// <summary>Beginnings of tensors in checkpoints that belong to a head; skipped when the head is not wanted, or is tied.</summary>
    public IReadOnlyList<string> HeadPrefixes { get; init; } = [];
}

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
        Gpt2Model.Architecture, BertModel.Architecture, RobertaModel.Architecture, DistilBertModel.Architecture, VitModel.Architecture,
        T5Model.Architecture, ConvSeq2SeqModel.Architecture, BartModel.Architecture, LongformerModel.Architecture, .. LlamaModel.Architectures, LinformerModel.Architecture,
        LstmModel.Architecture, LnLstmModel.Architecture, IdentityModel.Architecture, AttentionOnlyModel.Architecture,
    ];

    /// <summary>The presets.</summary>
    public static IReadOnlyList<Preset> Presets { get; } =
    [
        .. Gpt2Model.Presets, .. BertModel.Presets, .. RobertaModel.Presets, .. DistilBertModel.Presets, .. VitModel.Presets,
        .. T5Model.Presets, .. ConvSeq2SeqModel.Presets, .. BartModel.Presets, .. LongformerModel.Presets, .. LlamaModel.Presets, .. LinformerModel.Presets,
        .. LstmModel.Presets, .. LnLstmModel.Presets, .. IdentityModel.Presets, .. AttentionOnlyModel.Presets,
    ];

    /// <summary>The family of a configuration.</summary>
    /// <exception cref="PermafrostException">The family is not known.</exception>
    public static Architecture Find(HfConfig config) =>
        Architectures.FirstOrDefault(a => a.ModelType == config.ModelType)
        ?? throw new PermafrostException(
            $"{config.Source}: the model_type '{ShownText.Short(config.ModelType)}' is not known; known are {string.Join(", ", Architectures.Select(a => a.ModelType))}");

    /// <summary>The model that a configuration's <c>architectures[0]</c> names; the headless one when it names none.</summary>
    /// <exception cref="PermafrostException">The family or the class is not known.</exception>
    public static PretrainedModel CreateWithHead(HfConfig config)
    {
        Architecture architecture = Find(config);
        if (architecture.Heads.Count == 0)
            throw new PermafrostException($"{config.Source}: {config.ModelType} has no class that can be called by itself; adapt it to a task instead");
        string name = config.Architecture ?? architecture.Heads.Keys.First();
        return architecture.Heads.TryGetValue(name, out Func<HfConfig, PretrainedModel>? create) ? create(config)
            : throw new PermafrostException(
                $"{config.Source}: the architecture '{ShownText.Short(name)}' is not known; of {config.ModelType} there are {string.Join(", ", architecture.Heads.Keys)}");
    }
}
