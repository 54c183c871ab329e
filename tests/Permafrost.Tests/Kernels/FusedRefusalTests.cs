using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>
/// Kernels read memory as it lies: what does not fit must end in an exception that says what is wrong, never in a crash, whatever the set.
/// </summary>
[Collection(ProcessWide.Name)]
public class FusedRefusalTests : IDisposable
{
    private const ulong Key = 0x9d8f3c0152a6b7e4;

    private readonly DisposeScope scope = torch.NewDisposeScope();

    public static TheoryData<string> Sets => KernelSets.All;

    private static Tensor X => torch.ones([2, 7, 33]);

    private static Tensor Weight => torch.ones([33, 50]);

    private static Tensor Rows => torch.ones([33]);

    private static Tensor Q => torch.ones([2, 7, 24]);

    private static Tensor K => torch.ones([2, 9, 24]);

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
            Refused("are not among 50", () => X.FusedLinearPart(Weight, null, 50, first, count, ScalarType.Float32));
        Refused("not (33, 51)", () => X.FusedLinearPart(Weight, null, 51, 0, 2, ScalarType.Float32));
        Refused("it must be 50 numbers in a row", () => X.FusedLinearPart(Weight, torch.ones([51]), 50, 0, 2, ScalarType.Float32));
        Refused("does not belong to 33 inputs", () => X.FusedLinearPart(torch.ones([48], ScalarType.BFloat16), null, 50, 0, 2, ScalarType.Float32));
        Refused("not (33, 50)", () => X.FusedLinear(torch.ones([34, 50]), null, 50, FusedActivation.None, ScalarType.Float32));
        Refused("not (33, 51)", () => X.FusedLinear(Weight, null, 51, FusedActivation.None, ScalarType.Float32));
        Refused("the weight is Float32[1, 33, 50], not (33, 50)", () => X.FusedLinear(torch.ones([1, 33, 50]), null, 50, FusedActivation.None, ScalarType.Float32));
        Refused("the weight must be floating-point numbers, not Int64", () => X.FusedLinear(torch.ones([33, 50], ScalarType.Int64), null, 50, FusedActivation.None, ScalarType.Float32));
        Refused("it must be 50 numbers in a row", () => X.FusedLinear(Weight, torch.ones([49]), 50, FusedActivation.None, ScalarType.Float32));
        Refused("it must be 50 numbers in a row", () => X.FusedLinear(Weight, torch.ones([1, 50]), 50, FusedActivation.None, ScalarType.Float32));
        Refused("it must be 50 numbers in a row", () => X.FusedLinear(Weight, torch.ones([50, 2]).select(1, 0), 50, FusedActivation.None, ScalarType.Float32));
        Refused("it must be 50 numbers in a row", () => X.FusedLinear(Weight, torch.ones([1]).expand(50), 50, FusedActivation.None, ScalarType.Float32));
        Refused("the bias must be floating-point numbers, not Int64", () => X.FusedLinear(Weight, torch.ones([50], ScalarType.Int64), 50, FusedActivation.None, ScalarType.Float32));
        Refused("at least one dimension", () => Tensors.Scalar(1f).FusedLinear(Weight, null, 50, FusedActivation.None, ScalarType.Float32));
        Refused("at least one number", () => torch.ones([2, 0]).FusedLinear(torch.ones([0, 50]), null, 50, FusedActivation.None, ScalarType.Float32));
        Refused("at least one number", () => X.FusedLinear(torch.ones([33, 0]), null, 0, FusedActivation.None, ScalarType.Float32));
        Refused("at least one number", () => X.FusedLinear(Weight, null, -50, FusedActivation.None, ScalarType.Float32));
        Refused("the input must be floating-point numbers, not Int64", () => torch.ones([2, 33], ScalarType.Int64).FusedLinear(Weight, null, 50, FusedActivation.None, ScalarType.Float32));
        Refused("the input must be floating-point numbers, not Bool", () => torch.ones([2, 33], ScalarType.Bool).FusedLinear(Weight, null, 50, FusedActivation.None, ScalarType.Float32));
        Refused("the result must be floating-point numbers, not Int64", () => X.FusedLinear(Weight, null, 50, FusedActivation.None, ScalarType.Int64));
        Refused("is not an activation", () => X.FusedLinear(Weight, null, 50, (FusedActivation)11, ScalarType.Float32));
        Refused("is not an activation", () => X.FusedLinear(Weight, null, 50, (FusedActivation)(-1), ScalarType.Float32));
        // Types without a kernel go through libtorch's own operators.
        Assert.Equal(ScalarType.Float64, X.FusedLinear(Weight, null, 50, FusedActivation.Gelu, ScalarType.Float64).dtype);
        Assert.Equal(ScalarType.Float32, X.FusedLinear(Weight, torch.ones([50], ScalarType.Float64), 50, FusedActivation.None, ScalarType.Float32).dtype);
        Assert.Equal(33, X.to(ScalarType.Float64).FusedLinear(Weight.to(ScalarType.Float64), null, 50, FusedActivation.None, ScalarType.Float32).max().Number());
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Packed_weights_that_do_not_fit(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor bare = torch.ones([48 * 64], ScalarType.BFloat16);  // what a packed (33, 50) has
        if (!KernelSets.Multiplying.Contains(set))
        {
            Unable("no bfloat16 products", () => X.FusedLinear(bare, null, 50, FusedActivation.None, ScalarType.Float32));
            Unable("multiplies bfloat16", () => Weight.Pack());
            Unable("no bfloat16 products", () => bare.Unpack(33, 50));
            return;
        }
        Assert.Equal(48 * 64, Weight.Pack().NumberOfElements);
        Refused("does not belong to 33 inputs and 50 outputs", () => X.FusedLinear(torch.ones([48 * 64 - 1], ScalarType.BFloat16), null, 50, FusedActivation.None, ScalarType.Float32));
        Refused("does not belong to 33 inputs and 500 outputs", () => X.FusedLinear(bare, null, 500, FusedActivation.None, ScalarType.Float32));
        Refused("does not belong to 49 inputs", () => torch.ones([2, 49]).FusedLinear(bare, null, 50, FusedActivation.None, ScalarType.Float32));
        Refused("does not belong to", () => X.FusedLinear(bare.to(ScalarType.Float32), null, 50, FusedActivation.None, ScalarType.Float32));
        Refused("does not belong to", () => X.FusedLinear(torch.ones([48 * 64, 2], ScalarType.BFloat16).select(1, 0), null, 50, FusedActivation.None, ScalarType.Float32));
        Refused("at least one number", () => X.FusedLinear(torch.ones([0], ScalarType.BFloat16), null, 0, FusedActivation.None, ScalarType.Float32));
        Refused("it must be 50 numbers in a row", () => X.FusedLinear(bare, torch.ones([51]), 50, FusedActivation.None, ScalarType.Float32));
        Refused("the input must be floating-point numbers, not Int64", () => X.to(ScalarType.Int64).FusedLinear(bare, null, 50, FusedActivation.None, ScalarType.Float32));
        Refused("does not belong to 33 inputs and 500 outputs", () => bare.Unpack(33, 500));
        Refused("does not belong to", () => bare.Unpack(-33, -50));
        Refused("does not belong to", () => bare.to(ScalarType.Float32).Unpack(33, 50));
        Refused("a float32 matrix on the CPU can", () => X.Pack());
        Refused("a float32 matrix on the CPU can", () => Weight.to(ScalarType.BFloat16).Pack());
        Refused("a float32 matrix on the CPU can", () => torch.ones([0, 5]).Pack());
        Assert.Equal(ScalarType.Float64, X.FusedLinear(bare, null, 50, FusedActivation.Gelu, ScalarType.Float64).dtype);
    }

