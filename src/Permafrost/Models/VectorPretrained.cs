
namespace Permafrost.Models;

/// <summary>
/// A backbone that takes vectors only, called by itself: <c>inputs_embeds</c> in, hidden states out. There is no such class in Hugging Face's library; the names are its.
/// </summary>
public sealed class VectorPretrained : PretrainedModel
{
    private readonly Backbone model;

    /// <summary>The model, without weights yet.</summary>
    /// <param name="model">The backbone; owned from now on.</param>
    public VectorPretrained(Backbone model) => this.model = Declare("", model);

    /// <inheritdoc/>
    public override Backbone Backbone => model;

    /// <inheritdoc/>
    public override string Prefix => "";

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> InputNames =>
        ["inputs_embeds", "attention_mask", .. model.Traits.LongestInput is null ? [] : new[] { "position_ids" }, "loss_weight"];

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, Tensor> Forward(IReadOnlyDictionary<string, Tensor> inputs)
    {
        string modelType = model.Config.ModelType;
        if (!inputs.ContainsKey("inputs_embeds")) throw new PermafrostException($"inputs_embeds is not among the inputs; {modelType} has no token table, so it takes vectors only");
        inputs = ForwardInputs.Check(inputs, new ForwardInputs.Bounds(model.Traits.Width, 0, model.Traits.LongestInput ?? int.MaxValue, 0), modelType);
        Tensor vectors = inputs["inputs_embeds"].to(ScalarType.Float32);
        RememberInputs(vectors);
        ModelOutputs output = model.Forward(new ModelInputs(
            InputsEmbeds: vectors, AttentionMask: inputs.GetValueOrDefault("attention_mask"), PositionIds: inputs.GetValueOrDefault("position_ids"),
            OutputHiddenStates: true, OutputAttentions: true));
        var outputs = new Dictionary<string, Tensor> { ["last_hidden_state"] = output.LastHiddenState };
        AddStates(outputs, output);
        if (ForwardInputs.WeightedLoss(inputs, output.LastHiddenState) is { } loss) outputs["loss"] = loss;
        return outputs;
    }
}
