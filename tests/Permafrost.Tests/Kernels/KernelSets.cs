using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>
/// The kernels of every instruction set, each beside the same operator composed of libtorch's own on float64 copies of its inputs. Which set is used is
/// the whole process's choice, so classes with such tests belong to the collection <see cref="ProcessWide"/>.
/// </summary>
internal static class KernelSets
{
    /// <summary>Best first; <c>none</c> last.</summary>
    public static TheoryData<string> All => [.. KernelSet.Available];

    /// <summary>Without <c>none</c>; where the kernels are not built, <c>none</c> alone, which <see cref="UseKernels"/> skips.</summary>
    public static string[] WithKernels => KernelSet.Available.Count == 1 ? [KernelSet.None] : [.. KernelSet.Available.Where(set => set != KernelSet.None)];

    /// <summary>Uses a set of kernels until disposed; skips the test where there is none.</summary>
    public static IDisposable UseKernels(string name)
    {
        Assert.SkipWhen(name == KernelSet.None, "needs the CPU kernels, which are not built here (g++, cmake and make are missing)");
        return Use(name);
    }

    /// <summary>Those that multiply packed bfloat16 weights, and <c>none</c>, which can unpack what they have packed; empty where the processor has no such products.</summary>
    public static string[] Multiplying { get; } = [.. KernelSet.Available.Where(Multiplies)];

    /// <summary>Uses a set until disposed.</summary>
    public static IDisposable Use(string name) => new Choice(name);

    /// <summary>What <paramref name="function"/> gives under a set, and the gradient of every floating-point input: of the sum of the results, weighted at random.</summary>
    /// <param name="set">The set; null for the oracle.</param>
    /// <param name="function">The kernels' operators; it is given copies of the inputs, and for the oracle float64 ones.</param>
    /// <param name="inputs">Those that are not floating-point get no gradient; nor do null ones.</param>
    public static (Tensor[] Results, Tensor?[] Gradients) Compute(string? set, Func<Tensor[], Tensor[]> function, params Tensor?[] inputs)
    {
        using IDisposable _ = Use(set ?? KernelSet.None);
        Tensor?[] leaves = [.. inputs.Select(input => input is null ? null : Copy(input, set is null))];
        Tensor[] results = function(leaves!);
        using var random = new Generator(99);
        Tensor? total = null;
        foreach (Tensor result in results)
        {
            Tensor weight = torch.empty(result.shape, ScalarType.Float64).normal_(0, 1, random);
            Tensor part = (result.to(ScalarType.Float64) * weight).sum();
            total = total is null ? part : total + part;
        }
        Segment.Backward(total!);
        return ([.. results.Select(result => result.detach())], [.. leaves.Select(leaf => leaf is { requires_grad: true } ? leaf.grad : null)]);
    }

    /// <summary>Compares a set with the oracle: results and gradients, in float32 within a few 1e-6 of the largest number, where bfloat16 is involved within a few hundredths.</summary>
    public static void Check(string set, string name, Func<Tensor[], ScalarType?, Tensor[]> function, bool coarse, params Tensor?[] inputs)
    {
        (Tensor[] expected, Tensor?[] expectedGradients) = Compute(null, leaves => function(leaves, ScalarType.Float64), inputs);
        (Tensor[] actual, Tensor?[] gradients) = Compute(set, leaves => function(leaves, null), inputs);
        for (int i = 0; i < actual.Length; i++) Close($"{set} {name} result {i}", actual[i], expected[i], coarse);
        for (int i = 0; i < gradients.Length; i++)
        {
            Assert.Equal(expectedGradients[i] is null, gradients[i] is null);
            if (gradients[i] is null) continue;
            Assert.Equal(inputs[i]!.dtype, gradients[i]!.dtype);
            Close($"{set} {name} gradient {i}", gradients[i]!, expectedGradients[i]!, coarse);
        }
    }

    /// <summary>|x - ref| at most 5e-6 max|ref| + 2e-6, or coarse: at most 0.03 max|ref|, and the cosine at least 0.9998.</summary>
    public static void Close(string name, Tensor actual, Tensor expected, bool coarse)
    {
        Assert.True(actual.shape.AsSpan().SequenceEqual(expected.shape), $"{name}: {actual.Describe()}, expected {expected.Describe()}");
        if (actual.NumberOfElements == 0) return;
        Tensor wide = actual.to(ScalarType.Float64);
        double largest = expected.abs().max().Number(), difference = (wide - expected).abs().max().Number();
        bool rounded = coarse || actual.dtype == ScalarType.BFloat16;
        double allowed = rounded ? 0.03 * largest + 1e-5 : 5e-6 * largest + 2e-6;
        Assert.True(difference <= allowed, $"{name}: differs by {difference:G3} of {largest:G3}, {allowed:G3} allowed");
        double norms = wide.norm().Number() * expected.norm().Number();
        if (!rounded || norms < 1e-9) return;
        double cosine = (wide * expected).sum().Number() / norms;
        Assert.True(cosine >= 0.9998, $"{name}: cosine {cosine:F6}");
    }

    /// <summary>Normal numbers that a type can hold.</summary>
    public static Tensor Normal(ulong seed, ScalarType type, double mean, double deviation, params long[] shape)
    {
        using var random = new Generator(seed);
        return torch.empty(shape).normal_(mean, deviation, random).to(type);
    }

    private static Tensor Copy(Tensor input, bool wide)
    {
        if (input.dtype is not (ScalarType.Float32 or ScalarType.BFloat16)) return input;
        Tensor copy = wide ? input.detach().to(ScalarType.Float64) : input.detach().clone();
        copy.requires_grad = true;
        return copy;
    }

    private static bool Multiplies(string set)
    {
        // The library keeps the set that was in use before "none".
        using IDisposable _ = Use(set == KernelSet.None ? KernelSet.Available[0] : set);
        return KernelSet.MultipliesBFloat16;
    }

    private sealed class Choice : IDisposable
    {
        private readonly string before = KernelSet.Name;

        public Choice(string name) => Select(name);

        public void Dispose() => Select(before);

        private static void Select(string name)
        {
            // KernelSet.None leaves the set behind it as it is, and packed weights need one that knows them.
            if (name == KernelSet.None) KernelSet.Select(KernelSet.Available[0]);
            KernelSet.Select(name);
        }
    }
}
