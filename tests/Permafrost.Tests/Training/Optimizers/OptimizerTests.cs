using Permafrost.Kernels;
using Permafrost.Training.Optimizers;

namespace Permafrost.Tests.Training.Optimizers;

/// <summary>What all optimisers share, on steps that can be computed by hand; golden trajectories are in Permafrost.Tests.</summary>
public class OptimizerTests : IDisposable
{
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void Sgd_goes_against_the_gradient()
    {
        Tensor w = Parameter(1, 2);
        using var sgd = new Sgd([new ParameterGroup([("w", w)])]);
        w.grad = Tensors.From([10f, -10]);
        sgd.Step(0.1);
        Equal([0, 3], w);
    }

    [Fact]
    public void The_first_step_of_Adam_has_the_size_of_the_rate()
    {
        Tensor w = Parameter(1, 1, 1);
        using var adam = new Adam([new ParameterGroup([("w", w)])]);
        w.grad = Tensors.From([1000f, -1e-3f, 0]);
        adam.Step(0.5);
        Equal([0.5f, 1.5f, 1], w);
    }

    [Fact]
    public void A_group_has_its_own_rate_and_decay()
    {
        (Tensor a, Tensor b) = (Parameter(1), Parameter(1));
        using var sgd = new Sgd([new ParameterGroup([("a", a)], LearningRateScale: 10), new ParameterGroup([("b", b)], WeightDecay: 3)], weightDecay: 1);
        (a.grad, b.grad) = (Tensors.From([0f]), Tensors.From([0f]));
        sgd.Step(0.01);
        Equal([0.9f], a);  // 1 - 10 * 0.01 * (0 + 1 * 1)
        Equal([0.97f], b);  // 1 - 0.01 * (0 + 3 * 1)
    }

    [Fact]
    public void A_parameter_without_a_gradient_is_left_alone()
    {
        (Tensor a, Tensor b) = (Parameter(1), Parameter(1));
        using var adam = new Adam([new ParameterGroup([("a", a), ("b", b)])], weightDecay: 0.5, decoupled: true);
        a.grad = Tensors.From([1f]);
        adam.Step(0.1);
        Equal([1], b);
        Assert.Equal(["a"], adam.State().Steps.Keys);
        // b starts later: its own first step, with its own bias correction.
        b.grad = Tensors.From([1f]);
        adam.Step(0.1);
        Equal([1 * (1 - 0.05f) - 0.1f], b);
        Assert.Equal((2, 1), (adam.State().Steps["a"], adam.State().Steps["b"]));
    }

    [Fact]
    public void Parameters_beyond_one_batch_of_elements_are_all_updated()
    {
        // More than 4 Mi elements in one group are updated in several calls.
        Tensor[] parts = [.. Enumerable.Range(0, 3).Select(_ => torch.ones([1 << 21]))];
        using var sgd = new Sgd([new ParameterGroup([.. parts.Select((part, i) => ($"p{i}", part))])]);
        foreach (Tensor part in parts) part.grad = torch.full([1 << 21], 2);
        sgd.Step(0.25);
        Assert.All(parts, part => Assert.Equal((0.5, 0.5), (part.min().Number(), part.max().Number())));
    }

    [Fact]
    public void ZeroGrad_drops_every_gradient()
    {
        Tensor w = Parameter(1);
        using var sgd = new Sgd([new ParameterGroup([("w", w)])]);
        w.grad = Tensors.From([1f]);
        sgd.ZeroGrad();
        Assert.Null(w.grad);
        sgd.Step(1);
        Equal([1], w);
    }

    [Fact]
    public void Nothing_to_train_and_a_name_given_twice_are_refused()
    {
        Tensor w = Parameter(1);
        Assert.Throws<ArgumentException>(() => new Sgd([]));
        Assert.Throws<ArgumentException>(() => new Sgd([new ParameterGroup([])]));
        Assert.Throws<ArgumentException>(() => new Adam([new ParameterGroup([("w", w)]), new ParameterGroup([("w", w)])]));
    }

    [Fact]
    public void State_that_does_not_fit_is_refused()
    {
        Tensor w = Parameter(1, 2);
        using var adam = new Adam([new ParameterGroup([("w", w)])]);
        Assert.Throws<ArgumentException>(() => adam.Restore(new Dictionary<string, Tensor> { ["other.exp_avg"] = torch.zeros([2]) }, new Dictionary<string, long>()));
        Assert.Throws<ArgumentException>(() => adam.Restore(new Dictionary<string, Tensor> { ["w.exp_avg"] = torch.zeros([3]) }, new Dictionary<string, long>()));
        Assert.Throws<ArgumentException>(() => adam.Restore(new Dictionary<string, Tensor> { ["exp_avg"] = torch.zeros([2]) }, new Dictionary<string, long>()));
        Assert.Throws<ArgumentException>(() => adam.Restore(new Dictionary<string, Tensor>(), new Dictionary<string, long> { ["other"] = 3 }));
    }

    [Fact]
    public void Clipping_scales_to_the_bound_and_measures_with_infinity()
    {
        (Tensor a, Tensor b, Tensor none) = (Parameter(0, 0), Parameter(0), Parameter(0));
        (a.grad, b.grad) = (Tensors.From([3f, 0]), Tensors.From([-4f]));
        Assert.Equal(5, GradientClipping.ClipNorm([a, b, none], double.PositiveInfinity), 6);
        Equal([3, 0], a.grad);
        Assert.Equal(4, GradientClipping.ClipNorm([a, b], 100, double.PositiveInfinity), 6);
        Assert.Equal(5, GradientClipping.ClipNorm([a, b], 1), 6);
        Equal([0.6f, 0], a.grad);
        Equal([-0.8f], b.grad);
        GradientClipping.ClipValue([a, b, none], 0.7);
        Equal([0.6f, 0], a.grad);
        Equal([-0.7f], b.grad);
        Assert.Equal(0, GradientClipping.ClipNorm([none], 1));
    }

    [Fact]
    public void A_gradient_that_is_not_finite_is_measured_as_such_and_left_for_the_caller()
    {
        Tensor a = Parameter(0, 0);
        a.grad = Tensors.From([float.NaN, 1]);
        Assert.True(double.IsNaN(GradientClipping.ClipNorm([a], 1)));
        a.grad = Tensors.From([float.PositiveInfinity, 1]);
        Assert.True(double.IsPositiveInfinity(GradientClipping.ClipNorm([a], 1)));
    }

    private static Tensor Parameter(params float[] values)
    {
        Tensor tensor = Tensors.From(values);
        tensor.requires_grad = true;
        return tensor;
    }

    private static void Equal(float[] expected, Tensor? actual)
    {
        Assert.NotNull(actual);
        float[] values = actual.ToArray<float>();
        Assert.Equal(expected.Length, values.Length);
        for (int i = 0; i < values.Length; i++) Assert.Equal(expected[i], values[i], 1e-5f);
    }
}
