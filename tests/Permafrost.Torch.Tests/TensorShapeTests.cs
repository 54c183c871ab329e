namespace Permafrost.Torch.Tests;

/// <summary>Views, reordering, joining, type conversion: on 0, 1, 2, ..., whose place tells where each element went.</summary>
public class TensorShapeTests : IDisposable
{
    private readonly TensorScope scope = new();
    private readonly Tensor x = Tensor.Arange(6).View(2, 3);  // [[0, 1, 2], [3, 4, 5]]

    public void Dispose()
    {
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void A_view_shares_memory_and_a_clone_does_not()
    {
        Tensor view = x.View(-1);
        Tensor copy = x.Clone();
        x.FillInPlace(7);
        Equal([6], [7, 7, 7, 7, 7, 7], view);
        Equal([2, 3], [0, 1, 2, 3, 4, 5], copy);
    }

    [Fact]
    public void A_view_that_would_need_a_copy_throws_and_a_reshape_copies()
    {
        Assert.Throws<TorchException>(() => x.Transpose(0, 1).View(6));
        Equal([6], [0, 3, 1, 4, 2, 5], x.Transpose(0, 1).Reshape(6));
    }

    [Fact]
    public void Dimensions_are_swapped_reordered_added_and_removed()
    {
        Equal([3, 2], [0, 3, 1, 4, 2, 5], x.Transpose(0, 1));
        Equal([3, 1, 2], [0, 3, 1, 4, 2, 5], x.Unsqueeze(1).Permute(2, 1, 0));
        Equal([2, 3], [0, 1, 2, 3, 4, 5], x.Unsqueeze(0).Squeeze(0));
        Equal([2, 3], [0, 1, 2, 3, 4, 5], x.Squeeze(0));  // of size 2: stays
        Equal([2, 2, 3], [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5], x.Unsqueeze(0).Expand(2, -1, -1));
        Equal([2, 3], [2, 1, 0, 5, 4, 3], x.Flip(1));
    }

    [Fact]
    public void Parts_are_cut_out_by_range_by_index_and_by_table()
    {
        Equal([2, 2], [1, 2, 4, 5], x.Narrow(1, 1, 2));
        Equal([2], [2, 5], x.Select(1, 2));
        Equal([2], [2, 5], x.Select(-1, -1));
        Equal([2, 3], [2, 2, 0, 5, 5, 3], x.IndexSelect(1, Tensor.From([2L, 2, 0])));
        Equal([2, 1], [2, 3], x.Gather(1, Tensor.From([2L, 0], 2, 1)));
        Assert.Throws<TorchException>(() => x.Narrow(1, 2, 2));
        Assert.Throws<TorchException>(() => x.IndexSelect(1, Tensor.From([3L])));
    }

    [Fact]
    public void Tensors_are_joined_and_cut_apart()
    {
        Equal([4, 3], [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5], Tensor.Cat([x, x]));
        Equal([2, 6], [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5], Tensor.Cat([x, x], 1));
        Equal([2, 2, 3], [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5], Tensor.Stack([x, x], 1));
        Tensor[] rows = x.Chunk(2, 0);
        Assert.Equal(2, rows.Length);
        Equal([1, 3], [3, 4, 5], rows[1]);
        Tensor[] pieces = x.Split(2, 1);
        Assert.Equal([2, 1], pieces.Select(piece => piece.Size(1)));  // the last is shorter
    }

    [Fact]
    public void Padding_and_triangles_put_zeros_where_they_belong()
    {
        Equal([2, 5], [9, 0, 1, 2, 9, 9, 3, 4, 5, 9], x.Pad([1, 1], 9));
        Equal([2, 3], [0, 1, 2, 0, 4, 5], x.Triu());
        Equal([2, 3], [0, 1, 2, 0, 0, 5], x.Triu(1));  // only what stands right of the diagonal
        Equal([2, 3], [0, 0, 0, 3, 4, 0], x.Tril());
    }

    [Fact]
    public void Conversion_between_types_rounds_towards_zero()
    {
        Equal([4], [-1, -0, 0, 1], Tensor.From([-1.9f, -0.9f, 0.9f, 1.9f]).To(DType.Int64));
        Assert.Equal([0f, 1], Tensor.From([false, true]).To(DType.Float32).ToArray<float>());
        Assert.Equal([0.5], Tensor.From([0.5f]).To(DType.Float64).ToArray<double>());
        Tensor same = Tensor.From([1f]);
        Tensor alias = same.To(DType.Float32);
        same.FillInPlace(2);
        Assert.Equal(2, alias.ToDouble());  // already of that type: the same data
        Assert.Equal(DeviceType.Cpu, same.To(Device.Cpu).Device.Type);
    }

    [Fact]
    public void Creation_fills_as_told()
    {
        Assert.Equal([0f, 0], Tensor.Zeros([2]).ToArray<float>());
        Assert.Equal([1.0, 1], Tensor.Ones([2], DType.Float64).ToArray<double>());
        Assert.Equal([3, 3], Tensor.Full([2], 3, DType.Int32).ToArray<int>());
        Assert.Equal([0f, 1, 2], Tensor.Arange(3, DType.Float32).ToArray<float>());
        Assert.Equal("Float64[2, 5]", Tensor.Empty([2, 5], DType.Float64).ToString());
        Tensor zeros = Tensor.Ones([3], DType.Int16).ZerosLike();
        Assert.Equal(new short[3], zeros.ToArray<short>());
    }

    private static void Equal(long[] shape, long[] values, Tensor actual)
    {
        Assert.Equal(shape, actual.Shape);
        Assert.Equal(values, actual.ToArray<long>());
    }
}
