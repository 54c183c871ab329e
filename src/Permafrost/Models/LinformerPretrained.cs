using Permafrost.Formats;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>
/// LinformerLM under Hugging Face's argument and output names. Upstream has no loss; here, as in the paper, each token's logits are for its own label (masked tokens), and -100
/// does not count.
/// </summary>
public sealed class LinformerPretrained : PretrainedModel
{
    private readonly LinformerModel model;
    private readonly Linear logits;

    /// <summary>A model without weights yet.</summary>
    public LinformerPretrained(HfConfig config)
    {
        model = Declare("", new LinformerModel(config));
        logits = Declare("to_logits", new Linear(model.Settings.Width, model.Settings.VocabSize));
    }

    /// <inheritdoc/>
    public override Backbone Backbone => model;

    /// <inheritdoc/>
    public override string Prefix => "";

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> InputNames => ["input_ids", "attention_mask", "position_ids", "inputs_embeds", "labels"];

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, Tensor> Forward(IReadOnlyDictionary<string, Tensor> inputs)
    {
        LinformerConfig settings = model.Settings;
        inputs = ForwardInputs.Check(inputs, new ForwardInputs.Bounds(settings.Width, settings.VocabSize, settings.Positions, TokenTypes: 1), "linformer");
        Tensor vectors = inputs.TryGetValue("inputs_embeds", out Tensor? embedded) ? embedded.to(ScalarType.Float32) : model.EmbedTokens(inputs["input_ids"]);
        RememberInputs(vectors);
        ModelOutputs output = model.Forward(new ModelInputs(
            InputsEmbeds: vectors, AttentionMask: inputs.GetValueOrDefault("attention_mask"), PositionIds: inputs.GetValueOrDefault("position_ids"),
            OutputHiddenStates: true, OutputAttentions: true));
        var outputs = new Dictionary<string, Tensor>();
        AddStates(outputs, output);
        outputs["last_hidden_state"] = output.LastHiddenState;
        Tensor predicted = outputs["logits"] = logits.Forward(output.LastHiddenState);
        if (ForwardInputs.TokenLoss(inputs, predicted) is { } loss) outputs["loss"] = loss;
        return outputs;
    }
}
