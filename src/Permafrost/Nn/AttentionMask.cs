namespace Permafrost.Nn;

/// <summary>Masks that are added to attention scores: 0 where a key may be seen, the most negative number where not, as Hugging Face masks.</summary>
public static class AttentionMask
{
    /// <summary>The most negative finite number of the scores' type.</summary>
    public const double Hidden = -3.4028234663852886e38;

    /// <summary>(T, T): a query sees itself and what is before it.</summary>
    public static Tensor Causal(long T, Device device) => torch.full([T, T], Hidden, ScalarType.Float32, device).triu(1);

    /// <summary>(T, T) flags: true where a causal mask hides.</summary>
    internal static Tensor Flags(Tensor causalMask) => causalMask.ne(0);

    /// <summary>(B, 1, 1, T) from a mask (B, T) of ones for tokens and zeros for padding.</summary>
    public static Tensor Padding(Tensor mask)
    {
        Tensor hidden = (mask.to(ScalarType.Float32) - 1) * -Hidden;
        return hidden.view(mask.size(0), 1, 1, mask.size(1));
    }
}
