using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>How a class with a language-model head tells tokens apart: its states, transformed, times a table.</summary>
/// <param name="Table">(V, C): the token table where they are tied, else the head's own.</param>
/// <param name="Bias">(V); null for none.</param>
/// <param name="Transform">What the states go through first, (..., C) to (..., C), from layers of <c>Nn</c>.</param>
internal sealed record LanguageHead(Parameter Table, Parameter? Bias, Func<Tensor, Tensor> Transform);
