namespace Permafrost.Torch;

/// <summary>Which of native/kernels the <c>permafrost::</c> operators run on this processor; for reports, and for tests that compare them.</summary>
public static class Kernels
{
    private static readonly Operator NameOp = new("permafrost::kernels");
    private static readonly Operator AvailableOp = new("permafrost::kernels_available");
    private static readonly Operator SelectOp = new("permafrost::kernels_select");
    private static readonly Operator MultipliesOp = new("permafrost::multiplies_bfloat16");

    /// <summary>The set in use: <c>avx512-bf16</c>, <c>avx512</c>, <c>avx2</c>, <c>portable</c>, or <c>composed</c> of libtorch's own operators.</summary>
    public static string Name => NameOp.CallText();

    /// <summary>The sets that this processor can run, best first; <c>composed</c> is the last.</summary>
    public static IReadOnlyList<string> Available => AvailableOp.CallText().Split(' ');

    /// <summary>Whether the set in use multiplies bfloat16 weights, packed by <see cref="Tensor.Pack"/>.</summary>
    public static bool MultiplyBFloat16 => MultipliesOp.CallNumber() != 0;

    /// <summary>Uses another set from now on, in the whole process.</summary>
    /// <exception cref="ArgumentException">This processor does not have it.</exception>
    public static void Select(string name)
    {
        if (SelectOp.CallNumber(name) == 0) throw new ArgumentException($"this processor does not run the kernels '{name}'; it runs {string.Join(", ", Available)}");
    }
}
