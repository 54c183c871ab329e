using Permafrost.Formats;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>DistilBertModel or DistilBertForMaskedLM under Hugging Face's argument and output names.</summary>
public sealed class DistilBertPretrained : BertEncoderPretrained
{
    private readonly DistilBertModel model;
    private readonly Linear? transform;
    private readonly LayerNorm? norm;
    private readonly DistilBertProjector? projector;

    /// <summary>A model without weights yet.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="head">Whether there is a head that predicts masked tokens.</param>
    /// <exception cref="PermafrostException">The configuration holds a value that cannot be.</exception>
    public DistilBertPretrained(HfConfig config, bool head)
    {
        model = Declare(head ? "distilbert" : "", new DistilBertModel(config));
        if (!head) return;
        BertConfig settings = model.Settings;
        transform = Declare("vocab_transform", BertEncoder.Map(settings, settings.Width, settings.Width));
        norm = Declare("vocab_layer_norm", new LayerNorm(settings.Width, settings.Epsilon));
        projector = Declare("vocab_projector", new DistilBertProjector(settings, config.Flag("tie_word_embeddings", true)));
    }

    private protected override BertEncoder Encoder => model;

    /// <inheritdoc/>
    public override string Prefix => projector is null ? "" : "distilbert.";

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> InputNames =>
        ["input_ids", "attention_mask", "position_ids", "inputs_embeds", projector is null ? "loss_weight" : "labels"];

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, Tensor> Forward(IReadOnlyDictionary<string, Tensor> inputs)
    {
        (inputs, Dictionary<string, Tensor> outputs) = Encode(inputs);
        if (projector is null)
        {
            if (ForwardInputs.WeightedLoss(inputs, outputs["last_hidden_state"]) is { } weighted) outputs["loss"] = weighted;
            return outputs;
        }
        Tensor hidden = norm!.Forward(transform!.Forward(outputs["last_hidden_state"], model.Settings.Activation));
        outputs["logits"] = projector.Forward(hidden, model.Tokens);
        if (ForwardInputs.TokenLoss(inputs, outputs["logits"]) is { } loss) outputs["loss"] = loss;
        return outputs;
    }
}

/// <summary>vocab_projector: the token table turned round where it is tied, and a bias of its own.</summary>
internal sealed class DistilBertProjector : Module
{
    private readonly Parameter bias;
    private readonly Parameter? weight;

    public DistilBertProjector(BertConfig config, bool tied)
    {
        if (!tied) weight = Declare("weight", [config.VocabSize, config.Width], Initializers.Normal(config.InitializerRange));
        bias = Declare("bias", [config.VocabSize], Initializers.Zeros);
    }

    public Tensor Forward(Tensor hidden, Embedding tokens) => torch.nn.functional.linear(hidden, (weight ?? tokens.Weight).Value, bias.Value);
}
