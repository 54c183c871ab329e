using Permafrost.Kernels;

namespace Permafrost.Models;

/// <summary>Checks the arguments of an encoder-decoder: one sentence here instead of libtorch's words from somewhere inside.</summary>
internal static class SequenceInputs
{
    /// <summary>What a model can look up.</summary>
    /// <param name="Width">C.</param>
    /// <param name="Vocabulary">Rows of its token table.</param>
    /// <param name="Positions">The longest sequence on either side; null for any.</param>
    public sealed record Bounds(int Width, int Vocabulary, int? Positions);

    /// <summary>The inputs with ids as int64.</summary>
    /// <exception cref="PermafrostException">One is missing, of the wrong shape, or out of range.</exception>
    public static Dictionary<string, Tensor> Check(IReadOnlyDictionary<string, Tensor> given, Bounds bounds, string modelType, bool decodes)
    {
        var inputs = new Dictionary<string, Tensor>(given);
        foreach (string name in new[] { "input_ids", "decoder_input_ids", "labels" })
            if (inputs.TryGetValue(name, out Tensor? tensor) && !tensor.dtype.IsFloatingPoint()) inputs[name] = tensor.to(ScalarType.Int64);
        (long B, _) = Side(inputs, "", bounds, null, modelType)
            ?? throw new PermafrostException($"neither input_ids nor inputs_embeds is among the inputs; {modelType} needs one of them");
        if (!decodes) return inputs;
        long? S = Side(inputs, "decoder_", bounds, B, modelType)?.Tokens;
        if (!inputs.TryGetValue("labels", out Tensor? labels)) return inputs;
        if (labels.Dimensions != 2 || labels.size(0) != B || labels.size(1) == 0 || (S is not null && labels.size(1) != S))
            throw new PermafrostException($"labels is {labels.Describe()}; it must be (B, S) = ({B}, {(S is null ? "S" : $"{S}")})");
        if (S is null) CheckLength("labels", labels.size(1), bounds, modelType);
        ForwardInputs.CheckRange("labels", labels.masked_fill(labels.eq((-100).Hold()), 0.Hold()), bounds.Vocabulary);
        return inputs;
    }

    private static (long Rows, long Tokens)? Side(Dictionary<string, Tensor> inputs, string prefix, Bounds bounds, long? rows, string modelType)
    {
        (string idsName, string vectorsName, string maskName) = ($"{prefix}input_ids", $"{prefix}inputs_embeds", $"{prefix}attention_mask");
        Tensor? ids = inputs.GetValueOrDefault(idsName), vectors = inputs.GetValueOrDefault(vectorsName), mask = inputs.GetValueOrDefault(maskName);
        if (ids is not null && vectors is not null) throw new PermafrostException($"both {idsName} and {vectorsName} are among the inputs; give one of them");
        if ((ids ?? vectors) is not { } first)
        {
            // A decoder's inputs may come from labels, which are as long as its mask then.
            if (mask is not null && inputs.GetValueOrDefault("labels") is { } labels && !mask.shape.AsSpan().SequenceEqual(labels.shape))
                throw new PermafrostException($"{maskName} is {mask.Describe()}; it must be (B, S) = {TensorExtensions.FormatShape(labels.shape)}");
            return null;
        }
        string name = ids is null ? vectorsName : idsName, letter = prefix.Length == 0 ? "T" : "S";
        if (first.Dimensions != (ids is null ? 3 : 2) || first.NumberOfElements == 0 || (ids is null && first.size(2) != bounds.Width))
            throw new PermafrostException($"{name} is {first.Describe()}; it must be (B, {letter}{(ids is null ? $", {bounds.Width}" : "")})");
        if (rows is not null && first.size(0) != rows) throw new PermafrostException($"{name} is {first.Describe()}, and the encoder's inputs have {rows} rows");
        (long B, long T) = (first.size(0), first.size(1));
        if (mask is not null && !mask.HasShape(B, T)) throw new PermafrostException($"{maskName} is {mask.Describe()}; it must be (B, {letter}) = ({B}, {T})");
        if (ids is not null) ForwardInputs.CheckRange(idsName, ids, bounds.Vocabulary);
        CheckLength(name, T, bounds, modelType);
        return (B, T);
    }

    private static void CheckLength(string name, long tokens, Bounds bounds, string modelType)
    {
        if (tokens > bounds.Positions) throw new PermafrostException($"{name} has {tokens} tokens in a row; this {modelType} has {bounds.Positions} positions");
    }
}
