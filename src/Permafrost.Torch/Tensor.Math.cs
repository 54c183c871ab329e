namespace Permafrost.Torch;

// Arithmetic, comparison, reduction, products.
public sealed partial class Tensor
{
    private static readonly Operator AddOp = new("aten::add", "Tensor");
    private static readonly Operator AddScalarOp = new("aten::add", "Scalar");
    private static readonly Operator SubOp = new("aten::sub", "Tensor");
    private static readonly Operator MulOp = new("aten::mul", "Tensor");
    private static readonly Operator MulScalarOp = new("aten::mul", "Scalar");
    private static readonly Operator DivOp = new("aten::div", "Tensor");
    private static readonly Operator DivScalarOp = new("aten::div", "Scalar");
    private static readonly Operator NegOp = new("aten::neg");
    private static readonly Operator AddInPlaceOp = new("aten::add_", "Tensor");
    private static readonly Operator MulInPlaceOp = new("aten::mul_", "Scalar");
    private static readonly Operator SqrtOp = new("aten::sqrt");
    private static readonly Operator ExpOp = new("aten::exp");
    private static readonly Operator LogOp = new("aten::log");
    private static readonly Operator AbsOp = new("aten::abs");
    private static readonly Operator SumOp = new("aten::sum");
    private static readonly Operator SumDimOp = new("aten::sum", "dim_IntList");
    private static readonly Operator MeanOp = new("aten::mean");
    private static readonly Operator MeanDimOp = new("aten::mean", "dim");
    private static readonly Operator StdOp = new("aten::std");
    private static readonly Operator MaxOp = new("aten::max");
    private static readonly Operator MinOp = new("aten::min");
    private static readonly Operator ArgmaxOp = new("aten::argmax");
    private static readonly Operator EqOp = new("aten::eq", "Tensor");
    private static readonly Operator EqScalarOp = new("aten::eq", "Scalar");
    private static readonly Operator NeScalarOp = new("aten::ne", "Scalar");
    private static readonly Operator AllOp = new("aten::all");
    private static readonly Operator IsFiniteOp = new("aten::isfinite");
    private static readonly Operator WhereOp = new("aten::where", "self");
    private static readonly Operator MaskedFillOp = new("aten::masked_fill", "Scalar");
    private static readonly Operator CumSumOp = new("aten::cumsum");
    private static readonly Operator MatmulOp = new("aten::matmul");
    private static readonly Operator BmmOp = new("aten::bmm");
    private static readonly Operator AddmmOp = new("aten::addmm");
    private static readonly Operator BaddbmmOp = new("aten::baddbmm");
    private static readonly Operator MaximumOp = new("aten::maximum");
    private static readonly Operator NormOp = new("aten::linalg_vector_norm");
    private static readonly Operator QrOp = new("aten::linalg_qr");
    private static readonly Operator SignOp = new("aten::sign");
    private static readonly Operator DiagonalOp = new("aten::diagonal");

    /// <summary>Elementwise sum.</summary>
    public static Tensor operator +(Tensor left, Tensor right) => AddOp.Call(left, right);

    /// <summary>Adds a number to every element.</summary>
    public static Tensor operator +(Tensor left, double right) => AddScalarOp.Call(left, Number(left, right));

    /// <summary>Elementwise difference.</summary>
    public static Tensor operator -(Tensor left, Tensor right) => SubOp.Call(left, right);

    /// <summary>Subtracts a number from every element.</summary>
    public static Tensor operator -(Tensor left, double right) => AddScalarOp.Call(left, Number(left, -right));

    /// <summary>Elementwise product.</summary>
    public static Tensor operator *(Tensor left, Tensor right) => MulOp.Call(left, right);

    /// <summary>Multiplies every element by a number.</summary>
    public static Tensor operator *(Tensor left, double right) => MulScalarOp.Call(left, Number(left, right));

    /// <summary>Elementwise quotient.</summary>
    public static Tensor operator /(Tensor left, Tensor right) => DivOp.Call(left, right);

    /// <summary>Divides every element by a number.</summary>
    public static Tensor operator /(Tensor left, double right) => DivScalarOp.Call(left, right);

    /// <summary>Changes every sign.</summary>
    public static Tensor operator -(Tensor tensor) => NegOp.Call(tensor);

    /// <summary>Adds <paramref name="scale"/> times another tensor, in place.</summary>
    public Tensor AddInPlace(Tensor other, double scale = 1) { AddInPlaceOp.Run(this, other, scale); return this; }

    /// <summary>Multiplies every element by a number, in place.</summary>
    public Tensor MulInPlace(double factor) { MulInPlaceOp.Run(this, factor); return this; }

    /// <summary>Elementwise square root.</summary>
    public Tensor Sqrt() => SqrtOp.Call(this);

    /// <summary>Elementwise exponential.</summary>
    public Tensor Exp() => ExpOp.Call(this);

    /// <summary>Elementwise natural logarithm.</summary>
    public Tensor Log() => LogOp.Call(this);

