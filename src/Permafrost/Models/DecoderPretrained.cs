using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>A decoder under Hugging Face's argument and output names, which can tell what comes next.</summary>
public abstract class DecoderPretrained : PretrainedModel
{
    /// <summary>Whether there is a language-model head.</summary>
    protected abstract bool HasHead { get; }

    /// <summary>The class that has the head, for errors.</summary>
    protected abstract string HeadName { get; }

    /// <summary>Whether tokens may have types, whose vectors are the token table's too.</summary>
    protected virtual bool TakesTypes => false;

    /// <summary>What ids and positions may be.</summary>
    private protected abstract ForwardInputs.Bounds Bounds { get; }

    /// <summary>The logits (..., V) of hidden states (..., C).</summary>
    protected abstract Tensor Logits(Tensor hidden);

    /// <inheritdoc/>
    public sealed override IReadOnlyCollection<string> InputNames =>
        ["input_ids", "attention_mask", "position_ids", .. TakesTypes ? ["token_type_ids"] : Array.Empty<string>(), "inputs_embeds", HasHead ? "labels" : "loss_weight"];

    /// <inheritdoc/>
    public sealed override IReadOnlyDictionary<string, Tensor> Forward(IReadOnlyDictionary<string, Tensor> inputs)
    {
        inputs = ForwardInputs.Check(inputs, Bounds, Backbone.Config.ModelType);
        Tensor vectors = inputs.TryGetValue("inputs_embeds", out Tensor? embedded) ? embedded.to(ScalarType.Float32) : Backbone.EmbedTokens(inputs["input_ids"]);
        RememberInputs(vectors);
        ModelOutputs output = Backbone.Forward(new ModelInputs(
            InputsEmbeds: WithTypes(vectors, inputs.GetValueOrDefault("token_type_ids")), AttentionMask: inputs.GetValueOrDefault("attention_mask"),
            PositionIds: inputs.GetValueOrDefault("position_ids"), OutputHiddenStates: true, OutputAttentions: true));

        var outputs = new Dictionary<string, Tensor>();
        AddStates(outputs, output);
        outputs["last_hidden_state"] = output.LastHiddenState;
        if (!HasHead)
        {
            if (ForwardInputs.WeightedLoss(inputs, output.LastHiddenState) is { } loss) outputs["loss"] = loss;
            return outputs;
        }
        Tensor logits = Logits(output.LastHiddenState);
        outputs["logits"] = logits;
        if (inputs.TryGetValue("labels", out Tensor? labels))
        {
            (long T, long V) = (logits.size(1), logits.size(2));
            if (T < 2) throw new PermafrostException("labels need at least two tokens: each is predicted from those before it");
            // Token t predicts label t + 1; -100 does not count.
            outputs["loss"] = torch.nn.functional.cross_entropy(logits.narrow(1, 0, T - 1).reshape(-1, V), labels.narrow(1, 1, T - 1).reshape(-1));
        }
        return outputs;
    }

    /// <inheritdoc/>
    public sealed override Tensor Generate(IReadOnlyDictionary<string, Tensor> inputs, GenerationOptions options)
    {
        if (!HasHead) throw new PermafrostException($"{Backbone.Config.Source} names no language-model head, so it cannot generate; its architectures would be {HeadName}");
        if (!inputs.ContainsKey("input_ids")) throw new PermafrostException("input_ids is not among the inputs; generating starts from it");
        inputs = ForwardInputs.Check(inputs, Bounds, Backbone.Config.ModelType);
        Tensor prompt = inputs["input_ids"];
        options.Check(Bounds.Vocabulary);
        if (prompt.size(1) + (long)options.MaxNewTokens > Backbone.Traits.LongestInput)
            throw new PermafrostException($"{prompt.size(1)} tokens and {options.MaxNewTokens} new ones do not fit the backbone's {Backbone.Traits.LongestInput} positions");
        Tensor? mask = inputs.GetValueOrDefault("attention_mask"), types = inputs.GetValueOrDefault("token_type_ids")?.expand(prompt.shape);
        if (mask is not null && !mask.ne(0.Hold()).to(ScalarType.Int64).ValuesEqual(mask.eq(1.Hold()).to(ScalarType.Int64)))
            throw new PermafrostException("attention_mask holds other numbers than 1 for tokens and 0 for padding, and tokens cannot be generated behind half a token");
        if (mask is not null && mask.select(1, mask.size(1) - 1).eq(0.Hold()).any().Integer() != 0)
            throw new PermafrostException("attention_mask ends in padding, and what comes next follows the last token: pad prompts on the left");
        if (options.Beams > 1) types = types?.repeat_interleave(options.Beams, 0);
        return TokenGenerator.Run(prompt, mask, (ids, seen, cache) => NextLogits(ids, types, seen, cache), options);
    }

    /// <summary>
    /// The logits (B, V) behind the last of some new tokens, at the cost of those tokens alone. Whoever calls adds their number to <see cref="KeyValueCache.Length"/>.
    /// </summary>
    /// <param name="ids">(B, T) int64: the tokens behind those in the cache.</param>
    /// <param name="types">(B, prompt) int64: the types of the first tokens, of which the last goes on; null where none were given.</param>
    /// <param name="mask">(B, tokens so far) int64, 1 for tokens and 0 for padding; null when nothing is padded.</param>
    /// <param name="cache">Keys and values of the tokens before; the new ones' are added.</param>
    internal Tensor NextLogits(Tensor ids, Tensor? types, Tensor? mask, KeyValueCache cache)
    {
        using var noGrad = torch.no_grad();
        using DisposeScope scope = torch.NewDisposeScope();
        Tensor? newTypes = types is null || cache.Length == 0 ? types : types.narrow(1, types.size(1) - 1, 1);
        // Positions count tokens, not padding, as Hugging Face's generate does.
        Tensor positions = mask is null
            ? Scalars.Range(cache.Length, ids.size(1), ids.device).expand(ids.shape)
            : mask.cumsum(1).Plus(-1).masked_fill(mask.eq(0.Hold()), 1.Hold()).narrow(1, cache.Length, ids.size(1));
        Tensor vectors = WithTypes(Backbone.EmbedTokens(ids), newTypes);
        Tensor hidden = Backbone.Forward(new ModelInputs(InputsEmbeds: vectors, AttentionMask: mask, PositionIds: positions) { Cache = cache }).LastHiddenState;
        return scope.MoveToOuter(Logits(hidden.select(1, hidden.size(1) - 1)));
    }

    private Tensor WithTypes(Tensor vectors, Tensor? types) => types is null ? vectors : vectors.Plus(Backbone.EmbedTokens(types));
}
