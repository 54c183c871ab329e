using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>From and to host memory: bytes and elements survive, and what cannot be is refused.</summary>
public class TensorsTests
{
    [Fact]
    public void Every_element_type_survives_the_way_there_and_back()
    {
        RoundTrip(ScalarType.Byte, byte.MinValue, (byte)7, byte.MaxValue);
        RoundTrip(ScalarType.Int8, sbyte.MinValue, (sbyte)-1, sbyte.MaxValue);
        RoundTrip(ScalarType.Int16, short.MinValue, (short)-1, short.MaxValue);
        RoundTrip(ScalarType.Int32, int.MinValue, -1, int.MaxValue);
        RoundTrip(ScalarType.Int64, long.MinValue, -1L, long.MaxValue);
        RoundTrip(ScalarType.Float16, Half.MinValue, (Half)0.5f, Half.PositiveInfinity);
        RoundTrip(ScalarType.Float32, float.Epsilon, -0f, float.NaN);
        RoundTrip(ScalarType.Float64, double.Epsilon, Math.PI, double.NegativeInfinity);
        RoundTrip(ScalarType.Bool, true, false, true);
    }

    [Theory]
    [InlineData(ScalarType.Byte, 1)]
    [InlineData(ScalarType.Int8, 1)]
    [InlineData(ScalarType.Bool, 1)]
    [InlineData(ScalarType.Int16, 2)]
    [InlineData(ScalarType.Float16, 2)]
    [InlineData(ScalarType.BFloat16, 2)]
    [InlineData(ScalarType.Int32, 4)]
    [InlineData(ScalarType.Float32, 4)]
    [InlineData(ScalarType.Int64, 8)]
    [InlineData(ScalarType.Float64, 8)]
    public void Raw_bytes_survive_for_every_type_and_have_its_size(ScalarType type, int size)
    {
        byte[] bytes = [.. Enumerable.Range(0, 6 * size).Select(i => (byte)(i % 2))];
        using Tensor tensor = Tensors.FromBytes(bytes, [2, 3], type);
        Assert.Equal(type, tensor.dtype);
        Assert.Equal(size, type.ElementBytes());
        Assert.Equal(6 * size, tensor.ByteCount());
        Assert.Equal(bytes, tensor.ToBytes());
        // Large enough for memory that is kept for the next tensor (Workspace).
        bytes = [.. Enumerable.Range(0, 40_000 * size).Select(i => (byte)(i % 2))];
        using Tensor large = Tensors.FromBytes(bytes, [40_000], type);
        Assert.Equal(bytes, large.ToBytes());
    }