    [Fact]
    public void Packed_weights_cannot_go_back_under_a_set_that_does_not_know_them()
    {
        if (KernelSets.Multiplying.Length == 0) return;
        Tensor x = X;
        x.requires_grad = true;
        Tensor y;
        using (KernelSets.Use(KernelSets.Multiplying[0])) y = x.FusedLinear(Weight.Pack(), null, 50, FusedActivation.None, ScalarType.Float32).sum();
        using (KernelSets.Use("portable")) Unable("multiplies bfloat16", () => Segment.Backward(y));
        // Nor gradients of weights that were packed for a step only.
        Tensor weight = Weight;
        weight.requires_grad = true;
        using (KernelSets.Use(KernelSets.Multiplying[0])) y = X.FusedLinear(weight, null, 50, FusedActivation.None, ScalarType.BFloat16).sum();
        using (KernelSets.Use("portable")) Unable("multiplies bfloat16", () => Segment.Backward(y));
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Norms_that_do_not_fit(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Refused("the gain is Float32[32], and a row has 33 numbers", () => X.FusedNorm(torch.ones([32]), Rows, 1e-5, ScalarType.Float32));
        Refused("the bias is Float32[34], and a row has 33 numbers", () => X.FusedNorm(Rows, torch.ones([34]), 1e-5, ScalarType.Float32));
        Refused("the gain is Float32[1, 33], and a row has 33 numbers", () => X.FusedNorm(torch.ones([1, 33]), Rows, 1e-5, ScalarType.Float32));
        Refused("the gain must be floating-point numbers, not Int64", () => X.FusedNorm(torch.ones([33], ScalarType.Int64), Rows, 1e-5, ScalarType.Float32));
        Refused("the input must be floating-point numbers, not Int64", () => X.to(ScalarType.Int64).FusedNorm(Rows, Rows, 1e-5, ScalarType.Float32));
        Refused("the result must be floating-point numbers, not Int32", () => X.FusedNorm(Rows, Rows, 1e-5, ScalarType.Int32));
        Refused("at least one dimension", () => Tensors.Scalar(1f).FusedNorm(Rows, Rows, 1e-5, ScalarType.Float32));
        Refused("what is added is Float32[2, 7, 32], the stream Float32[2, 7, 33]", () => X.ResidualNorm(torch.ones([2, 7, 32]), Rows, Rows, 1e-5, DropoutDraw.None, ScalarType.Float32));
        Refused("what is added is Float32[33]", () => X.ResidualNorm(torch.ones([33]), Rows, Rows, 1e-5, DropoutDraw.None, ScalarType.Float32));
        Refused("what is added must be floating-point numbers, not Int64", () => X.ResidualNorm(X.to(ScalarType.Int64), Rows, Rows, 1e-5, DropoutDraw.None, ScalarType.Float32));
        Refused("the bias is Float32[50], and a row has 33 numbers", () => X.ResidualNorm(X, Rows, torch.ones([50]), 1e-5, DropoutDraw.None, ScalarType.Float32));
        foreach (double p in new[] { -0.1, 1.5, double.NaN }) Refused("probability", () => X.ResidualNorm(X, Rows, Rows, 1e-5, new DropoutDraw(p, Key), ScalarType.Float32));
        Assert.Equal(ScalarType.Float64, X.FusedNorm(Rows, Rows, 1e-5, ScalarType.Float64).dtype);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Attention_that_does_not_fit(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor Positions(long first, long last) => Tensors.From([first, .. Enumerable.Repeat(0L, 12), last], 2, 7);
        void Cross(string expected, Tensor? q = null, Tensor? k = null, Tensor? v = null, long heads = 3, Tensor? positions = null, Tensor? mask = null, double p = 0) =>
            Refused(expected, () => (q ?? Q).CrossAttention(k ?? K, v ?? k ?? K, new(heads, 0.5, Causal: true, Positions: positions, KeyMask: mask, Dropout: new DropoutDraw(p, Key))));

        Cross("24 numbers cannot be shared by 5 heads", heads: 5);
        Cross("cannot be shared by 0 heads", heads: 0);
        Cross("cannot be shared by -3 heads", heads: -3);
        Cross("do not belong together", q: torch.ones([3, 7, 24]));
        Cross("do not belong together", q: torch.ones([2, 7, 48]));
        Cross("do not belong together", q: torch.ones([7, 24]));
        Cross("do not belong together", q: Tensors.Scalar(1f));
        Cross("do not belong together", v: torch.ones([2, 8, 24]));
        Cross("queries are Float32, keys BFloat16", k: K.to(ScalarType.BFloat16));
        Cross("keys are Float32, values BFloat16", v: K.to(ScalarType.BFloat16));
        Cross("must be floating-point numbers, not Int64", q: Q.to(ScalarType.Int64), k: K.to(ScalarType.Int64));
        Cross("positions must be int64", positions: torch.zeros([2, 7], ScalarType.Int32));
        Cross("positions must be int64", positions: torch.zeros([2, 7]));
        Cross("positions must be int64", positions: torch.zeros([2, 8], ScalarType.Int64));
        Cross("positions must be int64", positions: torch.zeros([7], ScalarType.Int64));
        Cross("positions from -1 to 8 are not all among the 9 keys", positions: Positions(-1, 8));
        Cross("positions from 0 to 9 are not all among the 9 keys", positions: Positions(0, 9));
        Cross("are not all among the 9 keys", positions: Positions(long.MaxValue, long.MinValue));
        Cross("the key mask must be (batch, keys), not Float32[2, 7]", mask: torch.ones([2, 7]));
        Cross("the key mask must be", mask: torch.ones([2, 1, 1, 9]));
        foreach (double p in new[] { -0.1, 1.5, double.NaN }) Cross("probability", p: p);
        Q.CrossAttention(K, K, new(3, 0.5, Causal: true, Positions: Positions(8, 0)));

        Refused("3 * width", () => Q.narrow(2, 0, 23).SelfAttention(new(1, 0.5, Causal: true)));
        Refused("3 * width", () => Tensors.Scalar(1f).SelfAttention(new(1, 0.5, Causal: true)));
        Refused("8 numbers cannot be shared by 3 heads", () => Q.SelfAttention(new(3, 0.5, Causal: true)));
        Refused("must be floating-point numbers, not Int64", () => Q.to(ScalarType.Int64).SelfAttention(new(2, 0.5, Causal: true)));
        Refused("the key mask must be", () => Q.SelfAttention(new(2, 0.5, Causal: true, KeyMask: torch.ones([2, 8]))));
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Dropout_that_cannot_be(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        foreach (double p in new[] { -0.1, 1, 1.5, double.NaN, 1 - 1e-12 }) Refused("probability", () => X.FusedDropout(new DropoutDraw(p, Key)));
        Refused("the input must be floating-point numbers, not Int64", () => X.to(ScalarType.Int64).FusedDropout(new DropoutDraw(0.5, Key)));
    }

    [Fact]
    public void A_set_that_does_not_exist_is_refused_and_changes_nothing()
    {
        string before = KernelSet.Name;
        Assert.Contains(string.Join(", ", KernelSet.Available), Assert.Throws<ArgumentException>(() => KernelSet.Select("sse9")).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => KernelSet.Select(""));
        Assert.Equal(before, KernelSet.Name);
        Assert.Equal(KernelSet.None, KernelSet.Available[^1]);
        Assert.Equal(KernelSet.LibraryPath is not null, KernelSet.Available.Contains("portable"));
        foreach (string set in KernelSet.Available)
        {
            using IDisposable _ = KernelSets.Use(set);
            Assert.Equal(set, KernelSet.Name);
            Assert.Equal(set != KernelSet.None && KernelSets.Multiplying.Contains(set), KernelSet.MultipliesBFloat16);
        }
        Assert.Equal(before, KernelSet.Name);
    }

    // What the caller did wrong, and what this processor or the set in use cannot do: one sentence each.
    private static void Refused(string expected, Action action) => OneSentence<ArgumentException>(expected, action);

    private static void Unable(string expected, Action action) => OneSentence<EngineException>(expected, action);

    private static void OneSentence<T>(string expected, Action action) where T : Exception
    {
        var error = Assert.Throws<T>(action);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("\n", error.Message, StringComparison.Ordinal);
    }
}
