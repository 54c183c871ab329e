using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>
/// A backbone with the head that its configuration's <c>architectures[0]</c> names, called with tensors under Hugging Face's argument names and
/// answering under Hugging Face's output names: what <c>permafrost forward</c> runs.
/// </summary>
public abstract class PretrainedModel : Module
{
    private readonly Dictionary<string, Tensor> embedded = [];

    /// <summary>The model without its head.</summary>
    public abstract Backbone Backbone { get; }

    /// <summary>The backbone's parameters' prefix in this class's state dictionary, such as <c>transformer.</c>; empty for the headless class.</summary>
    public abstract string Prefix { get; }

    /// <summary>The language-model head, for a loss that never holds all logits; null where the class has none.</summary>
    internal virtual LanguageHead? LanguageHead => null;

    /// <summary>The names of the arguments it understands.</summary>
    public abstract IReadOnlyCollection<string> InputNames { get; }

    /// <summary>Computes every output that the inputs allow; <c>loss</c> is among them when they define one.</summary>
    /// <param name="inputs">Tensors by Hugging Face's argument names.</param>
    /// <returns>Tensors by Hugging Face's output names: <c>logits</c>, <c>hidden_states.0</c>, ...</returns>
    /// <exception cref="PermafrostException">An input is missing, unknown or of the wrong shape.</exception>
    public abstract IReadOnlyDictionary<string, Tensor> Forward(IReadOnlyDictionary<string, Tensor> inputs);

    /// <summary>Generates tokens: behind the prompt, or of an encoder-decoder behind the token that its decoder starts from.</summary>
    /// <param name="inputs">As for <see cref="Forward"/>, with <c>input_ids</c>.</param>
    /// <param name="options">How.</param>
    /// <returns>(B, T + new): the prompt, or the decoder's start, and the new ids.</returns>
    /// <exception cref="PermafrostException">The model has no language-model head, or the result would not fit its positions.</exception>
    public virtual Tensor Generate(IReadOnlyDictionary<string, Tensor> inputs, GenerationOptions options) =>
        throw new PermafrostException($"{Backbone.Config.Source}: {Backbone.Config.ModelType} has no language-model head for what comes next, so it cannot generate");

    /// <summary>
    /// Generates <paramref name="newTokens"/> tokens, each the most probable one. A decoder goes on behind the end of a text; an encoder-decoder stops there, at the latest at the
    /// last token where its configuration forces one, and fills with padding.
    /// </summary>
    /// <inheritdoc cref="Generate(IReadOnlyDictionary{string, Tensor}, GenerationOptions)"/>
    public Tensor Generate(IReadOnlyDictionary<string, Tensor> inputs, int newTokens) => Generate(inputs, Greedy(newTokens));

    /// <summary>Greedy decoding as this family's reference does it.</summary>
    protected virtual GenerationOptions Greedy(int newTokens) => new() { MaxNewTokens = newTokens };

    /// <summary>Greedy decoding of up to so many tokens, of which the first of <see cref="EndIds"/> is the last.</summary>
    internal GenerationOptions ForTexts(int newTokens)
    {
        GenerationOptions greedy = Greedy(newTokens);
        return greedy with { EndId = EndIds is [var end, ..] ? end : greedy.EndId };
    }

    /// <summary>The tokens that end a text, as the configuration says.</summary>
    internal IReadOnlyList<int> EndIds => Backbone.Config.TokenIds("eos_token_id") is { Count: > 0 } ids ? ids : Greedy(1).EndId is { } end ? [end] : [];

    /// <summary>Whether the next <see cref="Forward"/> prepares for a gradient with respect to <see cref="EmbeddedInputs"/>.</summary>
    public bool WantInputGradient { get; set; }

    /// <summary>
    /// The inputs as numbers that can have a gradient: <c>inputs_embeds</c>, or what the token table gave for the ids; <c>decoder_inputs_embeds</c>; <c>pixel_values</c>.
    /// </summary>
    public IReadOnlyDictionary<string, Tensor> EmbeddedInputs => embedded;

    /// <summary>Adds states and attention probabilities under Hugging Face's names, each with its number.</summary>
    /// <param name="outputs">What is added to.</param>
    /// <param name="made">What the backbone gave.</param>
    /// <param name="prefix">What an encoder-decoder puts before the names, such as <c>encoder_</c>.</param>
    private protected static void AddStates(Dictionary<string, Tensor> outputs, ModelOutputs made, string prefix = "")
    {
        AddNumbered(outputs, $"{prefix}hidden_states", made.HiddenStates);
        AddNumbered(outputs, $"{prefix}attentions", made.Attentions);
    }

    private protected static void AddNumbered(Dictionary<string, Tensor> outputs, string name, IReadOnlyList<Tensor> tensors)
    {
        for (int i = 0; i < tensors.Count; i++) outputs[$"{name}.{i}"] = tensors[i];
    }

    /// <summary>For models to call with such an input before it is used.</summary>
    protected void RememberInputs(Tensor vectors, string name = "inputs_embeds")
    {
        embedded[name] = vectors;
        if (!WantInputGradient) return;
        // Vectors that the token table made are not a leaf while that table has a gradient: ask autograd to keep theirs.
        if (vectors.requires_grad) vectors.retain_grad();
        else vectors.requires_grad = true;
    }
}
