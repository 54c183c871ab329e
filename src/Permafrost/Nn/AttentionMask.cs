using Permafrost.Torch;

namespace Permafrost.Nn;

/// <summary>Masks that are added to attention scores: 0 where a key may be seen, the most negative number where not, as Hugging Face masks.</summary>
public static class AttentionMask
{
    /// <summary>The most negative finite number of the scores' type.</summary>
    public const double Hidden = -3.4028234663852886e38;

    /// <summary>(T, T): a query sees itself and what is before it.</summary>
    public static Tensor Causal(long T, Device device) => Tensor.Full([T, T], Hidden, DType.Float32, device).Triu(1);

    /// <summary>(T, T) flags: true where a causal mask hides.</summary>
    internal static Tensor Flags(Tensor causalMask) => causalMask.Ne(0);

    /// <summary>(B, 1, 1, T) from a mask (B, T) of ones for tokens and zeros for padding.</summary>
    public static Tensor Padding(Tensor mask)
    {
        Tensor hidden = (mask.To(DType.Float32) - 1) * -Hidden;
        return hidden.View(mask.Size(0), 1, 1, mask.Size(1));
    }
}
