using System.Runtime.InteropServices;
using Permafrost.Kernels.Interop;

namespace Permafrost.Kernels;

/// <summary>
/// Which CPU kernels are used, in the whole process: those of the best instruction set that the processor has, or none, where everything is composed of libtorch's operators.
/// </summary>
public static class KernelSet
{
    /// <summary>The name of the set without kernels, where everything is composed of libtorch's operators.</summary>
    public const string None = "none";

    /// <summary>The name of the set that uses Intel's tile registers (AMX).</summary>
    internal const string Tiles = "avx512-amx";

    private static readonly Lazy<IReadOnlyList<string>> LazyAvailable = new(
        () => KernelLibrary.Path is null ? [None] : [.. Text(NativeMethods.pf_sets()).Split(' '), None]);
    private static string? name;

    /// <summary>The set in use: <c>avx512-bf16</c>, <c>avx512</c>, <c>avx2</c>, <c>portable</c> or <c>none</c>.</summary>
    public static string Name => name ??= Initial();

    /// <summary>The sets that this processor can run, best first; <c>none</c> is the last.</summary>
    public static IReadOnlyList<string> Available => LazyAvailable.Value;

    /// <summary>The library's file; null where it was not built or does not belong to this platform.</summary>
    public static string? LibraryPath => KernelLibrary.Path;

    /// <summary>Whether the set in use multiplies bfloat16 weights, packed by <see cref="LinearKernel.Pack"/>.</summary>
    public static bool MultipliesBFloat16 => Enabled && NativeMethods.pf_multiplies_bfloat16() != 0;

    internal static bool Enabled => Name != None;

    /// <summary>Uses another set from now on.</summary>
    /// <exception cref="ArgumentException">This processor does not have it.</exception>
    public static void Select(string set)
    {
        if (!Available.Contains(set)) throw new ArgumentException($"this processor does not run the kernels '{set}'; it runs {string.Join(", ", Available)}");
        if (set != None) NativeMethods.Check(NativeMethods.pf_select(set));
        name = set;
    }

    /// <summary>Whether there are kernels for a tensor: float32 or bfloat16 in the host's memory.</summary>
    internal static bool Takes(Tensor tensor)
    {
        // Every layer asks here, whatever computes it then: from now on its thread may use AMX.
        SignalStack.Enlarge();
        return Enabled && Writes(tensor.dtype) && tensor.IsOnCpu();
    }

    /// <summary>Whether there are kernels that write this type.</summary>
    internal static bool Writes(ScalarType type) => type is ScalarType.Float32 or ScalarType.BFloat16;

    private static string Initial()
    {
        Engine.EnsureLoaded();
        return name ?? Available[0];
    }

    private static string Text(nint text) => Marshal.PtrToStringUTF8(text) ?? "";
}
