namespace Permafrost.Torch.Tests;

/// <summary>Identity, metadata and lifetime of tensors.</summary>
public class TensorTests
{
    [Fact]
    public void Knows_its_shape_type_device_and_sizes()
    {
        using Tensor tensor = Tensor.Zeros([2, 3, 4], DType.Int16);
        Assert.Equal([2, 3, 4], tensor.Shape);
        Assert.Equal(3, tensor.Dimensions);
        Assert.Equal(24, tensor.Elements);
        Assert.Equal(48, tensor.Bytes);
        Assert.Equal(DType.Int16, tensor.DType);
        Assert.Equal(Device.Cpu.Type, tensor.Device.Type);
        Assert.Equal((2, 4, 3), (tensor.Size(0), tensor.Size(-1), tensor.Size(-2)));
        Assert.Equal("Int16[2, 3, 4]", tensor.ToString());
    }

    [Fact]
    public void A_scalar_has_no_dimension_and_one_element()
    {
        using Tensor scalar = Tensor.Scalar(2.5);
        Assert.Empty(scalar.Shape);
        Assert.Equal(1, scalar.Elements);
        Assert.Equal("Float64[]", scalar.ToString());
    }

    [Fact]
    public void A_shape_prints_as_in_PyTorch()
    {
        Assert.Equal("[]", Tensor.FormatShape([]));
        Assert.Equal("[7]", Tensor.FormatShape([7]));
        Assert.Equal("[2, 0, 3]", Tensor.FormatShape([2, 0, 3]));
    }

    [Fact]
    public void A_disposed_tensor_throws_ObjectDisposedException_whatever_is_asked_of_it()
    {
        using Tensor other = Tensor.Ones([2]);
        Tensor tensor = Tensor.Ones([2]);
        tensor.Dispose();
        tensor.Dispose();  // a second time does nothing
        Assert.True(tensor.IsDisposed);
        Assert.Equal("(freed)", tensor.ToString());
        Assert.Throws<ObjectDisposedException>(() => tensor.Shape);
        Assert.Throws<ObjectDisposedException>(() => tensor.ToArray<float>());
        Assert.Throws<ObjectDisposedException>(() => tensor + other);
        Assert.Throws<ObjectDisposedException>(() => other + tensor);
        Assert.Throws<ObjectDisposedException>(() => Tensor.Cat([other, tensor]));
        Assert.Throws<ObjectDisposedException>(() => tensor.Backward());
        Assert.Throws<ObjectDisposedException>(() => tensor.Grad);
        Assert.Throws<ObjectDisposedException>(() => tensor.RequiresGrad = true);
        Assert.Throws<ObjectDisposedException>(() => other.Grad = tensor);
    }

    [Fact]
    public void Memory_stays_while_a_view_of_it_lives()
    {
        Tensor whole = Tensor.From([1f, 2, 3, 4]);
        using Tensor part = whole.Narrow(0, 1, 2);
        whole.Dispose();
        Assert.Equal([2f, 3], part.ToArray<float>());
    }

    [Fact]
    public void A_wanted_size_beyond_all_memory_says_so()
    {
        var error = Assert.Throws<TorchException>(() => Tensor.Empty([1L << 50]));
        Assert.True(error.IsOutOfMemory, error.Message);
        Assert.Equal("aten::empty.memory_format", error.Operation);
    }
}