    [Fact]
    public void Unknown_types_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => ((ScalarType)99).ElementBytes());
        Assert.Throws<ArgumentOutOfRangeException>(() => ScalarType.ComplexFloat32.ElementBytes());
        Assert.Throws<NotSupportedException>(() => TensorExtensions.TypeOf<decimal>());
        Assert.Throws<NotSupportedException>(() => TensorExtensions.TypeOf<uint>());
    }

    [Fact]
    public void Bfloat16_is_the_upper_half_of_a_float32()
    {
        // 0x3FC0 0000 is 1.5f; little-endian, the upper half is C0 3F.
        using Tensor tensor = Tensors.FromBytes([0xC0, 0x3F], [1], ScalarType.BFloat16);
        Assert.Equal(1.5, tensor.Number());
    }

    [Fact]
    public void Without_a_shape_an_array_is_one_row()
    {
        using Tensor row = Tensors.From([1, 2, 3]);
        Assert.Equal([3], row.shape);
        using Tensor empty = Tensors.From(Array.Empty<float>());
        Assert.Equal([0], empty.shape);
        Assert.Empty(empty.ToArray<float>());
        Assert.Empty(empty.ToBytes());
    }

    [Theory]
    [InlineData(5, new long[] { 2, 3 })]
    [InlineData(7, new long[] { 2, 3 })]
    [InlineData(0, new long[] { 1 })]
    [InlineData(1, new long[] { 0 })]
    [InlineData(2, new long[] { -2 })]
    [InlineData(4, new long[] { -2, -2 })]
    [InlineData(0, new long[] { 0, -1 })]
    [InlineData(0, new long[] { 1L << 62, 4 })]
    [InlineData(0, new long[] { 1L << 61 })]
    [InlineData(0, new long[] { long.MaxValue, long.MaxValue })]
    public unsafe void A_length_that_is_not_the_shapes_product_throws(int length, long[] shape)
    {
        Assert.Throws<ArgumentException>(() => Tensors.From<float>(new float[length].AsSpan(), shape));
        Assert.Throws<ArgumentException>(() => Tensors.FromBytes(new byte[length * 4], shape, ScalarType.Float32));
        Assert.Throws<ArgumentException>(() => Tensors.Filled(shape, ScalarType.Float32, length * 4, _ => Assert.Fail("nothing may be written")));
        var memory = new float[8];
        fixed (float* pointer = memory)
        {
            var address = (nint)pointer;
            Assert.Throws<ArgumentException>(() => Tensors.FromMemory((byte*)address, length * 4, shape, ScalarType.Float32));
            Assert.Throws<ArgumentException>(() => Tensors.OverMemory((byte*)address, length * 4, shape, ScalarType.Float32));
        }
    }

    [Fact]
    public void The_message_of_a_wrong_length_names_shape_type_and_both_lengths()
    {
        var error = Assert.Throws<ArgumentException>(() => Tensors.From([1f, 2, 3, 4, 5], 2, 3));
        Assert.Contains("Float32[2, 3]", error.Message, StringComparison.Ordinal);
        Assert.Contains("20 bytes", error.Message, StringComparison.Ordinal);
        Assert.Contains("24", error.Message, StringComparison.Ordinal);
        error = Assert.Throws<ArgumentException>(() => Tensors.From([1f], 1L << 62, 4));
        Assert.Contains("Float32[4611686018427387904, 4]", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Reading_as_another_type_is_refused()
    {
        using Tensor tensor = Tensors.From([1f, 2]);
        var error = Assert.Throws<InvalidOperationException>(() => tensor.ToArray<double>());
        Assert.Contains("Float32[2] holds no Double", error.Message, StringComparison.Ordinal);
        Assert.Throws<NotSupportedException>(() => tensor.ToArray<char>());
        Assert.Throws<NotSupportedException>(() => Tensors.From(['a']));
    }

    [Fact]
    public void A_transposed_view_is_read_row_by_row_as_it_looks()
    {
        using var scope = torch.NewDisposeScope();
        Tensor turned = Tensors.From([1, 2, 3, 4, 5, 6], 2, 3).transpose(0, 1);
        Assert.False(turned.is_contiguous());
        Assert.Equal([1, 4, 2, 5, 3, 6], turned.ToArray<int>());
        byte[] bytes = [.. new[] { 1, 4, 2, 5, 3, 6 }.SelectMany(BitConverter.GetBytes)];
        Assert.Equal(bytes, turned.ToBytes());
        Assert.Equal(bytes, Bytes(turned));
    }

    [Fact]
    public void A_tensor_does_not_follow_the_array_it_was_made_from()
    {
        float[] data = [1, 2];
        using Tensor tensor = Tensors.From(data);
        data[0] = 9;
        Assert.Equal([1f, 2], tensor.ToArray<float>());
    }

    [Fact]
    public void One_element_converts_to_a_number_and_several_do_not()
    {
        using Tensor half = Tensors.Scalar((Half)0.25f), flag = Tensors.Scalar(true), one = Tensors.From([7L], 1, 1), two = Tensors.From([1f, 2]), none = Tensors.From(Array.Empty<float>());
        Assert.Equal(0.25, half.Number());
        Assert.Equal(1, flag.Integer());
        Assert.Equal((7, 7), (one.Integer(), one.Number()));
        foreach (Tensor wrong in new[] { two, none })
        {
            Assert.Contains(wrong.Describe(), Assert.Throws<InvalidOperationException>(() => wrong.Number()).Message, StringComparison.Ordinal);
            Assert.Contains(wrong.Describe(), Assert.Throws<InvalidOperationException>(() => wrong.Integer()).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_tensor_with_a_gradient_can_be_read()
    {
        using var scope = torch.NewDisposeScope();
        Tensor doubled = Tensors.From([1f, 2]).requires_grad_().Times(2);
        Assert.True(doubled.requires_grad);
        Assert.Equal([2f, 4], doubled.ToArray<float>());
        Assert.Equal(6, doubled.sum().Number());
        Assert.Equal(doubled.ToBytes(), Bytes(doubled.view(2, 1).transpose(0, 1)));
        Assert.Equal(doubled.ToBytes(), Bytes(doubled.expand(2, 2).transpose(0, 1).select(1, 0)));
        Assert.True(doubled.AllFinite() && doubled.ValuesEqual(doubled.clone()));
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
        using Tensor tensor = Tensors.From(values);
        Assert.Equal(finite, tensor.AllFinite());
    }

    [Fact]
    public void AllFinite_holds_for_integers_and_for_nothing()
    {
        using Tensor integers = Tensors.From([long.MinValue, long.MaxValue]), nothing = torch.zeros([0]);
        Assert.True(integers.AllFinite());
        Assert.True(nothing.AllFinite());
    }

    [Fact]
    public void ValuesEqual_compares_shapes_and_values()
    {
        using var scope = torch.NewDisposeScope();
        Tensor a = Tensors.From([1f, -2, 3, -4], 2, 2), b = Tensors.From([5f, 6, 7, 8], 2, 2);
        Assert.True(a.ValuesEqual(a.clone()));
        Assert.True(a.ValuesEqual(a.transpose(0, 1).contiguous().transpose(0, 1)));
        Assert.False(a.ValuesEqual(b));
        Assert.False(a.ValuesEqual(a.view(4)));
        Assert.False(a.ValuesEqual(Tensors.From([1f, -2, 3, -4.000001f], 2, 2)));
        Assert.True(torch.zeros([0, 3]).ValuesEqual(torch.ones([0, 3])));
        // As in IEEE 754, NaN equals nothing.
        Assert.False(Tensors.Scalar(float.NaN).ValuesEqual(Tensors.Scalar(float.NaN)));
    }

    [Fact]
    public void A_scalar_has_no_dimension_and_one_element()
    {
        using Tensor scalar = Tensors.Scalar(2.5);
        Assert.Empty(scalar.shape);
        Assert.True(scalar.HasShape());
        Assert.Equal(1, scalar.NumberOfElements);
        Assert.Equal("Float64[]", scalar.Describe());
    }

    [Fact]
    public void A_shape_prints_as_in_PyTorch()
    {
        Assert.Equal("[]", TensorExtensions.FormatShape([]));
        Assert.Equal("[7]", TensorExtensions.FormatShape([7]));
        Assert.Equal("[2, 0, 3]", TensorExtensions.FormatShape([2, 0, 3]));
    }

    [Fact]
    public void A_disposed_tensor_throws_whatever_is_asked_of_it()
    {
        using Tensor other = torch.ones(2);
        Tensor tensor = torch.ones(2);
        tensor.Dispose();
        tensor.Dispose();  // a second time does nothing
        Assert.Equal("(freed)", tensor.Describe());
        foreach (Action asked in new Action[]
        {
            () => tensor.HasShape(2), () => tensor.ByteCount(), () => tensor.ToArray<float>(), () => tensor.ToBytes(), () => tensor.ReadBytes(_ => { }), () => tensor.Number(),
            () => tensor.Integer(), () => tensor.AllFinite(), () => tensor.ValuesEqual(other), () => other.ValuesEqual(tensor), () => tensor.Plus(other), () => other.Plus(tensor),
            () => Elementwise.AddTo(other, tensor), () => tensor.FusedLinear(other, null, 1, FusedActivation.None, ScalarType.Float32),
        })
        {
            Assert.ThrowsAny<InvalidOperationException>(asked);
        }
        Assert.Equal([1f, 1], other.ToArray<float>());
    }

    private static void RoundTrip<T>(ScalarType type, params T[] values) where T : unmanaged
    {
        using Tensor tensor = Tensors.From(values.AsSpan(), [1, values.Length]);
        Assert.Equal(type, tensor.dtype);
        Assert.Equal(type, TensorExtensions.TypeOf<T>());
        Assert.Equal(values, tensor.ToArray<T>());
    }

    private static byte[] Bytes(Tensor tensor)
    {
        var bytes = new List<byte>();
        tensor.ReadBytes(piece => bytes.AddRange(piece));
        return [.. bytes];
    }
}
