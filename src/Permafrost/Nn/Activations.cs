using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>An activation function, by itself and as part of the product before it.</summary>
/// <param name="Fused">What <see cref="LinearKernel.FusedLinear"/> computes with the product before it; null when it cannot.</param>
/// <param name="Function">The function by itself, composed of TorchSharp's operators.</param>
public sealed record Activation(FusedActivation? Fused, Func<Tensor, Tensor> Function);

/// <summary>Activation functions by the names that Hugging Face's configurations use (transformers activations.py, ACT2FN).</summary>
public static class Activations
{
    private static readonly Activation Gelu = Of(FusedActivation.Gelu), GeluTanh = Of(FusedActivation.GeluTanh), Silu = Of(FusedActivation.Silu);

    private static readonly Dictionary<string, Activation> Table = new()
    {
        ["gelu"] = Gelu,
        ["gelu_python"] = Gelu,
        ["gelu_10"] = Of(FusedActivation.Gelu10),
        ["gelu_accurate"] = GeluTanh,
        ["gelu_python_tanh"] = GeluTanh,
        ["gelu_new"] = GeluTanh,
        ["gelu_pytorch_tanh"] = GeluTanh,
        ["gelu_fast"] = GeluTanh,
        ["quick_gelu"] = Of(FusedActivation.QuickGelu),
        ["relu"] = Of(FusedActivation.Relu),
        ["relu6"] = Of(FusedActivation.Relu6),
        ["mish"] = Of(FusedActivation.Mish),
        ["silu"] = Silu,
        ["swish"] = Silu,
        ["tanh"] = Of(FusedActivation.Tanh),
        ["sigmoid"] = Of(FusedActivation.Sigmoid),
        ["linear"] = Of(FusedActivation.None),
    };

    private static Activation Of(FusedActivation fused) => new(fused, x => LinearTwin.Activate(x, fused));

    /// <summary>The activation that a configuration names.</summary>
    /// <exception cref="PermafrostException">The name is not known; the message starts with <paramref name="source"/>, the place where it was read.</exception>
    public static Activation Find(string name, string source) =>
        Table.TryGetValue(name, out Activation? function) ? function
            : throw new PermafrostException($"{source}: the activation '{name}' is not known; known are {string.Join(", ", Table.Keys)}");
}
