namespace Permafrost.Torch.Tests;

/// <summary>From and to host memory.</summary>
public class TensorHostTests
{
    [Fact]
    public void Every_element_type_survives_the_way_there_and_back()
    {
        RoundTrip(DType.UInt8, byte.MinValue, (byte)7, byte.MaxValue);
        RoundTrip(DType.Int8, sbyte.MinValue, (sbyte)-1, sbyte.MaxValue);
        RoundTrip(DType.Int16, short.MinValue, (short)-1, short.MaxValue);
        RoundTrip(DType.Int32, int.MinValue, -1, int.MaxValue);
        RoundTrip(DType.Int64, long.MinValue, -1L, long.MaxValue);
        RoundTrip(DType.Float16, Half.MinValue, (Half)0.5f, Half.PositiveInfinity);
        RoundTrip(DType.Float32, float.Epsilon, -0f, float.NaN);
        RoundTrip(DType.Float64, double.Epsilon, Math.PI, double.NegativeInfinity);
        RoundTrip(DType.Bool, true, false, true);
    }

    [Theory]
    [InlineData(DType.UInt8, 1)]
    [InlineData(DType.Int8, 1)]
    [InlineData(DType.Bool, 1)]
    [InlineData(DType.Int16, 2)]
    [InlineData(DType.Float16, 2)]
    [InlineData(DType.BFloat16, 2)]
    [InlineData(DType.Int32, 4)]
    [InlineData(DType.Float32, 4)]
    [InlineData(DType.Int64, 8)]
    [InlineData(DType.Float64, 8)]
    public void Raw_bytes_survive_for_every_type_and_have_its_size(DType dtype, int size)
    {
        byte[] bytes = [.. Enumerable.Range(0, 6 * size).Select(i => (byte)(i % 2))];
        using Tensor tensor = Tensor.FromBytes(bytes, [2, 3], dtype);
        Assert.Equal(dtype, tensor.DType);
        Assert.Equal(size, dtype.Size());
        Assert.Equal(6 * size, tensor.Bytes);
        Assert.Equal(bytes, tensor.ToBytes());
    }

    [Fact]
    public void Bfloat16_is_the_upper_half_of_a_float32()
    {
        // 0x3FC0 0000 is 1.5f; little-endian, the upper half is C0 3F.
        using Tensor tensor = Tensor.FromBytes([0xC0, 0x3F], [1], DType.BFloat16);
        Assert.Equal(1.5, tensor.ToDouble());
    }

    [Fact]
    public void Without_a_shape_an_array_is_one_row()
    {
        using Tensor row = Tensor.From([1, 2, 3]);
        Assert.Equal([3], row.Shape);
        using Tensor empty = Tensor.From(Array.Empty<float>());
        Assert.Equal([0], empty.Shape);
        Assert.Empty(empty.ToArray<float>());
    }

    [Theory]
    [InlineData(5, new long[] { 2, 3 })]
    [InlineData(7, new long[] { 2, 3 })]
    [InlineData(0, new long[] { 1 })]
    [InlineData(1, new long[] { 0 })]
    [InlineData(2, new long[] { -2 })]
    [InlineData(0, new long[] { 1L << 62, 4 })]
    public void A_length_that_is_not_the_shapes_product_throws(int length, long[] shape)
    {
        Assert.Throws<TorchException>(() => Tensor.From<float>(new float[length].AsSpan(), shape));
        Assert.Throws<TorchException>(() => Tensor.FromBytes(new byte[length * 4], shape, DType.Float32));
    }

    [Fact]
    public void The_message_of_a_wrong_length_names_shape_type_and_both_lengths()
    {
        var error = Assert.Throws<TorchException>(() => Tensor.From([1f, 2, 3, 4, 5], 2, 3));
        Assert.Contains("[2, 3]", error.Message, StringComparison.Ordinal);
        Assert.Contains("Float", error.Message, StringComparison.Ordinal);
        Assert.Contains("24 bytes, not 20", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Reading_as_another_type_is_refused()
    {
        using Tensor tensor = Tensor.From([1f, 2]);
        var error = Assert.Throws<InvalidOperationException>(() => tensor.ToArray<double>());
        Assert.Contains("Float32[2] holds no Double", error.Message, StringComparison.Ordinal);
        Assert.Throws<NotSupportedException>(() => tensor.ToArray<char>());
        Assert.Throws<NotSupportedException>(() => Tensor.From(['a']));
    }

    [Fact]
    public void A_transposed_view_is_read_row_by_row_as_it_looks()
    {
        using var scope = new TensorScope();
        Tensor turned = Tensor.From([1, 2, 3, 4, 5, 6], 2, 3).Transpose(0, 1);
        Assert.False(turned.IsContiguous);
        Assert.Equal([1, 4, 2, 5, 3, 6], turned.ToArray<int>());
        Assert.Equal(turned.ToBytes(), Bytes(turned));
        Assert.True(turned.Contiguous().IsContiguous);
    }

    [Fact]
    public void A_tensor_does_not_follow_the_array_it_was_made_from()
    {
        float[] data = [1, 2];
        using Tensor tensor = Tensor.From(data);
        data[0] = 9;
        Assert.Equal([1f, 2], tensor.ToArray<float>());
    }

    [Fact]
    public void One_element_converts_to_a_number_and_several_do_not()
    {
        using Tensor half = Tensor.Scalar((Half)0.25f);
        using Tensor flag = Tensor.Scalar(true);
        using Tensor two = Tensor.From([1f, 2]);
        Assert.Equal(0.25, half.ToDouble());
        Assert.Equal(1, flag.ToInt64());
        Assert.Throws<TorchException>(() => two.ToDouble());
        Assert.Throws<TorchException>(() => two.ToInt64());
    }

    [Fact]
    public void A_tensor_with_a_gradient_can_be_read()
    {
        using var scope = new TensorScope();
        Tensor tensor = Tensor.From([1f, 2]);
        tensor.RequiresGrad = true;
        Assert.Equal([2f, 4], (tensor * 2).ToArray<float>());
        Assert.Equal((tensor * 2).ToBytes(), Bytes((tensor * 2).View(2, 1).Transpose(0, 1)));
    }

    private static void RoundTrip<T>(DType dtype, params T[] values) where T : unmanaged
    {
        using Tensor tensor = Tensor.From(values.AsSpan(), [1, values.Length]);
        Assert.Equal(dtype, tensor.DType);
        Assert.Equal(dtype, DTypeExtensions.Of<T>());
        Assert.Equal(values, tensor.ToArray<T>());
    }

    private static byte[] Bytes(Tensor tensor)
    {
        var bytes = new List<byte>();
        tensor.ReadBytes(piece => bytes.AddRange(piece));
        return [.. bytes];
    }
}
