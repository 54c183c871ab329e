namespace Permafrost.Torch.Tests;

/// <summary>Gradients: by hand where that is possible, by finite differences in float64 elsewhere.</summary>
public class TensorAutogradTests : IDisposable
{
    private readonly TensorScope scope = new();

    public void Dispose()
    {
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void Gradients_are_those_of_calculus()
    {
        Tensor x = Leaf(1, -2, 3);
        (x * x * 3).Sum().Backward();  // d/dx 3 x^2 = 6 x
        Equal([6, -12, 18], x.Grad);

        x = Leaf(1, 4);
        (x.Sqrt() + x.Log()).Sum().Backward();  // 1 / (2 sqrt(x)) + 1 / x
        Equal([1.5, 0.5], x.Grad);

        (Tensor a, Tensor b) = (Leaf(1, 2), Leaf(3, 4));
        (a / b).Sum().Backward();  // 1 / b and -a / b^2
        Equal([1 / 3.0, 0.25], a.Grad);
        Equal([-1 / 9.0, -0.125], b.Grad);
    }

    [Fact]
    public void A_matrix_product_passes_the_transposed_factors_back()
    {
        Tensor a = Matrix(2, 2, 1, 2, 3, 4);
        Tensor b = Matrix(2, 2, 5, 6, 7, 8);
        a.Matmul(b).Sum().Backward();
        Equal([11, 15, 11, 15], a.Grad);  // ones times b^T: row sums of b
        Equal([4, 4, 6, 6], b.Grad);  // a^T times ones: column sums of a
    }

    [Fact]
    public void Gradients_add_up_until_they_are_dropped()
    {
        Tensor x = Leaf(1, 2);
        Assert.Null(x.Grad);
        (x * 2).Sum().Backward();
        (x * 3).Sum().Backward();
        Equal([5, 5], x.Grad);
        x.Grad = null;
        Assert.Null(x.Grad);
        x.Grad = Tensor.From([10.0, 20]);
        (x * 2).Sum().Backward();
        Equal([12, 22], x.Grad);
    }

    [Fact]
    public void A_given_gradient_weighs_the_outputs()
    {
        Tensor x = Leaf(1, 2);
        (x * x).Backward(Tensor.From([1.0, 10]));
        Equal([2, 40], x.Grad);
    }

    [Fact]
    public void A_vector_without_a_gradient_and_a_graph_used_twice_are_refused()
    {
        Tensor x = Leaf(1, 2);
        Assert.Throws<TorchException>(() => (x * x).Backward());
        Tensor loss = (x * x).Sum();
        loss.Backward();
        Assert.Throws<TorchException>(() => loss.Backward());
        Assert.Throws<TorchException>(() => Tensor.Ones([1]).Sum().Backward());  // nothing to differentiate
    }

    [Fact]
    public void Only_real_numbers_may_require_a_gradient()
    {
        Tensor integers = Tensor.From([1L, 2]);
        Assert.Throws<TorchException>(() => integers.RequiresGrad = true);
        Tensor made = Leaf(1) * 2;
        Assert.True(made.RequiresGrad);
    }

    [Fact]
    public void Detach_cuts_the_history_and_keeps_the_data()
    {
        Tensor x = Leaf(3);
        Tensor cut = (x * 2).Detach();
        Assert.False(cut.RequiresGrad);
        (x * cut).Sum().Backward();  // 6 x, not 2 x^2
        Equal([6], x.Grad);
        Tensor alias = x.Detach();
        alias.FillInPlace(5);
        Equal([5], x);
    }

    [Fact]
    public void Frozen_tensors_get_no_gradient_but_pass_it_on()
    {
        Tensor x = Leaf(1, 2);
        Tensor weight = Tensor.From([2.0, 3]);
        (x * weight).Sum().Backward();
        Assert.Null(weight.Grad);
        Equal([2, 3], x.Grad);
    }

    [Fact]
    public void Gradients_outlive_the_scope_of_the_step()
    {
        Tensor x = Leaf(1, 2);
        using (new TensorScope()) (x * 2).Sum().Backward();
        Equal([2, 2], x.Grad);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_norm_activation_and_softmax_chain_agrees_with_finite_differences(bool tanh)
    {
        Tensor mix = Draw(1, 4, 6);
        CheckGradients([Draw(2, 4, 6), Draw(3, 6), Draw(4, 6)],
            leaves => (leaves[0].LayerNorm(leaves[1], leaves[2], 1e-5).Gelu(tanh).Softmax(-1) * mix).Sum());
    }

    [Fact]
    public void A_small_network_agrees_with_finite_differences()
    {
        Tensor ids = Tensor.From([0L, 2, 2, 1, 3], 5);
        Tensor targets = Tensor.From([1L, 0, -100, 2, 1], 5);
        CheckGradients([Draw(5, 4, 6), Draw(6, 8, 6), Draw(7, 8), Draw(8, 3, 8)], leaves =>
            ids.Embedding(leaves[0]).LayerNorm(null, null, 1e-5).Linear(leaves[1], leaves[2]).Silu().Linear(leaves[3], null).CrossEntropy(targets));
    }

    [Fact]
    public void Attention_agrees_with_finite_differences()
    {
        Tensor mix = Draw(9, 2, 3, 4);
        Tensor mask = Tensor.Full([3, 3], -1e30, DType.Float64).Triu(1);
        CheckGradients([Draw(10, 2, 3, 4), Draw(11, 2, 3, 4), Draw(12, 2, 3, 4)], leaves =>
            (Tensor.Baddbmm(mask, leaves[0], leaves[1].Transpose(1, 2), beta: 1, alpha: 0.5).Softmax(-1).Bmm(leaves[2]) * mix).Sum());
    }

    // Central differences: the error is of order step^2 times the third derivative, about 1e-10 here, plus rounding of about 1e-16 / step.
    private static void CheckGradients(Tensor[] leaves, Func<Tensor[], Tensor> function)
    {
        const double Step = 1e-5;
        foreach (Tensor leaf in leaves) leaf.RequiresGrad = true;
        function(leaves).Backward();
        using var noGrad = new NoGrad();
        for (int which = 0; which < leaves.Length; which++)
        {
            double[] gradient = leaves[which].Grad!.ToArray<double>();
            double[] start = leaves[which].ToArray<double>();
            for (int i = 0; i < start.Length; i++)
            {
                double[] moved = [.. start];
                moved[i] = start[i] + Step;
                double above = Value(moved);
                moved[i] = start[i] - Step;
                double below = Value(moved);
                double expected = (above - below) / (2 * Step);
                Assert.True(Math.Abs(expected - gradient[i]) <= 1e-8 + 1e-7 * Math.Abs(expected), $"leaf {which}, element {i}: {gradient[i]:G10}, by differences {expected:G10}");
            }

            double Value(double[] values)
            {
                using var inner = new TensorScope();
                Tensor[] copies = [.. leaves];
                copies[which] = Tensor.From(values.AsSpan(), leaves[which].Shape);
                return function(copies).ToDouble();
            }
        }
    }

    private static Tensor Draw(ulong seed, params long[] shape)
    {
        using var random = new RandomState(seed);
        return Tensor.Empty(shape, DType.Float64).NormalInPlace(0, 1, random);
    }

    private static Tensor Leaf(params double[] values)
    {
        Tensor leaf = Tensor.From(values);
        leaf.RequiresGrad = true;
        return leaf;
    }

    private static Tensor Matrix(long rows, long columns, params double[] values)
    {
        Tensor leaf = Tensor.From(values, rows, columns);
        leaf.RequiresGrad = true;
        return leaf;
    }

    private static void Equal(double[] expected, Tensor? actual)
    {
        Assert.NotNull(actual);
        double[] values = actual.ToArray<double>();
        Assert.Equal(expected.Length, values.Length);
        for (int i = 0; i < values.Length; i++) Assert.Equal(expected[i], values[i], 1e-12);
    }
}
