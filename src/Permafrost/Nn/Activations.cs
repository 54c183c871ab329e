using Permafrost.Torch;

namespace Permafrost.Nn;

/// <summary>An activation function.</summary>
/// <param name="Fused">Its name in <see cref="Tensor.FusedLinear"/>, which computes it with the product before it; null when it has none.</param>
/// <param name="Function">The function by itself.</param>
public sealed record Activation(string? Fused, Func<Tensor, Tensor> Function);

/// <summary>Activation functions by the names that Hugging Face's configurations use (transformers activations.py, ACT2FN).</summary>
public static class Activations
{
    private static readonly Dictionary<string, Activation> Table = new()
    {
        ["gelu"] = new("gelu", x => x.Gelu()),
        ["gelu_python"] = new("gelu", x => x.Gelu()),
        ["gelu_new"] = new("gelu_tanh", x => x.Gelu(tanh: true)),
        ["gelu_pytorch_tanh"] = new("gelu_tanh", x => x.Gelu(tanh: true)),
        ["gelu_fast"] = new("gelu_tanh", x => x.Gelu(tanh: true)),
        ["quick_gelu"] = new(null, x => x * (x * 1.702).Sigmoid()),
        ["relu"] = new("relu", x => x.Relu()),
        ["relu6"] = new(null, x => x.Relu6()),
        ["mish"] = new(null, x => x.Mish()),
        ["silu"] = new(null, x => x.Silu()),
        ["swish"] = new(null, x => x.Silu()),
        ["tanh"] = new(null, x => x.Tanh()),
        ["sigmoid"] = new(null, x => x.Sigmoid()),
        ["linear"] = new("none", x => x),
    };

    /// <summary>The function of a name.</summary>
    /// <exception cref="PermafrostException">The name is not known; <paramref name="source"/> tells where it stands.</exception>
    public static Activation Find(string name, string source) =>
        Table.TryGetValue(name, out Activation? function) ? function : throw new PermafrostException($"{source}: the activation '{name}' is not known; known are {string.Join(", ", Table.Keys)}");
}
