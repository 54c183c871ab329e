using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>Gradients against differences of the function itself, along random directions: an error in any element shows.</summary>
internal static class FiniteDifferences
{
    /// <summary>Central differences of a random weighting of the results, within 0.2 % of the gradient's length along each direction.</summary>
    public static void Check(string name, Tensor[] inputs, Func<Tensor[], Tensor[]> function)
    {
        const double Step = 1.0 / 256;
        Tensor Total(Tensor[] given)
        {
            using var random = new Generator(77);
            Tensor? total = null;
            foreach (Tensor result in function(given))
            {
                Tensor part = (result.to(ScalarType.Float64) * torch.empty(result.shape, ScalarType.Float64).normal_(0, 1, random)).sum();
                total = total is null ? part : total + part;
            }
            return total!;
        }

        Tensor[] leaves = [.. inputs.Select(input => input.detach().clone())];
        foreach (Tensor leaf in leaves) leaf.requires_grad = true;
        Total(leaves).backward();
        using var noGrad = torch.no_grad();
        for (int i = 0; i < inputs.Length; i++)
        {
            double length = leaves[i].grad!.to(ScalarType.Float64).norm().Number();
            for (ulong direction = 0; direction < 3; direction++)
            {
                Tensor along = KernelSets.Normal(100 + direction, ScalarType.Float32, 0, 1, inputs[i].shape);
                along /= along.norm().Number() / Step;
                double At(double side) => Total([.. inputs.Select((input, j) => j == i ? input + along * side : input)]).Number();
                double expected = (At(1) - At(-1)) / 2, slope = (leaves[i].grad!.to(ScalarType.Float64) * along.to(ScalarType.Float64)).sum().Number();
                Assert.True(Math.Abs(expected - slope) <= 2e-3 * length * Step, $"{name}, input {i}: {slope / Step:G6} along direction {direction}, the function says {expected / Step:G6} (gradient {length:G3})");
            }
        }
    }
}
