namespace Permafrost.Torch.Tests;

/// <summary>Arithmetic on numbers small enough to check by hand.</summary>
public class TensorMathTests : IDisposable
{
    private readonly TensorScope scope = new();
    private readonly Tensor a = Tensor.From([1f, -2, 3, -4], 2, 2);
    private readonly Tensor b = Tensor.From([5f, 6, 7, 8], 2, 2);

    public void Dispose()
    {
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void The_four_operations_work_element_by_element()
    {
        Equal([6, 4, 10, 4], a + b);
        Equal([-4, -8, -4, -12], a - b);
        Equal([5, -12, 21, -32], a * b);
        Equal([5, -3, 7f / 3, -2], b / a);
        Equal([2.5f, -0.5f, 4.5f, -2.5f], a + 1.5);
        Equal([-0.5f, -3.5f, 1.5f, -5.5f], a - 1.5);
        Equal([2, -4, 6, -8], a * 2);
        Equal([0.5f, -1, 1.5f, -2], a / 2);
        Equal([-1, 2, -3, 4], -a);
    }

    [Fact]
    public void A_row_is_broadcast_over_the_rows() => Equal([11, 18, 13, 16], a + Tensor.From([10f, 20]));

    [Fact]
    public void In_place_operations_change_the_tensor_and_return_it()
    {
        Assert.Same(a, a.AddInPlace(b, 10));
        Equal([51, 58, 73, 76], a);
        Assert.Same(a, a.MulInPlace(0.5));
        Equal([25.5f, 29, 36.5f, 38], a);
        Assert.Same(a, a.FillInPlace(3));
        Equal([3, 3, 3, 3], a);
        a.CopyInPlace(Tensor.From([1L, 2]));  // converted and broadcast
        Equal([1, 2, 1, 2], a);
    }

    [Fact]
    public void Elementwise_functions_are_those_of_mathematics()
    {
        Equal([2, 3], Tensor.From([4f, 9]).Sqrt());
        Equal([1, MathF.E], Tensor.From([0f, 1]).Exp());
        Equal([0, 1], Tensor.From([1f, MathF.E]).Log());
        Equal([1, 2, 3, 4], a.Abs());
        Equal([1, -1, 1, -1], a.Sign());
        Equal([5, 6, 7, 8], a.Maximum(b));
    }

    [Fact]
    public void Reductions_run_over_everything_or_one_dimension()
    {
        Assert.Equal(-2, a.Sum().ToDouble());
        Equal([4, -6], a.Sum(0));
        Equal([-1, -1], a.Sum(1));
        Assert.Equal([2, 1], a.Sum(1, keepDimension: true).Shape);
        Assert.Equal(-0.5, a.Mean().ToDouble());
        Equal([2, -3], a.Mean(0));
        Equal([-0.5f, -0.5f], a.Mean(-1));
        Assert.Equal((3, -4), (a.Max().ToDouble(), a.Min().ToDouble()));
        Assert.Equal([0L, 0], a.Argmax(1).ToArray<long>());
        Assert.Equal([1L, 0], a.Argmax(0).ToArray<long>());
        Equal([1, -1, 3, -1], a.CumulativeSum(1));
    }

    [Fact]
    public void Deviation_and_norm_follow_their_definitions()
    {
        Tensor values = Tensor.From([2f, 4, 4, 4, 5, 5, 7, 9]);  // mean 5, squared deviations sum to 32
        Assert.Equal(2, values.Std(unbiased: false).ToDouble(), 6);
        Assert.Equal(Math.Sqrt(32.0 / 7), values.Std().ToDouble(), 6);
        Tensor sides = Tensor.From([3f, -4]);
        Assert.Equal(5, sides.Norm().ToDouble(), 6);
        Assert.Equal(7, sides.Norm(1).ToDouble(), 6);
        Assert.Equal(4, sides.Norm(double.PositiveInfinity).ToDouble(), 6);
    }

    [Fact]
    public void Comparisons_give_flags()
    {
        Assert.Equal([false, false, true, false], a.Eq(3).ToArray<bool>());
        Assert.Equal([true, true, false, true], a.Ne(3).ToArray<bool>());
        Assert.Equal([true, false, false, false], a.Eq(Tensor.From([1f, 0, 0, 0], 2, 2)).ToArray<bool>());
        Equal([1, 6, 3, 8], a.Where(a.Eq(a.Abs()), b));
        Equal([1, 9, 3, 9], a.MaskedFill(Tensor.From([false, true, false, true], 2, 2), 9));
    }

    [Fact]
    public void Matrix_products_sum_over_the_inner_dimension()
    {
        // [[1, -2], [3, -4]] [[5, 6], [7, 8]]
        Equal([-9, -10, -13, -14], a.Matmul(b));
        Equal([1, 10, -3, 6], Tensor.Addmm(Tensor.From([10f, 20]), a, b));
        Equal([-9, -10, -13, -14], a.Unsqueeze(0).Bmm(b.Unsqueeze(0)));
        Equal([-17, -19, -25, -27], Tensor.Baddbmm(Tensor.Ones([1]), a.Unsqueeze(0), b.Unsqueeze(0), beta: 1, alpha: 2));
        Assert.Equal([1f, -4], a.Diagonal().ToArray<float>());
    }

    [Fact]
    public void With_beta_zero_neither_the_addend_nor_what_memory_held_before_is_looked_at()
    {
        // libtorch before 2.1 multiplies the uninitialised result by 0, which leaves a NaN a NaN; freed NaNs make that sure to show.
        (Tensor addend, Tensor ones) = (Tensor.Full([1], double.NaN), Tensor.Ones([1, 4, 4]));
        for (int round = 0; round < 1000; round++)
        {
            Tensor.Full([1, 4, 4], double.NaN).Dispose();
            Assert.True(Tensor.Baddbmm(addend, ones, ones, beta: 0, alpha: 2).ValuesEqual(ones * 8), $"round {round}");
        }
    }

    [Fact]
    public void Integers_stay_integers_beside_whole_numbers()
    {
        // As in Python; ids and positions would otherwise turn into floats.
        Tensor ids = Tensor.From([1L, 2]);
        Assert.Equal([3L, 4], (ids + 2).ToArray<long>());
        Assert.Equal([-1L, 0], (ids - 2).ToArray<long>());
        Assert.Equal([3L, 6], (ids * 3).ToArray<long>());
        Assert.Equal([1.5f, 2.5f], (ids + 0.5).ToArray<float>());
        Assert.Equal(DType.Float32, (ids / 1).DType);  // true division
        Assert.Equal(DType.Float32, (Tensor.From([1f]) + 2).DType);
    }

    [Fact]
    public void QR_gives_an_orthogonal_and_an_upper_triangular_factor()
    {
        (Tensor q, Tensor r) = a.Qr();
        Equal([1, -2, 3, -4], q.Matmul(r));
        Equal([1, 0, 0, 1], q.Transpose(0, 1).Matmul(q));
        Assert.Equal(0, r.ToArray<float>()[2], 6);
    }

    [Theory]
    [InlineData(float.NaN, false)]
    [InlineData(float.PositiveInfinity, false)]
    [InlineData(float.NegativeInfinity, false)]
    [InlineData(float.MaxValue, true)]
    public void AllFinite_sees_one_bad_value_among_many(float value, bool finite)
    {
        var values = new float[1000];
        values[617] = value;
        Assert.Equal(finite, Tensor.From(values).AllFinite());
    }

    [Fact]
    public void AllFinite_holds_for_integers_and_for_nothing()
    {
        Assert.True(Tensor.From([long.MinValue, long.MaxValue]).AllFinite());
        Assert.True(Tensor.Zeros([0]).AllFinite());
    }

    [Fact]
    public void ValuesEqual_compares_shapes_and_values()
    {
        Assert.True(a.ValuesEqual(a.Clone()));
        Assert.True(a.ValuesEqual(a.Transpose(0, 1).Contiguous().Transpose(0, 1)));
        Assert.False(a.ValuesEqual(b));
        Assert.False(a.ValuesEqual(a.View(4)));
        Assert.False(a.ValuesEqual(Tensor.From([1f, -2, 3, -4.000001f], 2, 2)));
        Assert.True(Tensor.Zeros([0, 3]).ValuesEqual(Tensor.Ones([0, 3])));
        // As in IEEE 754, NaN equals nothing.
        Assert.False(Tensor.Scalar(float.NaN).ValuesEqual(Tensor.Scalar(float.NaN)));
    }

    private static void Equal(float[] expected, Tensor actual)
    {
        float[] values = actual.ToArray<float>();
        Assert.Equal(expected.Length, values.Length);
        for (int i = 0; i < values.Length; i++) Assert.Equal(expected[i], values[i], 1e-5f);
    }
}
