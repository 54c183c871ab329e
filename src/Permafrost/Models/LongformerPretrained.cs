using Permafrost.Formats;
using Permafrost.Kernels;

namespace Permafrost.Models;

/// <summary>LongformerModel or LongformerForMaskedLM under Hugging Face's argument and output names.</summary>
public sealed class LongformerPretrained : PretrainedModel
{
    private readonly LongformerModel model;
    private readonly BertPooler? pooler;
    private readonly RobertaPredictions? predictions;

    /// <summary>A model without weights yet.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="head">Whether masked tokens are predicted; without, there is a pooler.</param>
    public LongformerPretrained(HfConfig config, bool head)
    {
        model = Declare(head ? "longformer" : "", new LongformerModel(config));
        BertConfig settings = model.Settings.Encoder;
        if (head) predictions = Declare("lm_head", new RobertaPredictions(settings, config));
        else pooler = Declare("pooler", new BertPooler(settings));
    }

    /// <inheritdoc/>
    public override Backbone Backbone => model;

    /// <inheritdoc/>
    public override string Prefix => predictions is null ? "" : "longformer.";

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> InputNames =>
        ["input_ids", "attention_mask", "global_attention_mask", "position_ids", "token_type_ids", "inputs_embeds", predictions is null ? "loss_weight" : "labels"];

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, Tensor> Forward(IReadOnlyDictionary<string, Tensor> inputs)
    {
        BertConfig settings = model.Settings.Encoder;
        inputs = ForwardInputs.Check(inputs, new ForwardInputs.Bounds(settings.Width, settings.VocabSize, settings.Positions, settings.TokenTypes), "longformer");
        Tensor? ids = inputs.GetValueOrDefault("input_ids");
        Tensor vectors = ids is null ? inputs["inputs_embeds"].to(ScalarType.Float32) : model.EmbedTokens(ids);
        RememberInputs(vectors);
        (Tensor? tokens, Tensor? global) = Masks(inputs);
        ModelOutputs output = model.Forward(new ModelInputs(
            InputsEmbeds: vectors, AttentionMask: tokens, PositionIds: inputs.GetValueOrDefault("position_ids") ?? (ids is null ? null : model.PositionsOf(ids)),
            TokenTypeIds: inputs.GetValueOrDefault("token_type_ids"), OutputHiddenStates: true, OutputAttentions: true)
        { GlobalAttentionMask = global });

        Tensor hidden = output.LastHiddenState;
        var outputs = new Dictionary<string, Tensor>();
        AddStates(outputs, output);
        AddNumbered(outputs, "global_attentions", output.GlobalAttentions);
        outputs["last_hidden_state"] = hidden;
        if (pooler is not null)
        {
            outputs["pooler_output"] = pooler.Forward(hidden);
            if (ForwardInputs.WeightedLoss(inputs, hidden, outputs["pooler_output"]) is { } weighted) outputs["loss"] = weighted;
        }
        if (predictions is not null)
        {
            outputs["logits"] = predictions.Forward(hidden, model.Tokens);
            if (ForwardInputs.TokenLoss(inputs, outputs["logits"]) is { } loss) outputs["loss"] = loss;
        }
        return outputs;
    }

    // Hugging Face multiplies attention_mask by 1 + global_attention_mask: below 1 is padding, above 1 is a global token; so 2 in attention_mask alone is one too.
    private static (Tensor? Tokens, Tensor? Global) Masks(IReadOnlyDictionary<string, Tensor> inputs)
    {
        Tensor? tokens = inputs.GetValueOrDefault("attention_mask")?.to(ScalarType.Float32), global = inputs.GetValueOrDefault("global_attention_mask")?.to(ScalarType.Float32);
        if (tokens is null && global is null) return (null, null);
        Tensor merged = global is null ? tokens! : tokens is null ? global.Plus(1) : tokens * global.Plus(1);
        return (tokens is null ? null : merged.ge(1.Hold()), merged.gt(1.Hold()));
    }
}
