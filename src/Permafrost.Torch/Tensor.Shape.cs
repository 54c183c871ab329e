namespace Permafrost.Torch;

// Views, reordering, joining, type and device.
public sealed partial class Tensor
{
    private static readonly Operator ViewOp = new("aten::view");
    private static readonly Operator ReshapeOp = new("aten::reshape");
    private static readonly Operator TransposeOp = new("aten::transpose", "int");
    private static readonly Operator PermuteOp = new("aten::permute");
    private static readonly Operator UnsqueezeOp = new("aten::unsqueeze");
    private static readonly Operator SqueezeOp = new("aten::squeeze", "dim");
    private static readonly Operator ExpandOp = new("aten::expand");
    private static readonly Operator NarrowOp = new("aten::narrow");
    private static readonly Operator SelectOp = new("aten::select", "int");
    private static readonly Operator IndexSelectOp = new("aten::index_select");
    private static readonly Operator IndexCopyInPlaceOp = new("aten::index_copy_");
    private static readonly Operator GatherOp = new("aten::gather");
    private static readonly Operator CatOp = new("aten::cat");
    private static readonly Operator StackOp = new("aten::stack");
    private static readonly Operator ChunkOp = new("aten::chunk");
    private static readonly Operator SplitOp = new("aten::split", "Tensor");
    private static readonly Operator ContiguousOp = new("aten::contiguous");
    private static readonly Operator CloneOp = new("aten::clone");
    private static readonly Operator ToDTypeOp = new("aten::to", "dtype");
    private static readonly Operator ToDeviceOp = new("aten::to", "device");
    private static readonly Operator PadOp = new("aten::constant_pad_nd");
    private static readonly Operator FlipOp = new("aten::flip");

    /// <summary>The same memory under another shape; one size may be -1.</summary>
    public Tensor View(params long[] shape) => ViewOp.Call(this, shape);

    /// <summary>Another shape, copying only where a view is impossible; one size may be -1.</summary>
    public Tensor Reshape(params long[] shape) => ReshapeOp.Call(this, shape);

    /// <summary>Swaps two dimensions.</summary>
    public Tensor Transpose(long first, long second) => TransposeOp.Call(this, first, second);

    /// <summary>Reorders the dimensions.</summary>
    public Tensor Permute(params long[] order) => PermuteOp.Call(this, order);

    /// <summary>Inserts a dimension of size 1.</summary>
    public Tensor Unsqueeze(long dimension) => UnsqueezeOp.Call(this, dimension);

    /// <summary>Removes a dimension of size 1.</summary>
    public Tensor Squeeze(long dimension) => SqueezeOp.Call(this, dimension);

    /// <summary>Repeats dimensions of size 1 without copying; -1 keeps a size.</summary>
    public Tensor Expand(params long[] shape) => ExpandOp.Call(this, shape);

    /// <summary>A slice: <paramref name="length"/> entries from <paramref name="start"/> along a dimension.</summary>
    public Tensor Narrow(long dimension, long start, long length) => NarrowOp.Call(this, dimension, start, length);

    /// <summary>One entry along a dimension, which disappears.</summary>
    public Tensor Select(long dimension, long index) => SelectOp.Call(this, dimension, index);

    /// <summary>The entries with the given indices (1-D, int64) along a dimension.</summary>
    public Tensor IndexSelect(long dimension, Tensor indices) => IndexSelectOp.Call(this, dimension, indices);

    /// <summary>Writes a tensor's entries to the given indices (1-D, int64) along a dimension, in place: the opposite of <see cref="IndexSelect"/>.</summary>
    public Tensor IndexCopyInPlace(long dimension, Tensor indices, Tensor source) { IndexCopyInPlaceOp.Run(this, dimension, indices, source); return this; }

    /// <summary>Entries picked element by element along a dimension.</summary>
    public Tensor Gather(long dimension, Tensor indices) => GatherOp.Call(this, dimension, indices);

    /// <summary>Joins along an existing dimension.</summary>
    public static Tensor Cat(Tensor[] tensors, long dimension = 0) => CatOp.Call(tensors, dimension);

    /// <summary>Joins along a new dimension.</summary>
    public static Tensor Stack(Tensor[] tensors, long dimension = 0) => StackOp.Call(tensors, dimension);

    /// <summary>Cuts into equal parts along a dimension.</summary>
    public Tensor[] Chunk(long parts, long dimension) => ChunkOp.CallList(this, parts, dimension);

    /// <summary>Cuts into pieces of a size along a dimension; the last may be shorter.</summary>
    public Tensor[] Split(long size, long dimension) => SplitOp.CallList(this, size, dimension);

    /// <summary>Row-major without gaps; the same tensor's data where it already is.</summary>
    public Tensor Contiguous() => ContiguousOp.Call(this);

    /// <summary>A copy.</summary>
    public Tensor Clone() => CloneOp.Call(this);

    /// <summary>Another element type; the same data where it already is that type.</summary>
    public Tensor To(DType type) => ToDTypeOp.Call(this, type);

    /// <summary>Another device; the same data where it already is there.</summary>
    public Tensor To(Device target) => ToDeviceOp.Call(this, target, DType);

    /// <summary>Pads with a value; pairs of (before, after), from the last dimension on.</summary>
    public Tensor Pad(long[] padding, double value = 0) => PadOp.Call(this, padding, value);

    /// <summary>Reverses dimensions.</summary>
    public Tensor Flip(params long[] dimensions) => FlipOp.Call(this, dimensions);

    /// <summary>(B, K, C): of each sequence of this (B, T, C), the rows at <paramref name="positions"/> (B, K) int64.</summary>
    public Tensor Rows(Tensor positions) => Gather(1, positions.Unsqueeze(2).Expand(positions.Size(0), positions.Size(1), Size(2)));
}
