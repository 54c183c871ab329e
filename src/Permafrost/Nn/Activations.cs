using Permafrost.Torch;

namespace Permafrost.Nn;

/// <summary>Activation functions by the names that Hugging Face's configurations use (transformers activations.py, ACT2FN).</summary>
public static class Activations
{
    private static readonly Dictionary<string, Func<Tensor, Tensor>> Table = new()
    {
        ["gelu"] = x => x.Gelu(),
        ["gelu_new"] = x => x.Gelu(tanh: true),
        ["gelu_pytorch_tanh"] = x => x.Gelu(tanh: true),
        ["gelu_fast"] = x => x.Gelu(tanh: true),
        ["quick_gelu"] = x => x * (x * 1.702).Sigmoid(),
        ["relu"] = x => x.Relu(),
        ["silu"] = x => x.Silu(),
        ["swish"] = x => x.Silu(),
        ["tanh"] = x => x.Tanh(),
        ["sigmoid"] = x => x.Sigmoid(),
        ["linear"] = x => x,
    };

    /// <summary>The function of a name.</summary>
    /// <exception cref="PermafrostException">The name is not known; <paramref name="source"/> tells where it stands.</exception>
    public static Func<Tensor, Tensor> Find(string name, string source) =>
        Table.TryGetValue(name, out Func<Tensor, Tensor>? function) ? function : throw new PermafrostException($"{source}: the activation '{name}' is not known; known are {string.Join(", ", Table.Keys)}");
}
