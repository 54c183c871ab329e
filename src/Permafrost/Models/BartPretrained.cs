using Permafrost.Formats;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>BartModel or BartForConditionalGeneration under Hugging Face's argument and output names.</summary>
public sealed class BartPretrained : EncoderDecoderPretrained
{
    private readonly BartModel model;
    private readonly Linear? untiedHead;
    private readonly Parameter? logitsBias;

    /// <summary>A model without weights yet.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="head">Whether there is a language-model head.</param>
    public BartPretrained(HfConfig config, bool head)
    {
        HasHead = head;
        model = Declare(head ? "model" : "", new BartModel(config));
        if (!head) return;
        logitsBias = DeclareBuffer("final_logits_bias", [1, model.Settings.VocabSize], Initializers.Zeros);
        if (!config.Flag("tie_word_embeddings", true))
            untiedHead = Declare("lm_head", new Linear(model.Traits.Width, model.Settings.VocabSize, bias: false, Initializers.Normal(model.Settings.InitializerRange)));
    }

    /// <inheritdoc/>
    public override string Prefix => HasHead ? "model." : "";

    /// <inheritdoc/>
    protected override bool HasHead { get; }

    /// <inheritdoc/>
    protected override string HeadName => "BartForConditionalGeneration";

    /// <inheritdoc/>
    protected override int? DefaultEnd => 2;

    /// <inheritdoc/>
    protected override int? DefaultForcedEnd => 2;

    /// <inheritdoc/>
    protected override EncoderDecoder Model => model;

    /// <inheritdoc/>
    protected override int? Positions => model.Settings.Positions;

    /// <inheritdoc/>
    protected override int PadId => model.Settings.PadId;

    /// <inheritdoc/>
    protected override Tensor Logits(Tensor hidden) => torch.nn.functional.linear(hidden, (untiedHead?.Weight ?? model.Tokens.Weight).Value, logitsBias!.Value.view(-1));
}
