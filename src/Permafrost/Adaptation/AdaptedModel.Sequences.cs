using Permafrost.Adaptation.Heads;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;
using Permafrost.Tasks;

namespace Permafrost.Adaptation;

/// <content>Answers that are sequences: a decoder reads them through a table of its own, or through the body's, and writes them token by token.</content>
public sealed partial class AdaptedModel
{
    private const string DecoderInputLayer = "decoder_input_layer";

    /// <summary>(B, S) int64: the answers' tokens, most probable first, up to the end and padded with it; S is at most <paramref name="length"/>.</summary>
    /// <param name="inputs">As <see cref="TaskSpec.Input"/> says.</param>
    /// <param name="mask">(B, T), 1 for tokens and 0 for padding; null when nothing is padded.</param>
    /// <param name="length">The most tokens of an answer, the end among them.</param>
    /// <exception cref="PermafrostException">The inputs have another shape than the task's.</exception>
    /// <exception cref="InvalidOperationException">The task does not ask for sequences.</exception>
    public Tensor Generate(Tensor inputs, Tensor? mask, int length)
    {
        if (Spec.Output is not SequenceOutput output) throw new InvalidOperationException($"this model answers with {Spec.Output.GetType().Name}, not with sequences; use Forward");
        using Turn turn = Begin(inputs);
        using var noGrad = torch.no_grad();
        using DisposeScope scope = torch.NewDisposeScope();
        var decoder = (EncoderDecoder)Backbone;
        if (Spec.Input is PixelInput pixels) inputs = pixels.Cut(inputs);
        Tensor encoded = decoder.Encode(new ModelInputs(InputsEmbeds: Embed(inputs), AttentionMask: mask)).LastHiddenState;
        Tensor start = torch.full([inputs.size(0), 1], AnswerStart.Hold(), ScalarType.Int64, inputs.device);
        Tensor Next(Tensor ids, Tensor? _, KeyValueCache cache)
        {
            var input = new ModelInputs(AttentionMask: mask) { DecoderInputsEmbeds = EmbedAnswers(ids), Cache = cache };
            Tensor hidden = decoder.Decode(input, encoded).LastHiddenState;
            return Head.Forward(hidden.narrow(1, hidden.size(1) - 1, 1)).select(1, 0);
        }
        var options = new GenerationOptions { MaxNewTokens = length, EndId = output.End, PadId = output.End };
        Tensor generated = TokenGenerator.Run(start, null, Next, options);
        return scope.MoveToOuter(generated.narrow(1, 1, generated.size(1) - 1).contiguous());
    }

    // A table of the task's own has a row more than the answers have tokens: what a decoder starts from.
    private int AnswerStart => decoderTable is null ? Backbone.Traits.DecoderStart!.Value : ((SequenceOutput)Spec.Output).Vocabulary;

    // Labels in the body's own tokens: what it was pretrained to write them with is the better start than chance, where it is the token table.
    private void StartFromOwnHead(bool ownTokens)
    {
        if (!ownTokens || Spec.Output is not SequenceOutput { Labels.Count: > 0 } output || Backbone.TiedHeadScale is not { } scale) return;
        using var noGrad = torch.no_grad();
        using DisposeScope scope = torch.NewDisposeScope();
        Device device = Head.NamedParameters().First().Parameter.Value.device;
        ((SequenceHead)Head).StartFrom(Backbone.EmbedTokens(Scalars.Range(0, output.Vocabulary, device).view(1, output.Vocabulary)).squeeze(0), scale);
    }

    private Tensor EmbedAnswers(Tensor ids) => decoderTable is null ? Backbone.EmbedTokens(ids) : decoderTable.Forward(ids);

    // What stands behind an answer's end is neither scored nor seen by what is; any token will do.
    private Tensor DecoderIds(Tensor? targets)
    {
        if (targets is null) throw new InvalidOperationException("this model answers with sequences, and is fed the right ones in training; use Forward of a batch, or Generate");
        Tensor start = torch.full([targets.size(0), 1], AnswerStart.Hold(), ScalarType.Int64, targets.device);
        Tensor shifted = torch.cat([start, targets.narrow(1, 0, targets.size(1) - 1)], 1);
        return shifted.masked_fill(shifted.eq(Head.NoAnswer.Hold()), ((SequenceOutput)Spec.Output).End.Hold());
    }
}
