using Permafrost.Formats;
using Permafrost.Kernels;

namespace Permafrost.Models;

/// <summary>Checks tensors under Hugging Face's argument names: one sentence here instead of libtorch's words from somewhere inside.</summary>
internal static class ForwardInputs
{
    /// <summary>What a model can look up.</summary>
    /// <param name="Width">C.</param>
    /// <param name="Vocabulary">Rows of its token table.</param>
    /// <param name="Positions">Rows of its position table.</param>
    /// <param name="TokenTypes">Rows of the table of token types.</param>
    public sealed record Bounds(int Width, int Vocabulary, int Positions, int TokenTypes);

    /// <summary>The inputs with ids as int64 and positions with a batch dimension.</summary>
    /// <exception cref="PermafrostException">One is missing, of the wrong shape, or out of range.</exception>
    public static Dictionary<string, Tensor> Check(IReadOnlyDictionary<string, Tensor> given, Bounds bounds, string modelType)
    {
        var inputs = new Dictionary<string, Tensor>(given);
        foreach (string name in new[] { "input_ids", "position_ids", "token_type_ids", "labels", "next_sentence_label" })
            if (inputs.TryGetValue(name, out Tensor? tensor) && !tensor.dtype.IsFloatingPoint()) inputs[name] = tensor.to(ScalarType.Int64);
        foreach (string name in new[] { "position_ids", "token_type_ids" })
            if (inputs.TryGetValue(name, out Tensor? row) && row.Dimensions == 1) inputs[name] = row.unsqueeze(0);
        Tensor? ids = inputs.GetValueOrDefault("input_ids");
        Tensor? vectors = inputs.GetValueOrDefault("inputs_embeds");
        if (ids is null == vectors is null)
            throw new PermafrostException(ids is null
                ? $"neither input_ids nor inputs_embeds is among the inputs; {modelType} needs one of them"
                : "both input_ids and inputs_embeds are among the inputs; give one of them");
        Tensor first = ids ?? vectors!;
        if (first.Dimensions != (ids is null ? 3 : 2) || first.NumberOfElements == 0)
            throw new PermafrostException(ids is null
                ? $"inputs_embeds is {first.Describe()}; it must be (B, T, {bounds.Width})"
                : $"input_ids is {first.Describe()}; it must be (B, T)");
        (long B, long T) = (first.size(0), first.size(1));
        foreach (string name in new[] { "attention_mask", "global_attention_mask", "position_ids", "token_type_ids", "labels" })
        {
            if (!inputs.TryGetValue(name, out Tensor? tensor)) continue;
            bool shared = name is "position_ids" or "token_type_ids" && tensor.Dimensions == 2 && tensor.size(0) == 1;
            if (tensor.Dimensions != 2 || tensor.size(1) != T || (tensor.size(0) != B && !shared))
                throw new PermafrostException($"{name} is {tensor.Describe()}; it must be (B, T) = ({B}, {T})");
        }
        if (inputs.TryGetValue("next_sentence_label", out Tensor? next))
        {
            if (next.NumberOfElements != B) throw new PermafrostException($"next_sentence_label is {next.Describe()}; it must be (B) = ({B})");
            CheckRange("next_sentence_label", next, 2);
        }
        if (inputs.TryGetValue("labels", out Tensor? labels)) CheckRange("labels", labels.masked_fill(labels.eq((-100).Hold()), 0.Hold()), bounds.Vocabulary);
        CheckRange("input_ids", ids, bounds.Vocabulary);
        CheckRange("token_type_ids", inputs.GetValueOrDefault("token_type_ids"), bounds.TokenTypes);
        CheckRange("position_ids", inputs.GetValueOrDefault("position_ids"), bounds.Positions);
        return inputs;
    }

    /// <summary>Where a model has no loss, <c>loss_weight</c> (B, T, C) defines one, averaged over the batch; null where it is not given.</summary>
    /// <param name="inputs">The arguments.</param>
    /// <param name="hidden">(B, T, C).</param>
    /// <param name="pooled">What a pooler makes of the first token, which counts with that token's weights where it is as wide as they are; null for none.</param>
    /// <exception cref="PermafrostException">The weights have another shape than the states.</exception>
    public static Tensor? WeightedLoss(IReadOnlyDictionary<string, Tensor> inputs, Tensor hidden, Tensor? pooled = null)
    {
        if (!inputs.TryGetValue("loss_weight", out Tensor? weight)) return null;
        if (!weight.shape.AsSpan().SequenceEqual(hidden.shape))
            throw new PermafrostException($"loss_weight is {weight.Describe()}; it must be (B, T, C) = {TensorExtensions.FormatShape(hidden.shape)}");
        Tensor sum = (hidden * weight).sum();
        if (pooled is not null && pooled.size(1) == weight.size(2)) sum = sum.Plus((pooled * weight.select(1, 0)).sum());
        return sum.div(weight.size(0).Hold());
    }

