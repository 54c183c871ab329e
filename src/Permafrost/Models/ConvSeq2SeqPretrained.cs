using Permafrost.Formats;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>A convolutional encoder-decoder, with or without a language-model head, under the argument and output names of Hugging Face's T5.</summary>
internal sealed class ConvSeq2SeqPretrained : EncoderDecoderPretrained
{
    private readonly ConvSeq2SeqModel model;
    private readonly Linear? untiedHead;

    /// <summary>A model without weights yet.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="head">Whether there is a language-model head.</param>
    public ConvSeq2SeqPretrained(HfConfig config, bool head)
    {
        HasHead = head;
        model = Declare("", new ConvSeq2SeqModel(config));
        T5Config trunk = model.Settings.Trunk;
        if (head && !trunk.TiedHead) untiedHead = Declare("lm_head", new Linear(trunk.Width, trunk.VocabSize, bias: false, Initializers.Normal(trunk.InitializerFactor)));
    }

    /// <inheritdoc/>
    public override string Prefix => "";

    internal override LanguageHead? LanguageHead => HasHead ? Head.AsLanguageHead : null;

    private T5Head Head => new(model.Tokens, untiedHead, model.Traits.Width);

    /// <inheritdoc/>
    protected override bool HasHead { get; }

    /// <inheritdoc/>
    protected override string HeadName => "ConvSeq2SeqForConditionalGeneration";

    /// <inheritdoc/>
    protected override int? DefaultEnd => 1;

    /// <inheritdoc/>
    protected override EncoderDecoder Model => model;

    /// <inheritdoc/>
    protected override int? Positions => model.Settings.Positions;

    /// <inheritdoc/>
    protected override int PadId => model.Settings.Trunk.PadId;

    /// <inheritdoc/>
    protected override Tensor Logits(Tensor hidden) => Head.Logits(hidden);
}
