using Permafrost.Formats;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>T5Model, T5EncoderModel or T5ForConditionalGeneration under Hugging Face's argument and output names.</summary>
public sealed class T5Pretrained : EncoderDecoderPretrained
{
    private readonly T5Model model;
    private readonly Linear? untiedHead;

    /// <summary>A model without weights yet.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="head">Whether there is a language-model head.</param>
    public T5Pretrained(HfConfig config, bool head)
    {
        HasHead = head;
        model = Declare("", new T5Model(config));
        if (head && !model.Settings.TiedHead)
            untiedHead = Declare("lm_head", new Linear(model.Traits.Width, model.Settings.VocabSize, bias: false, Initializers.Normal(model.Settings.InitializerFactor)));
    }

    /// <inheritdoc/>
    public override string Prefix => "";

    internal override LanguageHead? LanguageHead => HasHead ? Head.AsLanguageHead : null;

    private T5Head Head => new(model.Tokens, untiedHead, model.Traits.Width);

    /// <inheritdoc/>
    protected override bool HasHead { get; }

    /// <inheritdoc/>
    protected override string HeadName => "T5ForConditionalGeneration";

    /// <inheritdoc/>
    protected override int? DefaultEnd => 1;

    /// <inheritdoc/>
    protected override EncoderDecoder Model => model;

    /// <inheritdoc/>
    protected override int? Positions => null;

    /// <inheritdoc/>
    protected override int PadId => model.Settings.PadId;

    /// <inheritdoc/>
    protected override Tensor Logits(Tensor hidden) => Head.Logits(hidden);
}