    /// <summary>Elementwise absolute value.</summary>
    public Tensor Abs() => AbsOp.Call(this);

    /// <summary>-1, 0 or 1 for each element.</summary>
    public Tensor Sign() => SignOp.Call(this);

    /// <summary>Sum of all elements.</summary>
    public Tensor Sum() => SumOp.Call(this);

    /// <summary>Sum along a dimension.</summary>
    public Tensor Sum(long dimension, bool keepDimension = false) => SumDimOp.Call(this, new[] { dimension }, keepDimension);

    /// <summary>Mean of all elements.</summary>
    public Tensor Mean() => MeanOp.Call(this);

    /// <summary>Mean along a dimension.</summary>
    public Tensor Mean(long dimension, bool keepDimension = false) => MeanDimOp.Call(this, new[] { dimension }, keepDimension);

    /// <summary>Standard deviation of all elements, with Bessel's correction (n - 1) unless told otherwise.</summary>
    public Tensor Std(bool unbiased = true) => StdOp.Call(this, unbiased);

    /// <summary>The largest element.</summary>
    public Tensor Max() => MaxOp.Call(this);

    /// <summary>The smallest element.</summary>
    public Tensor Min() => MinOp.Call(this);

    /// <summary>Index of the largest element along a dimension.</summary>
    public Tensor Argmax(long dimension) => ArgmaxOp.Call(this, dimension);

    /// <summary>Elementwise equality.</summary>
    public Tensor Eq(Tensor other) => EqOp.Call(this, other);

    /// <summary>Elementwise equality with a number.</summary>
    public Tensor Eq(double value) => EqScalarOp.Call(this, value);

    /// <summary>Elementwise inequality with a number.</summary>
    public Tensor Ne(double value) => NeScalarOp.Call(this, value);

    /// <summary>Whether every element is finite.</summary>
    public bool AllFinite()
    {
        using Tensor finite = IsFiniteOp.Call(this);
        using Tensor all = AllOp.Call(finite);
        return all.ToInt64() != 0;
    }

    /// <summary>Whether another tensor has the same shape and, element by element, the same values.</summary>
    public bool ValuesEqual(Tensor other)
    {
        if (!Shape.AsSpan().SequenceEqual(other.Shape)) return false;
        using Tensor same = EqOp.Call(this, other);
        using Tensor all = AllOp.Call(same);
        return all.ToInt64() != 0;
    }

    /// <summary>This tensor's elements where <paramref name="condition"/> holds, the other's elsewhere.</summary>
    public Tensor Where(Tensor condition, Tensor otherwise) => WhereOp.Call(condition, this, otherwise);

    /// <summary>A value wherever <paramref name="mask"/> holds.</summary>
    public Tensor MaskedFill(Tensor mask, double value) => MaskedFillOp.Call(this, mask, value);

    /// <summary>Running sum along a dimension.</summary>
    public Tensor CumulativeSum(long dimension) => CumSumOp.Call(this, dimension);

    /// <summary>Elementwise larger one.</summary>
    public Tensor Maximum(Tensor other) => MaximumOp.Call(this, other);

    /// <summary>Matrix product with PyTorch's broadcasting rules.</summary>
    public Tensor Matmul(Tensor other) => MatmulOp.Call(this, other);

    /// <summary>Batched matrix product of (N, A, B) and (N, B, C).</summary>
    public Tensor Bmm(Tensor other) => BmmOp.Call(this, other);

    /// <summary>bias + a b for a (N, A), b (A, C) and a bias that broadcasts to (N, C).</summary>
    public static Tensor Addmm(Tensor bias, Tensor a, Tensor b) => AddmmOp.Call(bias, a, b);

    /// <summary>beta * addend + alpha * a b, batched; the addend broadcasts.</summary>
    /// <remarks>With beta 0 the addend is left out altogether: libtorch 1.13 multiplies uninitialised memory by it, and NaN times 0 is NaN.</remarks>
    public static Tensor Baddbmm(Tensor addend, Tensor a, Tensor b, double beta = 1, double alpha = 1) => beta == 0 ? a.Bmm(b) * alpha : BaddbmmOp.Call(addend, a, b, beta, alpha);

    /// <summary>The p-norm of all elements; p may be infinity.</summary>
    public Tensor Norm(double p = 2) => NormOp.Call(this, p);

    /// <summary>Reduced QR decomposition.</summary>
    public (Tensor Q, Tensor R) Qr() => QrOp.CallPair(this);

    /// <summary>The main diagonal.</summary>
    public Tensor Diagonal() => DiagonalOp.Call(this);

    // A whole number stays one beside integers, as in Python: otherwise ids would turn into floats.
    private static Argument Number(Tensor beside, double value)
    {
        if (!beside.DType.IsFloatingPoint() && value == Math.Floor(value) && Math.Abs(value) < 1L << 53) return (long)value;
        return value;
    }
}
