using Permafrost.Formats;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>What a backbone computes on: ids or vectors, and which of them are padding.</summary>
/// <param name="InputIds">(B, T) int64; or null when vectors are given.</param>
/// <param name="InputsEmbeds">(B, T, C); or null when ids are given.</param>
/// <param name="AttentionMask">(B, T), 1 for tokens and 0 for padding; null when nothing is padded.</param>
/// <param name="PositionIds">(B, T) int64; null for 0, 1, 2, ...</param>
/// <param name="ReadPositions">(B, K) int64: the only positions whose last hidden state is wanted, so that the last layer need not compute the others; null for all.</param>
/// <param name="WantHiddenStates">Return the states between the layers too.</param>
/// <param name="WantAttentions">Return the attention probabilities too.</param>
public sealed record BackboneInput(
    Tensor? InputIds = null, Tensor? InputsEmbeds = null, Tensor? AttentionMask = null, Tensor? PositionIds = null, Tensor? ReadPositions = null,
    bool WantHiddenStates = false, bool WantAttentions = false);

/// <summary>What a backbone returns.</summary>
/// <param name="LastHiddenState">(B, T, C); (B, K, C) where positions were asked for.</param>
/// <param name="HiddenStates">Before, between and after the layers, as Hugging Face returns them; empty unless asked for.</param>
/// <param name="Attentions">(B, H, T, T) for each layer; empty unless asked for.</param>
public sealed record BackboneOutput(Tensor LastHiddenState, IReadOnlyList<Tensor> HiddenStates, IReadOnlyList<Tensor> Attentions);

/// <summary>A sequence model without a head: the part that is pretrained, and then frozen. Parameter names are Hugging Face's for the headless class.</summary>
public abstract class Backbone : Module
{
    /// <summary>The configuration it was made from.</summary>
    public abstract HfConfig Config { get; }

    /// <summary>C, the size of its vectors.</summary>
    public abstract int Width { get; }

    /// <summary>Number of layers.</summary>
    public abstract int Layers { get; }

    /// <summary>The longest sequence; null when there is no bound.</summary>
    public abstract int? MaxPositions { get; }

    /// <summary>Whether a token only sees those before it, so that what follows the last token that counts may be left away.</summary>
    public virtual bool Causal => false;

    /// <summary>The group of every parameter.</summary>
    public abstract IReadOnlyList<GroupRule> Groups { get; }

    /// <summary>Probability of every dropout in the body, replacing the configuration's; null restores those.</summary>
    public double? DropoutOverride { get; set; }

    /// <summary>Keep only what flows between the layers for the gradient, and compute each layer again when its turn comes: less memory, a third more time.</summary>
    public bool GradientCheckpointing { get; set; }

    /// <summary>Computes the hidden states.</summary>
    /// <exception cref="PermafrostException">The sequence is longer than the positions, or the input's width is not the model's.</exception>
    public abstract BackboneOutput Forward(BackboneInput input);

    /// <summary>Parameters that an input of this kind never reaches (the token table when vectors are fed); they do not train.</summary>
    public abstract IEnumerable<string> UnusedParameters(bool vectors);

    /// <summary>Bytes that a training step's forward pass keeps for the gradients, and its backward pass works with, about.</summary>
    /// <param name="batch">Sequences.</param>
    /// <param name="tokens">Tokens of each.</param>
    /// <param name="firstLayer">The lowest layer that gradients reach; the number of layers where they reach none.</param>
    /// <param name="read">Positions of each that the last layer's output is wanted of.</param>
    public abstract long TrainingBytes(long batch, long tokens, int firstLayer, long read);

    /// <summary>Bytes that a forward pass without gradients works with, about.</summary>
    public abstract long ForwardBytes(long batch, long tokens);

    /// <summary>Vectors (B, T, C) for ids, from the model's own token table.</summary>
    public abstract Tensor EmbedTokens(Tensor ids);

    /// <summary>The group and layer number (-1 outside the layers) of a parameter.</summary>
    /// <exception cref="InvalidOperationException">The model declares no group for it, or two.</exception>
    public (GroupName Group, int Layer) GroupOf(string parameter)
    {
        (GroupName Group, int Layer)? found = null;
        foreach (GroupRule rule in Groups)
        {
            if (!rule.Matches(parameter, out int layer)) continue;
            if (found is not null) throw new InvalidOperationException($"{Config.ModelType} declares two groups for {parameter}");
            found = (rule.Group, layer);
        }
        return found ?? throw new InvalidOperationException($"{Config.ModelType} declares no group for {parameter}");
    }
}
