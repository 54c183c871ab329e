using Permafrost.Formats;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>RobertaLMHead: a map, GELU whatever the layers' activation is, a norm, then the token table turned round.</summary>
internal sealed class RobertaPredictions : Module
{
    private readonly Linear dense;
    private readonly LayerNorm norm;
    private readonly Parameter bias;
    private readonly Linear? decoder;
    private readonly Activation gelu;

    public RobertaPredictions(BertConfig config, HfConfig hfConfig)
    {
        gelu = Activations.Find("gelu", hfConfig.Source);
        dense = Declare("dense", BertEncoder.Map(config, config.Width, config.Width));
        norm = Declare("layer_norm", new LayerNorm(config.Width, config.Epsilon));
        bias = Declare("bias", [config.VocabSize], Initializers.Zeros);
        if (!hfConfig.Flag("tie_word_embeddings", true))
            decoder = Declare("decoder", new Linear(config.Width, config.VocabSize, bias: false, Initializers.Normal(config.InitializerRange)));
    }

    public Tensor Forward(Tensor hidden, Embedding tokens) =>
        torch.nn.functional.linear(norm.Forward(dense.Forward(hidden, gelu)), (decoder?.Weight ?? tokens.Weight).Value, bias.Value);
}

/// <summary>RobertaModel or RobertaForMaskedLM under Hugging Face's argument and output names.</summary>
public sealed class RobertaPretrained : BertEncoderPretrained
{
    private readonly RobertaModel model;
    private readonly BertPooler? pooler;
    private readonly RobertaPredictions? predictions;

    /// <summary>A model without weights yet.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="head">Whether there is a head that predicts masked tokens; RobertaModel has a pooler in its place.</param>
    /// <exception cref="PermafrostException">The configuration holds a value that cannot be.</exception>
    public RobertaPretrained(HfConfig config, bool head)
    {
        model = Declare(head ? "roberta" : "", new RobertaModel(config));
        if (head) predictions = Declare("lm_head", new RobertaPredictions(model.Settings, config));
        else pooler = Declare("pooler", new BertPooler(model.Settings));
    }

    private protected override BertEncoder Encoder => model;

    /// <inheritdoc/>
    public override string Prefix => predictions is null ? "" : "roberta.";

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> InputNames =>
        ["input_ids", "attention_mask", "position_ids", "token_type_ids", "inputs_embeds", predictions is null ? "loss_weight" : "labels"];

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, Tensor> Forward(IReadOnlyDictionary<string, Tensor> inputs)
    {
        (inputs, Dictionary<string, Tensor> outputs) = Encode(inputs);
        Tensor hidden = outputs["last_hidden_state"];
        if (predictions is null)
        {
            outputs["pooler_output"] = pooler!.Forward(hidden);
            if (ForwardInputs.WeightedLoss(inputs, hidden, outputs["pooler_output"]) is { } weighted) outputs["loss"] = weighted;
            return outputs;
        }
        outputs["logits"] = predictions.Forward(hidden, model.Tokens);
        if (ForwardInputs.TokenLoss(inputs, outputs["logits"]) is { } loss) outputs["loss"] = loss;
        return outputs;
    }
}
