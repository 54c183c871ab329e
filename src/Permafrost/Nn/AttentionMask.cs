using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>Masks that are added to attention scores: 0 where a key may be seen, the most negative number where not, as Hugging Face masks.</summary>
public static class AttentionMask
{
    /// <summary>The most negative finite number of the scores' type.</summary>
    public const double Hidden = -3.4028234663852886e38;

    /// <summary>(T, T) float32: a query sees itself and the positions before it.</summary>
    public static Tensor Causal(long T, Device device) => torch.full([T, T], Hidden.Hold(), ScalarType.Float32, device).triu(1);

    /// <summary>(T, T) Boolean: true where a causal mask hides a key.</summary>
    internal static Tensor Flags(Tensor causalMask) => causalMask.ne(0.Hold());

    /// <summary>(B, 1, 1, T) from a mask (B, T) of ones for tokens and zeros for padding.</summary>
    public static Tensor Padding(Tensor mask)
    {
        Tensor hidden = mask.to(ScalarType.Float32).Plus(-1).Times(-Hidden);
        return hidden.view(mask.size(0), 1, 1, mask.size(1));
    }
}
