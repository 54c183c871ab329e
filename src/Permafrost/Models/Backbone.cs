using Permafrost.Formats;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>What a backbone is.</summary>
/// <param name="Width">C, the size of its vectors.</param>
/// <param name="Layers">L, the number of its layers; of an encoder-decoder the encoder's and then the decoder's.</param>
public sealed record BackboneTraits(int Width, int Layers)
{
    /// <summary>The longest sequence; null when there is no bound.</summary>
    public int? LongestInput { get; init; }

    /// <summary>Whether a token only sees those before it, so that what follows the last token that counts may be left away.</summary>
    public bool Causal { get; init; }

    /// <summary>How many of the layers are a decoder's behind an encoder; 0 where there is one stack.</summary>
    public int DecoderLayers { get; init; }

    /// <summary>Whether it has an encoder and a decoder.</summary>
    public bool EncoderDecoder => DecoderLayers > 0;

    /// <summary>The id that a decoder starts from; null where there is none.</summary>
    public int? DecoderStart { get; init; }

    /// <summary>Whether it heeds <see cref="Backbone.GradientCheckpointing"/>; one that does not takes the memory that it always takes.</summary>
    public bool GradientCheckpointing { get; init; }

    /// <summary>Rows of its own token table; null where it takes vectors only.</summary>
    public int? Vocabulary { get; init; }
}

/// <summary>How far an encoder-decoder's decoder runs.</summary>
public enum DecoderUse
{
    /// <summary>Not at all: the encoder runs alone.</summary>
    None,
    /// <summary>At the one token that it starts from, of its own token table.</summary>
    FirstToken,
    /// <summary>Over whole answers, which are fed as the other inputs are.</summary>
    Sequence,
}

/// <summary>Which parts of a backbone a run reaches.</summary>
/// <param name="Vectors">Whether vectors are fed, not ids of its own token table.</param>
/// <param name="Decoder">How far an encoder-decoder's decoder runs.</param>
public readonly record struct BackboneUse(bool Vectors, DecoderUse Decoder = DecoderUse.None);

/// <summary>A sequence model without a head: the part that is pretrained, and then frozen. Parameter names are Hugging Face's for the headless class.</summary>
public abstract class Backbone : Module
{
    /// <summary>The configuration it was made from.</summary>
    public abstract HfConfig Config { get; }

    /// <summary>What it is, and what it can be fed.</summary>
    public abstract BackboneTraits Traits { get; }

    /// <summary>The group of every parameter.</summary>
    public abstract IReadOnlyList<GroupRule> Groups { get; }

    /// <summary>Probability of every dropout in the body, replacing the configuration's; null restores those.</summary>
    public double? DropoutOverride { get; set; }

    /// <summary>Keep only what flows between the layers for the gradient, and compute each layer again when its turn comes: less memory, a third more time.</summary>
    public bool GradientCheckpointing { get; set; }

    /// <summary>Computes the hidden states.</summary>
    /// <exception cref="PermafrostException">The sequence is longer than the positions, or the input's width is not the model's.</exception>
    public abstract ModelOutputs Forward(ModelInputs input);

    /// <summary>Parameters that such a use never reaches (the token table when vectors are fed); they do not train.</summary>
    public virtual IEnumerable<string> UnusedParameters(BackboneUse use) => [];

    /// <summary>
    /// Parameters that such a use reads, and whose gradient is zero whatever the loss: they stay frozen. Of a decoder that runs at one token, what chooses among keys.
    /// </summary>
    public virtual IEnumerable<string> ConstantParameters(BackboneUse use) => [];

    /// <summary>Vectors (B, T, C) for ids (B, T), from the model's own token table.</summary>
    /// <exception cref="PermafrostException">It has none.</exception>
    public virtual Tensor EmbedTokens(Tensor ids) => throw new PermafrostException($"{Config.ModelType} has no token table, so it takes vectors only");

    /// <summary>The table whose rows <see cref="EmbedTokens"/> gives as they are; null where it does more, or there is none.</summary>
    internal virtual string? TokenTable => null;

    /// <summary>What the token table, as <see cref="EmbedTokens"/> gives it, is multiplied by to be the language model's head; null where that is a table of its own.</summary>
    internal virtual double? TiedHeadScale => null;

    /// <summary>The vectors to compute on: those given, or the table's for the ids.</summary>
    /// <exception cref="ArgumentException">Neither was given.</exception>
    /// <exception cref="PermafrostException">Their width is not the model's.</exception>
    private protected Tensor Vectors(Tensor? ids, Tensor? vectors)
    {
        Tensor given = vectors ?? EmbedTokens(ids ?? throw new ArgumentException("neither ids nor vectors were given", nameof(ids)));
        return given.size(2) == Traits.Width ? given
            : throw new PermafrostException($"the inputs are vectors of {given.size(2)} numbers, the backbone's width is {Traits.Width}");
    }

    /// <summary>Refuses outputs that cannot be had together.</summary>
    /// <exception cref="ArgumentException">Probabilities beside positions to read, or positions to read behind a cache.</exception>
    private protected static void CheckOutputs(ModelInputs input)
    {
        if (input is { OutputAttentions: true, ReadPositions: not null })
            throw new ArgumentException("attention probabilities are those of all positions; ask for them without positions to read", nameof(input));
        if (input is { Cache: not null, ReadPositions: not null })
            throw new ArgumentException("a cache keeps the keys of all positions; give it without positions to read", nameof(input));
    }

    /// <summary>The refusal of a sequence that is longer than the positions.</summary>
    private protected static PermafrostException TooLong(long tokens, long positions) =>
        new($"a sequence of {tokens} tokens does not fit the backbone's {positions} positions; shorten it or take a longer backbone");

    /// <summary>The outputs of a stack that gives its last state, then, where they are wanted, a state more than layers, and the probabilities of each layer.</summary>
    /// <returns>The outputs, and what the stack gave behind them.</returns>
    private protected static (ModelOutputs Outputs, Tensor[] More) Outputs(Tensor[] given, ModelInputs input, int layers)
    {
        int states = 1 + (input.OutputHiddenStates ? layers + 1 : 0), all = states + (input.OutputAttentions ? layers : 0);
        return (new ModelOutputs(given[0], given[1..states], given[states..all]), given[all..]);
    }

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
