namespace Permafrost.Torch.Tests;

/// <summary>
/// Kernels read memory as it lies: what does not fit must end in a <see cref="TorchException"/> that says what is wrong, never in a crash, whatever the set.
/// </summary>
[Collection(ProcessWide.Name)]
public class FusedRefusalTests : IDisposable
{
    private readonly TensorScope scope = new();

    public static TheoryData<string> Sets => KernelSets.All;

    private static Tensor X => Tensor.Ones([2, 7, 33]);

    private static Tensor Weight => Tensor.Ones([33, 50]);

    private static Tensor Rows => Tensor.Ones([33]);

    private static Tensor Q => Tensor.Ones([2, 7, 24]);

    private static Tensor K => Tensor.Ones([2, 9, 24]);

    public void Dispose()
    {
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Linear_maps_that_do_not_fit(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        foreach ((long first, long count) in new[] { (-1L, 2L), (0, 51), (50, 1), (0, 0), (2, -1), (1, long.MaxValue) })
            Refused("are not among 50", () => X.FusedLinearPart(Weight, null, 50, first, count, DType.Float32));
        Refused("the weight is not (33, 51)", () => X.FusedLinearPart(Weight, null, 51, 0, 2, DType.Float32));
        Refused("the bias must be 50 numbers in a row", () => X.FusedLinearPart(Weight, Tensor.Ones([51]), 50, 0, 2, DType.Float32));
        Refused("does not belong to 33 inputs", () => X.FusedLinearPart(Tensor.Ones([48], DType.BFloat16), null, 50, 0, 2, DType.Float32));
        Refused("the weight is not (33, 50)", () => X.FusedLinear(Tensor.Ones([34, 50]), null, 50, "none", DType.Float32));
        Refused("the weight is not (33, 51)", () => X.FusedLinear(Weight, null, 51, "none", DType.Float32));
        Refused("the weight is not", () => X.FusedLinear(Tensor.Ones([1, 33, 50]), null, 50, "none", DType.Float32));
        Refused("the weight must be floating-point numbers, not Long", () => X.FusedLinear(Tensor.Ones([33, 50], DType.Int64), null, 50, "none", DType.Float32));
        Refused("the bias must be 50 numbers in a row", () => X.FusedLinear(Weight, Tensor.Ones([49]), 50, "none", DType.Float32));
        Refused("the bias must be 50 numbers in a row", () => X.FusedLinear(Weight, Tensor.Ones([1, 50]), 50, "none", DType.Float32));
        Refused("the bias must be 50 numbers in a row", () => X.FusedLinear(Weight, Tensor.Ones([50, 2]).Select(1, 0), 50, "none", DType.Float32));
        Refused("the bias must be 50 numbers in a row", () => X.FusedLinear(Weight, Tensor.Ones([1]).Expand(50), 50, "none", DType.Float32));
        Refused("the bias must be floating-point numbers, not Long", () => X.FusedLinear(Weight, Tensor.Ones([50], DType.Int64), 50, "none", DType.Float32));
        if (set != "composed") Refused("Float", () => X.FusedLinear(Weight, Tensor.Ones([50], DType.Float64), 50, "none", DType.Float32));
        Refused("at least one dimension", () => Tensor.Scalar(1f).FusedLinear(Weight, null, 50, "none", DType.Float32));
        Refused("at least one number", () => Tensor.Ones([2, 0]).FusedLinear(Tensor.Ones([0, 50]), null, 50, "none", DType.Float32));
        Refused("at least one number", () => X.FusedLinear(Tensor.Ones([33, 0]), null, 0, "none", DType.Float32));
        Refused("at least one number", () => X.FusedLinear(Weight, null, -50, "none", DType.Float32));
        Refused("the input must be floating-point numbers, not Long", () => Tensor.Ones([2, 33], DType.Int64).FusedLinear(Weight, null, 50, "none", DType.Float32));
        Refused("the input must be floating-point numbers, not Bool", () => Tensor.Ones([2, 33], DType.Bool).FusedLinear(Weight, null, 50, "none", DType.Float32));
        Refused("the result must be floating-point numbers, not Long", () => X.FusedLinear(Weight, null, 50, "none", DType.Int64));
        Refused("the activation 'swish' is none of", () => X.FusedLinear(Weight, null, 50, "swish", DType.Float32));
        // Types without a kernel go through libtorch's own operators.
        Assert.Equal(DType.Float64, X.FusedLinear(Weight, null, 50, "gelu", DType.Float64).DType);
        Assert.Equal(33, X.To(DType.Float64).FusedLinear(Weight.To(DType.Float64), null, 50, "none", DType.Float32).Max().ToDouble());
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Packed_weights_that_do_not_fit(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor bare = Tensor.Ones([48 * 64], DType.BFloat16);  // what a packed (33, 50) has
        if (!KernelSets.Multiplying.Contains(set))
        {
            Refused("multiplies bfloat16", () => X.FusedLinear(bare, null, 50, "none", DType.Float32));
            Refused("multiplies bfloat16", () => Weight.Pack());
            Refused("no bfloat16 products", () => bare.Unpack(33, 50));
            return;
        }
        Assert.Equal(48 * 64, Weight.Pack().Elements);
        Refused("does not belong to 33 inputs and 50 outputs", () => X.FusedLinear(Tensor.Ones([48 * 64 - 1], DType.BFloat16), null, 50, "none", DType.Float32));
        Refused("does not belong to 33 inputs and 500 outputs", () => X.FusedLinear(bare, null, 500, "none", DType.Float32));
        Refused("does not belong to 49 inputs", () => Tensor.Ones([2, 49]).FusedLinear(bare, null, 50, "none", DType.Float32));
        Refused("does not belong to", () => X.FusedLinear(bare.To(DType.Float32), null, 50, "none", DType.Float32));
        Refused("does not belong to", () => X.FusedLinear(Tensor.Ones([48 * 64, 2], DType.BFloat16).Select(1, 0), null, 50, "none", DType.Float32));
        Refused("at least one number", () => X.FusedLinear(Tensor.Ones([0], DType.BFloat16), null, 0, "none", DType.Float32));
        Refused("the bias must be 50 numbers in a row", () => X.FusedLinear(bare, Tensor.Ones([51]), 50, "none", DType.Float32));
        Refused("the input must be floating-point numbers, not Long", () => X.To(DType.Int64).FusedLinear(bare, null, 50, "none", DType.Float32));
        Refused("does not belong to 33 inputs and 500 outputs", () => bare.Unpack(33, 500));
        Refused("does not belong to", () => bare.Unpack(-33, -50));
        Refused("does not belong to", () => bare.To(DType.Float32).Unpack(33, 50));
        Refused("a float32 matrix", () => X.Pack());
        Refused("a float32 matrix", () => Weight.To(DType.BFloat16).Pack());
        Refused("a float32 matrix", () => Tensor.Ones([0, 5]).Pack());
        Assert.Equal(DType.Float64, X.FusedLinear(bare, null, 50, "gelu", DType.Float64).DType);
    }

    [Fact]
    public void Packed_weights_cannot_go_back_under_a_set_that_does_not_know_them()
    {
        if (KernelSets.Multiplying.Length == 0) return;
        Tensor x = X;
        x.RequiresGrad = true;
        Tensor y;
        using (KernelSets.Use(KernelSets.Multiplying[0])) y = x.FusedLinear(Weight.Pack(), null, 50, "none", DType.Float32).Sum();
        using (KernelSets.Use("portable")) Refused("the kernels 'portable' do not", () => y.Backward());
        // Nor gradients of weights that were packed for a step only.
        Tensor weight = Weight;
        weight.RequiresGrad = true;
        using (KernelSets.Use(KernelSets.Multiplying[0])) y = X.FusedLinear(weight, null, 50, "none", DType.BFloat16).Sum();
        using (KernelSets.Use("portable")) Refused("the kernels 'portable' do not", () => y.Backward());
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Norms_that_do_not_fit(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Refused("the gain has the shape [32]", () => X.FusedNorm(Tensor.Ones([32]), Rows, 1e-5, DType.Float32));
        Refused("the bias has the shape [34]", () => X.FusedNorm(Rows, Tensor.Ones([34]), 1e-5, DType.Float32));
        Refused("the gain has the shape [1, 33]", () => X.FusedNorm(Tensor.Ones([1, 33]), Rows, 1e-5, DType.Float32));
        Refused("the gain must be floating-point numbers, not Long", () => X.FusedNorm(Tensor.Ones([33], DType.Int64), Rows, 1e-5, DType.Float32));
        Refused("the input must be floating-point numbers, not Long", () => X.To(DType.Int64).FusedNorm(Rows, Rows, 1e-5, DType.Float32));
        Refused("the result must be floating-point numbers, not Int", () => X.FusedNorm(Rows, Rows, 1e-5, DType.Int32));
        Refused("at least one dimension", () => Tensor.Scalar(1f).FusedNorm(Rows, Rows, 1e-5, DType.Float32));
        Refused("what is added has the shape [2, 7, 32], the stream [2, 7, 33]", () => X.ResidualNorm(Tensor.Ones([2, 7, 32]), Rows, Rows, 1e-5, 0, DType.Float32));
        Refused("what is added has the shape", () => X.ResidualNorm(Tensor.Ones([33]), Rows, Rows, 1e-5, 0, DType.Float32));
        Refused("what is added must be floating-point numbers, not Long", () => X.ResidualNorm(X.To(DType.Int64), Rows, Rows, 1e-5, 0, DType.Float32));
        Refused("the bias has the shape [50]", () => X.ResidualNorm(X, Rows, Tensor.Ones([50]), 1e-5, 0, DType.Float32));
        foreach (double p in new[] { -0.1, 1.5, double.NaN }) Refused("probability", () => X.ResidualNorm(X, Rows, Rows, 1e-5, p, DType.Float32));
        Assert.Equal(DType.Float64, X.FusedNorm(Rows, Rows, 1e-5, DType.Float64).DType);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Attention_that_does_not_fit(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor Positions(long first, long last) => Tensor.From([first, .. Enumerable.Repeat(0L, 12), last], 2, 7);
        void Cross(string expected, Tensor? q = null, Tensor? k = null, Tensor? v = null, long heads = 3, Tensor? positions = null, Tensor? mask = null, double p = 0) =>
            Refused(expected, () => (q ?? Q).CrossAttention(k ?? K, v ?? k ?? K, heads, 0.5, causal: true, positions, mask, p));

        Cross("24 numbers cannot be shared by 5 heads", heads: 5);
        Cross("cannot be shared by 0 heads", heads: 0);
        Cross("cannot be shared by -3 heads", heads: -3);
        Cross("do not belong together", q: Tensor.Ones([3, 7, 24]));
        Cross("do not belong together", q: Tensor.Ones([2, 7, 48]));
        Cross("do not belong together", q: Tensor.Ones([7, 24]));
        Cross("do not belong together", q: Tensor.Scalar(1f));
        Cross("do not belong together", v: Tensor.Ones([2, 8, 24]));
        Cross("queries are Float, keys BFloat16", k: K.To(DType.BFloat16));
        Cross("queries are Float, keys Float and values BFloat16", v: K.To(DType.BFloat16));
        Cross("must be floating-point numbers, not Long", q: Q.To(DType.Int64), k: K.To(DType.Int64));
        Cross("positions must be int64", positions: Tensor.Zeros([2, 7], DType.Int32));
        Cross("positions must be int64", positions: Tensor.Zeros([2, 7]));
        Cross("positions must be int64", positions: Tensor.Zeros([2, 8], DType.Int64));
        Cross("positions must be int64", positions: Tensor.Zeros([7], DType.Int64));
        Cross("positions from -1 to 8 are not all among the 9 keys", positions: Positions(-1, 8));
        Cross("positions from 0 to 9 are not all among the 9 keys", positions: Positions(0, 9));
        Cross("are not all among the 9 keys", positions: Positions(long.MaxValue, long.MinValue));
        Cross("the key mask must be (batch, keys), not [2, 7]", mask: Tensor.Ones([2, 7]));
        Cross("the key mask must be", mask: Tensor.Ones([2, 1, 1, 9]));
        foreach (double p in new[] { -0.1, 1.5, double.NaN }) Cross("probability", p: p);
        Q.CrossAttention(K, K, 3, 0.5, causal: true, Positions(8, 0), null, 0);

        Refused("3 * width", () => Q.Narrow(2, 0, 23).SelfAttention(1, 0.5, causal: true, null, 0));
        Refused("3 * width", () => Tensor.Scalar(1f).SelfAttention(1, 0.5, causal: true, null, 0));
        Refused("8 numbers cannot be shared by 3 heads", () => Q.SelfAttention(3, 0.5, causal: true, null, 0));
        Refused("must be floating-point numbers, not Long", () => Q.To(DType.Int64).SelfAttention(2, 0.5, causal: true, null, 0));
        Refused("the key mask must be", () => Q.SelfAttention(2, 0.5, causal: true, Tensor.Ones([2, 8]), 0));
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Dropout_that_cannot_be(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        var dropout = new Operator("permafrost::dropout");
        foreach (double p in new[] { -0.1, 1.5, double.NaN }) Refused("probability", () => dropout.Call(X, p));
        Refused("the input must be floating-point numbers, not Long", () => dropout.Call(X.To(DType.Int64), 0.5));
    }

    [Fact]
    public void A_set_that_does_not_exist_is_refused_and_changes_nothing()
    {
        string before = Kernels.Name;
        Assert.Contains(string.Join(", ", Kernels.Available), Assert.Throws<ArgumentException>(() => Kernels.Select("sse9")).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => Kernels.Select(""));
        Assert.Equal(before, Kernels.Name);
        Assert.Equal("composed", Kernels.Available[^1]);
        Assert.Contains("portable", Kernels.Available);
        foreach (string set in Kernels.Available)
        {
            using IDisposable _ = KernelSets.Use(set);
            Assert.Equal(set, Kernels.Name);
            Assert.Equal(KernelSets.Multiplying.Contains(set), Kernels.MultiplyBFloat16);
        }
        Assert.Equal(before, Kernels.Name);
    }

    private static void Refused(string expected, Action action)
    {
        var error = Assert.Throws<TorchException>(action);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("\n", error.Reason, StringComparison.Ordinal);
    }
}
