using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>
/// native/kernels/vector_math.h against float64, over every scale that matters: activations and their slopes, read from a linear map of one number to one.
/// </summary>
[Collection(ProcessWide.Name)]
public class KernelMathTests : IDisposable
{
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public static TheoryData<string> Sets => KernelSets.All;

    public void Dispose()
    {
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Gelu_with_tanh_and_its_slope_are_exact_to_float32(string set) => Check(set, FusedActivation.GeluTanh, x => LinearTwin.Activate(x, FusedActivation.GeluTanh));

    [Theory]
    [MemberData(nameof(Sets))]
    public void Gelu_with_erf_and_its_slope_are_exact_to_float32(string set) => Check(set, FusedActivation.Gelu, x => LinearTwin.Activate(x, FusedActivation.Gelu));

    [Theory]
    [MemberData(nameof(Sets))]
    public void The_others_and_their_slopes_are_exact_to_float32(string set)
    {
        foreach (FusedActivation activation in Enum.GetValues<FusedActivation>().Where(known => known > FusedActivation.Relu)) Check(set, activation, x => LinearTwin.Activate(x, activation));
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Relu_and_its_slope_are_exact(string set)
    {
        Tensor x = Sweep();
        (Tensor y, Tensor slope) = Fused(set, FusedActivation.Relu, x);
        Assert.Equal(x.ToArray<float>().Select(value => Math.Max(value, 0)), y.ToArray<float>());
        Assert.Equal(x.ToArray<float>().Select(value => value > 0 ? 1f : 0), slope.ToArray<float>());
    }

    private static void Check(string set, FusedActivation activation, Func<Tensor, Tensor> reference)
    {
        Tensor x = Sweep();
        (Tensor y, Tensor slope) = Fused(set, activation, x);
        Tensor wide = x.to(ScalarType.Float64);
        wide.requires_grad = true;
        Tensor expected = reference(wide);
        expected.sum().backward();
        // Formulas that subtract from 1 lose the tail's relative precision; what counts is the error beside 1, or beside x where that is larger.
        double[] error = Errors(y, expected.detach(), x), slopeError = Errors(slope, wide.grad!, x);
        // Of the composed set it is libtorch's own error, which differs between versions.
        Assert.True(error.Max() <= (set == KernelSet.None ? 5e-7 : 2e-7), $"{set}: {activation} is off by {error.Max():G3} at {x.ToArray<float>()[Array.IndexOf(error, error.Max())]:G9}");
        Assert.True(slopeError.Max() <= 5e-7, $"{set}: the slope of {activation} is off by {slopeError.Max():G3} at {x.ToArray<float>()[Array.IndexOf(slopeError, slopeError.Max())]:G9}");
        // Near zero the function is x / 2: there it must be right relative to itself.
        float[] inputs = x.ToArray<float>(), values = y.ToArray<float>();
        double[] wanted = expected.detach().ToArray<double>();
        for (int i = 0; i < inputs.Length; i++)
            if (Math.Abs(inputs[i]) is < 1e-3f and > 1e-30f) Assert.True(Math.Abs(values[i] - wanted[i]) <= 4e-7 * Math.Abs(wanted[i]), $"{set}: {activation}({inputs[i]:G9}) = {values[i]:G9}, expected {wanted[i]:G9}");
    }

    private static double[] Errors(Tensor actual, Tensor expected, Tensor x) =>
        [.. actual.ToArray<float>().Zip(expected.ToArray<double>(), x.ToArray<float>()).Select(all => Math.Abs(all.First - all.Second) / Math.Max(1, Math.Abs(all.Third)))];

    private static (Tensor Value, Tensor Slope) Fused(string set, FusedActivation activation, Tensor x)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor leaf = x.clone();
        leaf.requires_grad = true;
        Tensor y = leaf.view(-1, 1).FusedLinear(torch.ones([1, 1]), null, 1, activation, ScalarType.Float32).view(-1);
        y.sum().backward();
        return (y.detach(), leaf.grad!);
    }

    // Evenly from -14 to 14, and both signs of every magnitude from 1e-38 to 1e6.
    private static Tensor Sweep()
    {
        const int Even = 140_001, Scales = 20_000;
        var values = new List<float>(Even + 2 * Scales);
        for (int i = 0; i < Even; i++) values.Add((i - 70_000) / 5000f);
        for (int i = 0; i < Scales; i++)
        {
            float value = (float)Math.Pow(10, -38 + 44.0 * i / Scales);
            values.Add(value);
            values.Add(-value);
        }
        return Tensors.From(values.ToArray());
    }
}
