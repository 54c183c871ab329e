using Permafrost.Formats;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>LlamaModel or LlamaForCausalLM, and those of Mistral, Qwen2 and Qwen3, under Hugging Face's argument and output names.</summary>
public sealed class LlamaPretrained : DecoderPretrained
{
    private readonly LlamaModel model;
    private readonly Linear? untiedHead;

    /// <summary>A model without weights yet.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="head">Whether there is a language-model head.</param>
    public LlamaPretrained(HfConfig config, bool head)
    {
        HasHead = head;
        model = Declare(head ? "model" : "", new LlamaModel(config));
        if (head && !model.Settings.TiedHead) untiedHead = Declare("lm_head", LlamaModel.Map(model.Settings, model.Traits.Width, model.Settings.VocabSize, bias: false));
    }

    /// <inheritdoc/>
    public override Backbone Backbone => model;

    /// <inheritdoc/>
    public override string Prefix => HasHead ? "model." : "";

    /// <inheritdoc/>
    protected override bool HasHead { get; }

    /// <inheritdoc/>
    protected override string HeadName => "one whose name ends in ForCausalLM";

    private protected override ForwardInputs.Bounds Bounds => new(model.Traits.Width, model.Settings.VocabSize, model.Settings.Positions, TokenTypes: 1);

    /// <inheritdoc/>
    protected override Tensor Logits(Tensor hidden) => torch.nn.functional.linear(hidden, (untiedHead?.Weight ?? model.Tokens.Weight).Value);
}
