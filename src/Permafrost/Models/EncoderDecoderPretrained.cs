using Permafrost.Formats;
using Permafrost.Kernels;

namespace Permafrost.Models;

/// <summary>An encoder-decoder under Hugging Face's argument and output names, with or without a language-model head.</summary>
public abstract class EncoderDecoderPretrained : PretrainedModel
{
    /// <summary>Whether there is a language-model head.</summary>
    protected abstract bool HasHead { get; }

    /// <summary>The model without its head.</summary>
    protected abstract EncoderDecoder Model { get; }

    /// <summary>The longest sequence on either side; null for any.</summary>
    protected abstract int? Positions { get; }

    /// <summary>The id of padding, which stands for -100 where labels become decoder inputs.</summary>
    protected abstract int PadId { get; }

    /// <inheritdoc/>
    public sealed override Backbone Backbone => Model;

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> InputNames => !Model.Traits.EncoderDecoder
        ? ["input_ids", "attention_mask", "inputs_embeds", "loss_weight"]
        : ["input_ids", "attention_mask", "inputs_embeds", "decoder_input_ids", "decoder_attention_mask", "decoder_inputs_embeds", HasHead ? "labels" : "loss_weight"];

    /// <summary>The logits (B, S, V) of the decoder's states.</summary>
    protected abstract Tensor Logits(Tensor hidden);

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, Tensor> Forward(IReadOnlyDictionary<string, Tensor> inputs)
    {
        BackboneTraits traits = Model.Traits;
        inputs = SequenceInputs.Check(inputs, new SequenceInputs.Bounds(traits.Width, traits.Vocabulary!.Value, Positions), Model.Config.ModelType, traits.EncoderDecoder);
        Tensor? labels = inputs.GetValueOrDefault("labels");
        Tensor? decoderIds = inputs.GetValueOrDefault("decoder_input_ids");
        if (decoderIds is null && !inputs.ContainsKey("decoder_inputs_embeds") && labels is not null) decoderIds = ShiftRight(labels);

        Tensor vectors = Embedded(inputs, "inputs_embeds", inputs.GetValueOrDefault("input_ids"));
        bool decodes = traits.EncoderDecoder;
        if (decodes && decoderIds is null && !inputs.ContainsKey("decoder_inputs_embeds"))
            throw new PermafrostException(
                $"neither decoder_input_ids nor decoder_inputs_embeds{(HasHead ? " nor labels" : "")} is among the inputs; " +
                $"{Model.Config.ModelType} has a decoder, which reads one of them");
        ModelOutputs output = Model.Forward(new ModelInputs(
            InputsEmbeds: vectors, AttentionMask: inputs.GetValueOrDefault("attention_mask"), OutputHiddenStates: true, OutputAttentions: true)
        {
            DecoderInputsEmbeds = decodes ? Embedded(inputs, "decoder_inputs_embeds", decoderIds) : null,
            DecoderAttentionMask = inputs.GetValueOrDefault("decoder_attention_mask"),
        });

        var outputs = new Dictionary<string, Tensor>();
        if (output.Encoder is not { } encoder)
        {
            AddStates(outputs, output);
        }
        else
        {
            outputs["encoder_last_hidden_state"] = encoder.LastHiddenState;
            AddStates(outputs, encoder, "encoder_");
            AddStates(outputs, output, "decoder_");
            AddNumbered(outputs, "cross_attentions", output.CrossAttentions);
        }
        if (!HasHead)
        {
            outputs["last_hidden_state"] = output.LastHiddenState;
            if (ForwardInputs.WeightedLoss(inputs, output.LastHiddenState) is { } weighted) outputs["loss"] = weighted;
            return outputs;
        }
        Tensor logits = Logits(output.LastHiddenState);
        outputs["logits"] = logits;
        if (ForwardInputs.TokenLoss(inputs, logits) is { } loss) outputs["loss"] = loss;
        return outputs;
    }

