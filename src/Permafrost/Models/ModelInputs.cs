using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>What a backbone computes on, under Hugging Face's names: ids, vectors or pixels, and which of them are padding.</summary>
/// <param name="InputIds">(B, T) int64; or null when vectors are given.</param>
/// <param name="InputsEmbeds">(B, T, C); or null when ids are given.</param>
/// <param name="AttentionMask">(B, T), 1 for tokens and 0 for padding; null when nothing is padded.</param>
/// <param name="PositionIds">(B, T) int64; null for 0, 1, 2, ...</param>
/// <param name="ReadPositions">(B, K) int64: the only positions whose last hidden state is wanted, so that the last layer need not compute the others; null for all.</param>
/// <param name="TokenTypeIds">(B, T) or (1, T) int64: the segment of each token, where a model knows segments; null for the first everywhere.</param>
/// <param name="OutputHiddenStates">Return the states between the layers too.</param>
/// <param name="OutputAttentions">Return the attention probabilities too.</param>
public sealed record ModelInputs(
    Tensor? InputIds = null, Tensor? InputsEmbeds = null, Tensor? AttentionMask = null, Tensor? PositionIds = null, Tensor? ReadPositions = null,
    Tensor? TokenTypeIds = null, bool OutputHiddenStates = false, bool OutputAttentions = false)
{
    /// <summary>(B, channels, height, width), for models of pictures; null when vectors are given.</summary>
    public Tensor? PixelValues { get; init; }

    /// <summary>(B, T), 1 for tokens that see all and are seen by all, where attention is otherwise local; null for none.</summary>
    public Tensor? GlobalAttentionMask { get; init; }

    /// <summary>(B, S) int64: what an encoder-decoder's decoder reads; null, without <see cref="DecoderInputsEmbeds"/>, for the encoder alone.</summary>
    public Tensor? DecoderInputIds { get; init; }

    /// <summary>(B, S, C): the same as vectors.</summary>
    public Tensor? DecoderInputsEmbeds { get; init; }

    /// <summary>(B, S), 1 for tokens and 0 for padding of the decoder's inputs; null when nothing is padded.</summary>
    public Tensor? DecoderAttentionMask { get; init; }

    /// <summary>Keys and values of tokens that were computed before, which the inputs continue, and which take up theirs; null to begin anew.</summary>
    public KeyValueCache? Cache { get; init; }

    /// <summary>Whether a decoder is to run.</summary>
    public bool HasDecoderInputs => DecoderInputIds is not null || DecoderInputsEmbeds is not null;
}

/// <summary>What a backbone returns: of an encoder-decoder that was given decoder inputs, the decoder's states.</summary>
/// <param name="LastHiddenState">(B, T, C); (B, K, C) where positions were asked for.</param>
/// <param name="HiddenStates">Before, between and after the layers, as Hugging Face returns them; empty unless asked for.</param>
/// <param name="Attentions">(B, H, T, S) for each layer: of every token to the S keys that it may see, usually S = T; empty unless asked for.</param>
public sealed record ModelOutputs(Tensor LastHiddenState, IReadOnlyList<Tensor> HiddenStates, IReadOnlyList<Tensor> Attentions)
{
    /// <summary>(B, H, S, T) for each layer of a decoder: what it sees of the encoder; empty unless asked for.</summary>
    public IReadOnlyList<Tensor> CrossAttentions { get; init; } = [];

    /// <summary>(B, H, S, G) for each layer whose attention is otherwise local: what the G tokens that see all see of the S keys; empty unless asked for.</summary>
    public IReadOnlyList<Tensor> GlobalAttentions { get; init; } = [];

    /// <summary>The encoder's outputs, where a decoder ran behind it.</summary>
    public ModelOutputs? Encoder { get; init; }
}
