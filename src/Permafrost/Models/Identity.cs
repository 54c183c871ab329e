// The body-removed control: what a frozen model adds shows only beside the same input and output layers without it. The papers that ask for it: Rothermel et al. 2021,
// arXiv 2107.12460, of the Frozen Pretrained Transformer; Tan et al. 2024, arXiv 2406.16964, who remove language models from time series forecasters and lose nothing.

using Permafrost.Formats;
using Permafrost.Kernels;

namespace Permafrost.Models;

/// <summary>
/// No body: the vectors that go in come out, and there is nothing to freeze. A token learns of the others by the readout alone, so <c>mean</c> is the one that sees a whole
/// sequence.
/// </summary>
public sealed class IdentityModel : Backbone
{
    /// <summary>The family.</summary>
    public static Architecture Architecture { get; } = new()
    {
        ModelType = "identity",
        Backbone = config => new IdentityModel(config),
        Heads = new Dictionary<string, Func<HfConfig, PretrainedModel>> { ["Identity"] = config => new VectorPretrained(new IdentityModel(config)) },
    };

    /// <summary>As wide as the bodies that it is compared with.</summary>
    public static IReadOnlyList<Preset> Presets { get; } = [Preset("body-removed-tiny", 128), Preset("body-removed", 768)];

    /// <summary>A model; it has no weights.</summary>
    /// <exception cref="PermafrostException">The configuration's width cannot be.</exception>
    public IdentityModel(HfConfig config)
    {
        Config = config;
        int width = config.Int("hidden_size", 768);
        if (width > 1 << 20) throw new PermafrostException($"{config.Source}: hidden_size is beyond anything that exists");
        // No token sees another, so none sees a later one.
        Traits = new BackboneTraits(width, 0) { Causal = true };
    }

    /// <inheritdoc/>
    public override HfConfig Config { get; }

    /// <inheritdoc/>
    public override BackboneTraits Traits { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<GroupRule> Groups => [];

    private static Preset Preset(string name, int width) => new(name, $"control: no body, vectors of {width}; read their mean",
        $$"""{"model_type": "identity", "architectures": ["Identity"], "hidden_size": {{width}}}""");

    /// <inheritdoc/>
    public override ModelOutputs Forward(ModelInputs input)
    {
        Tensor vectors = Vectors(input.InputIds, input.InputsEmbeds);
        Tensor hidden = input.ReadPositions is { } positions ? vectors.Rows(positions) : vectors;
        return new ModelOutputs(hidden, input.OutputHiddenStates ? [hidden] : [], []);
    }
}
