using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>
/// A backbone with the head that its configuration's <c>architectures[0]</c> names, called with tensors under Hugging Face's argument names and
/// answering under Hugging Face's output names: what <c>permafrost forward</c> runs.
/// </summary>
public abstract class PretrainedModel : Module
{
    /// <summary>The model without its head.</summary>
    public abstract Backbone Backbone { get; }

    /// <summary>The backbone's parameters' prefix in this class's state dictionary, such as <c>transformer.</c>; empty for the headless class.</summary>
    public abstract string Prefix { get; }

    /// <summary>The names of the arguments it understands.</summary>
    public abstract IReadOnlyCollection<string> InputNames { get; }

    /// <summary>Computes every output that the inputs allow; <c>loss</c> is among them when they define one.</summary>
    /// <param name="inputs">Tensors by Hugging Face's argument names.</param>
    /// <returns>Tensors by Hugging Face's output names: <c>logits</c>, <c>hidden_states.0</c>, ...</returns>
    /// <exception cref="PermafrostException">An input is missing, unknown or of the wrong shape.</exception>
    public abstract IReadOnlyDictionary<string, Tensor> Forward(IReadOnlyDictionary<string, Tensor> inputs);

    /// <summary>Appends <paramref name="newTokens"/> tokens, each the most probable one (greedy decoding, no stop at the end-of-text id).</summary>
    /// <param name="inputs">As for <see cref="Forward"/>, with <c>input_ids</c>.</param>
    /// <param name="newTokens">How many.</param>
    /// <returns>Prompt and new ids, (B, T + newTokens).</returns>
    /// <exception cref="PermafrostException">The model has no language-model head, or the result would not fit its positions.</exception>
    public abstract Tensor Generate(IReadOnlyDictionary<string, Tensor> inputs, int newTokens);

    /// <summary>Whether the next <see cref="Forward"/> prepares for a gradient with respect to <see cref="EmbeddedInputs"/>.</summary>
    public bool WantInputGradient { get; set; }

    /// <summary>The input as vectors: <c>inputs_embeds</c>, or what the token table gave for the ids.</summary>
    public Tensor? EmbeddedInputs { get; private set; }

    /// <summary>For models to call with the vectors before they are used.</summary>
    protected void RememberInputs(Tensor vectors)
    {
        EmbeddedInputs = vectors;
        if (!WantInputGradient) return;
        // Vectors that the token table made are not a leaf while that table has a gradient: ask autograd to keep theirs.
        if (vectors.requires_grad) vectors.retain_grad();
        else vectors.requires_grad = true;
    }
}
