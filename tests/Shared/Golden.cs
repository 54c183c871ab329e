using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;

namespace Permafrost.Tests.Shared;

/// <summary>Comparison with golden numbers, within the tolerances of the fixtures' README ("for a float32 implementation").</summary>
public static class Golden
{
    /// <summary>|x - ref| at most 3e-5 max|ref| + 2e-6.</summary>
    public static void Forward(string name, Tensor actual, Tensor expected) => Close(name, actual, expected, 3e-5 * Largest(expected) + 2e-6);

    /// <summary>|x - ref| at most 1e-4 max|ref| + 1e-5 times the case's largest gradient: some gradients are zero in exact arithmetic.</summary>
    public static void Gradient(string name, Tensor actual, Tensor expected, double largestOfCase) => Close(name, actual, expected, 1e-4 * Largest(expected) + 1e-5 * largestOfCase);

    /// <summary>|x - ref| at most 1e-5 |ref| + 2e-5.</summary>
    public static void Loss(string name, double actual, double expected) =>
        Assert.True(Math.Abs(actual - expected) <= 1e-5 * Math.Abs(expected) + 2e-5, $"{name}: {actual:G9}, expected {expected:G9}");

    /// <summary>Every element within <paramref name="tolerance"/>.</summary>
    public static void Close(string name, Tensor actual, Tensor expected, double tolerance)
    {
        Assert.True(actual.shape.AsSpan().SequenceEqual(expected.shape), $"{name}: {actual.Describe()}, expected {expected.Describe()}");
        if (expected.NumberOfElements == 0) return;
        using var scope = torch.NewDisposeScope();
        double difference = (actual.detach().to(ScalarType.Float64) - expected.to(ScalarType.Float64)).abs().max().Number();
        Assert.True(difference <= tolerance, $"{name}: differs by {difference:G4}, {tolerance:G4} allowed");
    }

    /// <summary>The largest absolute value.</summary>
    public static double Largest(Tensor tensor)
    {
        if (tensor.NumberOfElements == 0) return 0;
        using var scope = torch.NewDisposeScope();
        return tensor.to(ScalarType.Float64).abs().max().Number();
    }

    /// <summary>The tensors of one case whose names start with <c>CASE/KIND.</c>, under the rest of their names.</summary>
    public static Dictionary<string, Tensor> Case(SafetensorsFile file, string prefix) =>
        file.Entries.Keys.Where(key => key.StartsWith(prefix, StringComparison.Ordinal)).ToDictionary(key => key[prefix.Length..], file.Read);
}