    /// <inheritdoc/>
    protected override GenerationOptions Greedy(int newTokens)
    {
        HfConfig config = Model.Config;
        int? Id(string key, int? fallback) => config.Holds(key) ? config.OptionalInt(key, 0) : fallback;
        return new()
        {
            MaxNewTokens = newTokens,
            PadId = PadId,
            EndId = !config.Holds("eos_token_id") ? DefaultEnd : config.TokenIds("eos_token_id") is [var end, ..] ? end : null,
            ForcedStartId = Id("forced_bos_token_id", null),
            ForcedEndId = Id("forced_eos_token_id", DefaultForcedEnd),
        };
    }

    /// <inheritdoc/>
    public override Tensor Generate(IReadOnlyDictionary<string, Tensor> inputs, GenerationOptions options)
    {
        BackboneTraits traits = Model.Traits;
        if (!HasHead) throw new PermafrostException($"{Model.Config.Source} names no language-model head, so it cannot generate; its architectures would be {HeadName}");
        options.Check(traits.Vocabulary!.Value);
        foreach (string ignored in new[] { "decoder_inputs_embeds", "decoder_attention_mask" })
            if (inputs.ContainsKey(ignored))
                throw new PermafrostException($"{ignored} is among the inputs; generating starts from decoder_input_ids or the decoder's start token alone");
        inputs = inputs.Where(pair => pair.Key != "labels").ToDictionary();
        inputs = SequenceInputs.Check(inputs, new SequenceInputs.Bounds(traits.Width, traits.Vocabulary.Value, Positions), Model.Config.ModelType, decodes: true);
        using var noGrad = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        Tensor vectors = Embedded(inputs, "inputs_embeds", inputs.GetValueOrDefault("input_ids"));
        Tensor? mask = inputs.GetValueOrDefault("attention_mask");
        Tensor start = inputs.GetValueOrDefault("decoder_input_ids")
            ?? torch.full([vectors.size(0), 1], traits.DecoderStart!.Value.Hold(), ScalarType.Int64, vectors.device);
        if (start.size(1) + (long)options.MaxNewTokens > Positions)
            throw new PermafrostException($"{start.size(1)} tokens and {options.MaxNewTokens} new ones do not fit the decoder's {Positions} positions");
        Tensor encoded = Model.Encode(new ModelInputs(InputsEmbeds: vectors, AttentionMask: mask)).LastHiddenState;
        if (options.Beams > 1) (encoded, mask) = (encoded.repeat_interleave(options.Beams, 0), mask?.repeat_interleave(options.Beams, 0));
        return scope.MoveToOuter(TokenGenerator.Run(start, null, (ids, _, cache) =>
        {
            Tensor hidden = Model.Decode(new ModelInputs(AttentionMask: mask) { DecoderInputIds = ids, Cache = cache }, encoded).LastHiddenState;
            return Logits(hidden.select(1, hidden.size(1) - 1));
        }, options));
    }

    /// <summary>The end of a text where the configuration has no <c>eos_token_id</c>.</summary>
    protected abstract int? DefaultEnd { get; }

    /// <summary>The last token at the greatest length, where the configuration has no <c>forced_eos_token_id</c>; null for none.</summary>
    protected virtual int? DefaultForcedEnd => null;

    /// <summary>The class that has the head, for errors.</summary>
    protected abstract string HeadName { get; }

    /// <summary>The decoder's inputs for labels: one place later, behind the token that a decoder starts from; padding where the label is -100.</summary>
    /// <param name="labels">(B, S) int64.</param>
    protected Tensor ShiftRight(Tensor labels)
    {
        Tensor start = torch.full([labels.size(0), 1], Model.Traits.DecoderStart!.Value.Hold(), ScalarType.Int64, labels.device);
        Tensor shifted = torch.cat([start, labels.narrow(1, 0, labels.size(1) - 1)], 1);
        return shifted.masked_fill(shifted.eq((-100).Hold()), PadId.Hold());
    }

    private Tensor Embedded(IReadOnlyDictionary<string, Tensor> inputs, string name, Tensor? ids)
    {
        Tensor vectors = inputs.TryGetValue(name, out Tensor? given) ? given.to(ScalarType.Float32) : Model.EmbedTokens(ids!);
        RememberInputs(vectors, name);
        return vectors;
    }
}
