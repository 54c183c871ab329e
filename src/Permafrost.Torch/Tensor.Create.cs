namespace Permafrost.Torch;

// Creation.
public sealed partial class Tensor
{
    private static readonly Operator EmptyOp = new("aten::empty", "memory_format");
    private static readonly Operator FullOp = new("aten::full");
    private static readonly Operator ArangeOp = new("aten::arange", "start_step");
    private static readonly Operator NormalInPlaceOp = new("aten::normal_");
    private static readonly Operator UniformInPlaceOp = new("aten::uniform_");
    private static readonly Operator RandomInPlaceOp = new("aten::random_", "from");
    private static readonly Operator RandomPermutationOp = new("aten::randperm", "generator");
    private static readonly Operator FillInPlaceOp = new("aten::fill_", "Scalar");
    private static readonly Operator CopyInPlaceOp = new("aten::copy_");
    private static readonly Operator TriuOp = new("aten::triu");
    private static readonly Operator TrilOp = new("aten::tril");
    private static readonly Operator ZerosLikeOp = new("aten::zeros_like");

    /// <summary>Uninitialised memory.</summary>
    public static Tensor Empty(long[] shape, DType dtype = DType.Float32, Device device = default) => EmptyOp.Call(shape, dtype, Argument.None, device);

    /// <summary>All zeros.</summary>
    public static Tensor Zeros(long[] shape, DType dtype = DType.Float32, Device device = default) => Full(shape, 0, dtype, device);

    /// <summary>All ones.</summary>
    public static Tensor Ones(long[] shape, DType dtype = DType.Float32, Device device = default) => Full(shape, 1, dtype, device);

    /// <summary>One value everywhere.</summary>
    public static Tensor Full(long[] shape, double value, DType dtype = DType.Float32, Device device = default) => FullOp.Call(shape, value, dtype, Argument.None, device);

    /// <summary>0, 1, ..., count - 1.</summary>
    public static Tensor Arange(long count, DType dtype = DType.Int64, Device device = default) => ArangeOp.Call(0L, count, 1L, dtype, Argument.None, device);

    /// <summary>A random order of 0, ..., count - 1.</summary>
    public static Tensor RandomPermutation(long count, RandomState random) => RandomPermutationOp.Call(count, random, DType.Int64);

    /// <summary>Draws every element from a normal distribution, in place.</summary>
    public Tensor NormalInPlace(double mean, double standardDeviation, RandomState? random = null) { NormalInPlaceOp.Run(this, mean, standardDeviation, random); return this; }

    /// <summary>Draws every element uniformly from [low, high), in place.</summary>
    public Tensor UniformInPlace(double low, double high, RandomState? random = null) { UniformInPlaceOp.Run(this, low, high, random); return this; }

    /// <summary>Draws every element uniformly from the integers low, ..., high - 1, in place.</summary>
    public Tensor RandomInPlace(long low, long high, RandomState? random = null) { RandomInPlaceOp.Run(this, low, high, random); return this; }

    /// <summary>Sets every element, in place.</summary>
    public Tensor FillInPlace(double value) { FillInPlaceOp.Run(this, value); return this; }

    /// <summary>Copies another tensor's values into this one, converting type and device and broadcasting.</summary>
    public Tensor CopyInPlace(Tensor source) { CopyInPlaceOp.Run(this, source); return this; }

    /// <summary>Zeros of the same shape, type and device.</summary>
    public Tensor ZerosLike() => ZerosLikeOp.Call(this);

    /// <summary>The part on and above a diagonal; zeros elsewhere.</summary>
    public Tensor Triu(long diagonal = 0) => TriuOp.Call(this, diagonal);

    /// <summary>The part on and below a diagonal; zeros elsewhere.</summary>
    public Tensor Tril(long diagonal = 0) => TrilOp.Call(this, diagonal);
}
