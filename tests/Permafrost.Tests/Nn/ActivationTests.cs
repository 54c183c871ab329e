using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Tests.Nn;

/// <summary>Activation functions by Hugging Face's names (transformers activations.py).</summary>
public class ActivationTests
{
    [Theory]
    [InlineData("gelu_python", 1.5, 1.3997892)]
    [InlineData("gelu_new", 1.5, 1.3995716)]
    [InlineData("gelu_accurate", 1.5, 1.3995716)]
    [InlineData("gelu_python_tanh", 1.5, 1.3995716)]
    [InlineData("gelu_10", 1.5, 1.3997892)]
    [InlineData("gelu_10", 12.0, 10.0)]
    [InlineData("gelu", 12.0, 12.0)]
    [InlineData("quick_gelu", 1.5, 1.3916622)]
    [InlineData("silu", 1, 0.7310586)]
    [InlineData("swish", 1, 0.7310586)]
    [InlineData("sigmoid", 1, 0.7310586)]
    [InlineData("tanh", 1, 0.7615942)]
    [InlineData("mish", 1, 0.8650984)]
    [InlineData("relu6", 7, 6)]
    [InlineData("relu", -1, 0)]
    [InlineData("linear", -1, -1)]
    public void Gives_the_value_of_its_formula(string name, double x, double value)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        Assert.Equal(value, Activations.Find(name, "config.json").Function(torch.tensor((float)x)).Number(), 2e-6);
    }
}
