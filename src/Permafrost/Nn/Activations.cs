using Permafrost.Kernels;

using static TorchSharp.torch.nn;

namespace Permafrost.Nn;

/// <summary>An activation function, by itself and as part of the product before it.</summary>
/// <param name="Fused">What <see cref="LinearKernel.FusedLinear"/> computes with the product before it; null when it cannot.</param>
/// <param name="Function">The function by itself, composed of TorchSharp's operators.</param>
public sealed record Activation(FusedActivation? Fused, Func<Tensor, Tensor> Function);

/// <summary>Activation functions by the names that Hugging Face's configurations use (transformers activations.py, ACT2FN).</summary>
public static class Activations
{
    private static readonly Activation Gelu = new(FusedActivation.Gelu, x => functional.gelu(x));
    private static readonly Activation GeluTanh = new(FusedActivation.GeluTanh, x => functional.gelu(x, TorchSharp.Modules.GELU.Approximate.tanh));

    private static readonly Dictionary<string, Activation> Table = new()
    {
        ["gelu"] = Gelu,
        ["gelu_python"] = Gelu,
        ["gelu_10"] = new(null, x => functional.gelu(x).clamp((-10).Hold(), 10.Hold())),
        ["gelu_accurate"] = GeluTanh,
        ["gelu_python_tanh"] = GeluTanh,
        ["gelu_new"] = GeluTanh,
        ["gelu_pytorch_tanh"] = GeluTanh,
        ["gelu_fast"] = GeluTanh,
        ["quick_gelu"] = new(null, x => x * x.Times(1.702).sigmoid()),
        ["relu"] = new(FusedActivation.Relu, x => functional.relu(x)),
        ["relu6"] = new(null, x => functional.relu6(x)),
        ["mish"] = new(null, x => functional.mish(x)),
        ["silu"] = new(null, x => functional.silu(x)),
        ["swish"] = new(null, x => functional.silu(x)),
        ["tanh"] = new(null, x => x.tanh()),
        ["sigmoid"] = new(null, x => x.sigmoid()),
        ["linear"] = new(FusedActivation.None, x => x),
    };

    /// <summary>The activation that a configuration names.</summary>
    /// <exception cref="PermafrostException">The name is not known; the message starts with <paramref name="source"/>, the place where it was read.</exception>
    public static Activation Find(string name, string source) =>
        Table.TryGetValue(name, out Activation? function) ? function
            : throw new PermafrostException($"{source}: the activation '{name}' is not known; known are {string.Join(", ", Table.Keys)}");
}
