using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>A backbone of an encoder and of a decoder that sees what the encoder made. Without decoder inputs it is its encoder alone.</summary>
public abstract class EncoderDecoder : Backbone
{
    /// <inheritdoc/>
    public sealed override ModelOutputs Forward(ModelInputs input)
    {
        if (!input.HasDecoderInputs) return Encode(input);
        if (!Traits.EncoderDecoder) throw new PermafrostException($"{Config.Source} describes an encoder alone; it takes no decoder inputs");
        ModelOutputs encoded = Encode(input with { ReadPositions = null });
        return Decode(input, encoded.LastHiddenState) with { Encoder = encoded };
    }

    /// <summary>Computes the encoder's hidden states.</summary>
    /// <exception cref="PermafrostException">The sequence is longer than the positions, or the input's width is not the model's.</exception>
    public abstract ModelOutputs Encode(ModelInputs input);

    /// <summary>Computes the decoder's hidden states; with a cache, those of the tokens behind it.</summary>
    /// <param name="input">The decoder's inputs, and the encoder's mask.</param>
    /// <param name="encoded">(B, T, C): the encoder's last hidden state.</param>
    /// <exception cref="PermafrostException">The sequence is longer than the positions, or the input's width is not the model's.</exception>
    public abstract ModelOutputs Decode(ModelInputs input, Tensor encoded);

    /// <summary>Keys and values of self-attention, behind those in the cache, or of what the encoder made, computed once for a cache.</summary>
    /// <param name="key">The map to keys.</param>
    /// <param name="value">The map to values.</param>
    /// <param name="x">(B, T, C): the tokens themselves.</param>
    /// <param name="encoded">(B, S, C): what the encoder made; null for self-attention.</param>
    /// <param name="cache">Keys and values of the tokens before; null for none.</param>
    /// <param name="place">The attention's name in the cache.</param>
    internal static (Tensor Keys, Tensor Values) KeysAndValues(Linear key, Linear value, Tensor x, Tensor? encoded, KeyValueCache? cache, string place)
    {
        if (cache is null) return (key.Forward(encoded ?? x), value.Forward(encoded ?? x));
        return encoded is null ? cache.Append(place, key.Forward(x), value.Forward(x)) : cache.Once(place, () => (key.Forward(encoded), value.Forward(encoded)));
    }

    /// <summary>(B, T) int64: the positions of <paramref name="tokens"/> tokens behind <paramref name="first"/> others.</summary>
    private protected static Tensor PositionsFrom(long first, long rows, long tokens, Device device) => Kernels.Scalars.Range(first, tokens, device).expand(rows, tokens);
}
