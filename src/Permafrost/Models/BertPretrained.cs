using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>BertPooler: the first token's state through a map and tanh, for <c>pooler_output</c>.</summary>
internal sealed class BertPooler : Module
{
    private readonly Linear dense;

    public BertPooler(BertConfig config) => dense = Declare("dense", BertEncoder.Map(config, config.Width, config.Width));

    public Tensor Forward(Tensor hidden) => dense.Forward(hidden.select(1, 0)).tanh();
}

/// <summary>BertLMPredictionHead: a map, activation and norm, then the token table turned round.</summary>
internal sealed class BertPredictions : Module
{
    private readonly BertConfig config;
    private readonly Linear dense;
    private readonly LayerNorm norm;
    private readonly Parameter bias;
    private readonly Linear? decoder;

    public BertPredictions(BertConfig config, bool tied)
    {
        this.config = config;
        dense = Declare("transform.dense", BertEncoder.Map(config, config.Width, config.Width));
        norm = Declare("transform.LayerNorm", new LayerNorm(config.Width, config.Epsilon));
        bias = Declare("bias", [config.VocabSize], Initializers.Zeros);
        if (!tied) decoder = Declare("decoder", new Linear(config.Width, config.VocabSize, bias: false, Initializers.Normal(config.InitializerRange)));
    }

    public Tensor Forward(Tensor hidden, Embedding tokens) =>
        torch.nn.functional.linear(norm.Forward(dense.Forward(hidden, config.Activation)), (decoder?.Weight ?? tokens.Weight).Value, bias.Value);

    public LanguageHead Head(Embedding tokens) => new(decoder?.Weight ?? tokens.Weight, bias, hidden => norm.Forward(dense.Forward(hidden, config.Activation)));
}

/// <summary>What the classes of BERT and its relatives share: inputs, states and losses under Hugging Face's names.</summary>
public abstract class BertEncoderPretrained : PretrainedModel
{
    private protected BertEncoderPretrained() { }

    /// <summary>The model without its head.</summary>
    private protected abstract BertEncoder Encoder { get; }

    /// <inheritdoc/>
    public override Backbone Backbone => Encoder;

    /// <summary>The inputs, checked, and what the encoder makes of them: its states and attention probabilities.</summary>
    private protected (IReadOnlyDictionary<string, Tensor> Inputs, Dictionary<string, Tensor> Outputs) Encode(IReadOnlyDictionary<string, Tensor> given)
    {
        BertConfig settings = Encoder.Settings;
        var bounds = new ForwardInputs.Bounds(settings.Width, settings.VocabSize, settings.Positions, settings.TokenTypes);
        Dictionary<string, Tensor> inputs = ForwardInputs.Check(given, bounds, Encoder.Config.ModelType);
        Tensor? ids = inputs.GetValueOrDefault("input_ids");
        Tensor vectors = ids is null ? inputs["inputs_embeds"].to(ScalarType.Float32) : Encoder.EmbedTokens(ids);
        RememberInputs(vectors);
        Tensor? positions = inputs.GetValueOrDefault("position_ids") ?? (ids is null ? null : Encoder.PositionsOf(ids));
        ModelOutputs output = Encoder.Forward(new ModelInputs(
            InputsEmbeds: vectors, AttentionMask: inputs.GetValueOrDefault("attention_mask"), PositionIds: positions,
            TokenTypeIds: inputs.GetValueOrDefault("token_type_ids"), OutputHiddenStates: true, OutputAttentions: true));
        var outputs = new Dictionary<string, Tensor>();
        AddStates(outputs, output);
        outputs["last_hidden_state"] = output.LastHiddenState;
        return (inputs, outputs);
    }
}

/// <summary>The heads of BERT's classes.</summary>
public enum BertHead
{
    /// <summary>BertModel: no head.</summary>
    None,
    /// <summary>BertForMaskedLM.</summary>
    MaskedTokens,
    /// <summary>BertForPreTraining: masked tokens, and whether the second segment follows the first.</summary>
    Pretraining,
}

/// <summary>BertModel, BertForMaskedLM or BertForPreTraining under Hugging Face's argument and output names.</summary>
public sealed class BertPretrained : BertEncoderPretrained
{
    private readonly BertHead head;
    private readonly BertModel model;
    private readonly BertPooler? pooler;
    private readonly BertPredictions? predictions;
    private readonly Linear? relationship;

    /// <summary>A model without weights yet.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="head">The class's head.</param>
    public BertPretrained(HfConfig config, BertHead head)
    {
        this.head = head;
        model = Declare(head == BertHead.None ? "" : "bert", new BertModel(config));
        BertConfig settings = model.Settings;
        if (head != BertHead.MaskedTokens) pooler = Declare($"{Prefix}pooler", new BertPooler(settings));
        if (head != BertHead.None) predictions = Declare("cls.predictions", new BertPredictions(settings, config.Flag("tie_word_embeddings", true)));
        if (head == BertHead.Pretraining) relationship = Declare("cls.seq_relationship", BertEncoder.Map(settings, settings.Width, 2));
    }

    private protected override BertEncoder Encoder => model;

    /// <inheritdoc/>
    public override string Prefix => head == BertHead.None ? "" : "bert.";

    internal override LanguageHead? LanguageHead => predictions?.Head(model.Tokens);

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> InputNames =>
    [
        "input_ids", "attention_mask", "position_ids", "token_type_ids", "inputs_embeds",
        .. head switch { BertHead.None => ["loss_weight"], BertHead.MaskedTokens => ["labels"], _ => new[] { "labels", "next_sentence_label" } },
    ];

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, Tensor> Forward(IReadOnlyDictionary<string, Tensor> inputs)
    {
        (inputs, Dictionary<string, Tensor> outputs) = Encode(inputs);
        if (pooler is not null) outputs["pooler_output"] = pooler.Forward(outputs["last_hidden_state"]);
        if (head == BertHead.None && ForwardInputs.WeightedLoss(inputs, outputs["last_hidden_state"], outputs["pooler_output"]) is { } loss) outputs["loss"] = loss;
        if (predictions is not null) Predict(inputs, outputs);
        return outputs;
    }

    private void Predict(IReadOnlyDictionary<string, Tensor> inputs, Dictionary<string, Tensor> outputs)
    {
        Tensor logits = predictions!.Forward(outputs["last_hidden_state"], model.Tokens);
        outputs[head == BertHead.MaskedTokens ? "logits" : "prediction_logits"] = logits;
        Tensor? loss = ForwardInputs.TokenLoss(inputs, logits);
        if (relationship is not null)
        {
            Tensor related = relationship.Forward(outputs["pooler_output"]);
            outputs["seq_relationship_logits"] = related;
            Tensor? next = inputs.GetValueOrDefault("next_sentence_label");
            // As Hugging Face: a loss only where both answers are given.
            loss = loss is null || next is null ? null : loss.Plus(torch.nn.functional.cross_entropy(related, next.reshape(-1)));
        }
        if (loss is not null) outputs["loss"] = loss;
    }
}