    /// <summary>The mean cross entropy of <c>labels</c> (B, T), of which -100 does not count; null where they are not given.</summary>
    public static Tensor? TokenLoss(IReadOnlyDictionary<string, Tensor> inputs, Tensor logits) =>
        inputs.TryGetValue("labels", out Tensor? labels) ? torch.nn.functional.cross_entropy(logits.reshape(-1, logits.size(2)), labels.reshape(-1)) : null;

    /// <summary>Refuses pictures that are not (B, channels, height, width) of a model's sizes.</summary>
    /// <exception cref="PermafrostException">The shape is another.</exception>
    public static void CheckPixels(Tensor pixels, long channels, long height, long width)
    {
        if (pixels.Dimensions != 4 || pixels.size(0) == 0 || !pixels.HasShape(pixels.size(0), channels, height, width))
            throw new PermafrostException($"pixel_values is {pixels.Describe()}; it must be (B, channels, height, width) = (B, {channels}, {height}, {width})");
    }

    /// <summary>
    /// The loss of a class for each sequence, as <c>problem_type</c> says, and where it says nothing, as Hugging Face guesses: the squared error for one class, the cross entropy
    /// for whole numbers, the binary cross entropy for others. Null where <c>labels</c> are not given.
    /// </summary>
    /// <param name="given">The inputs.</param>
    /// <param name="logits">(B, classes).</param>
    /// <param name="config">The configuration.</param>
    /// <exception cref="PermafrostException">The labels are of another shape or out of range, or the problem type is not known.</exception>
    public static Tensor? ClassLoss(IReadOnlyDictionary<string, Tensor> given, Tensor logits, HfConfig config)
    {
        if (!given.TryGetValue("labels", out Tensor? labels)) return null;
        (long B, long classes) = (logits.size(0), logits.size(1));
        bool whole = !labels.dtype.IsFloatingPoint();
        string problem = config.Text("problem_type", null) ?? (classes == 1 ? "regression" : whole ? "single_label_classification" : "multi_label_classification");
        bool single = problem == "single_label_classification";
        if (!single && problem is not ("regression" or "multi_label_classification"))
            throw new PermafrostException($"{config.Source}: problem_type is {problem}; there are regression, single_label_classification and multi_label_classification");
        if (labels.NumberOfElements != (single ? B : B * classes))
            throw new PermafrostException($"labels is {labels.Describe()}; it must be {(single || classes == 1 ? $"(B) = ({B})" : $"(B, classes) = ({B}, {classes})")}");
        if (!single)
        {
            Tensor numbers = labels.to(ScalarType.Float32).view(B, classes);
            return problem == "regression" ? torch.nn.functional.mse_loss(logits, numbers) : torch.nn.functional.binary_cross_entropy_with_logits(logits, numbers);
        }
        labels = whole ? labels.to(ScalarType.Int64).reshape(-1) : labels;
        CheckRange("labels", whole ? labels.masked_fill(labels.eq((-100).Hold()), 0.Hold()) : labels, (int)classes);
        return torch.nn.functional.cross_entropy(logits, labels);  // -100 does not count
    }

    /// <summary>Refuses ids that are not among so many rows.</summary>
    /// <exception cref="PermafrostException">One is not, or they are no whole numbers.</exception>
    public static void CheckRange(string name, Tensor? ids, int rows)
    {
        if (ids is null) return;
        if (ids.dtype.IsFloatingPoint()) throw new PermafrostException($"{name} is {ids.Describe()}; ids are whole numbers");
        (long low, long high) = (ids.min().Integer(), ids.max().Integer());
        if (low < 0 || high >= rows) throw new PermafrostException($"{name} holds {(low < 0 ? low : high)}; the model has 0 to {rows - 1}");
    }
}
