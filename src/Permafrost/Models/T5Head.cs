using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>T5's language-model head: a matrix of its own, or the token table, before which states are scaled (modeling_t5.py, T5ForConditionalGeneration).</summary>
/// <param name="Tokens">The token table.</param>
/// <param name="Untied">The head's own matrix; null where they are tied.</param>
/// <param name="Width">C.</param>
internal sealed record T5Head(Embedding Tokens, Linear? Untied, int Width)
{
    private double Scale => Math.Pow(Width, -0.5);

    public LanguageHead AsLanguageHead => Untied is not null ? new LanguageHead(Untied.Weight, null, hidden => hidden)
        : new LanguageHead(Tokens.Weight, null, hidden => Segment.Compose(inputs => inputs[0].Times(Scale), hidden));

    /// <summary>(..., C) to (..., V).</summary>
    public Tensor Logits(Tensor hidden) => Untied is null
        ? torch.nn.functional.linear(hidden.Times(Scale), Tokens.Weight.Value) : torch.nn.functional.linear(hidden, Untied.Weight.Value);
}
