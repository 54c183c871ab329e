namespace Permafrost.Torch.Tests;

/// <summary>Facts about element types.</summary>
public class DTypeTests
{
    [Fact]
    public void Every_type_has_the_size_that_libtorch_gives_it()
    {
        foreach (DType dtype in Enum.GetValues<DType>())
        {
            using Tensor tensor = Tensor.Empty([3], dtype);
            Assert.Equal(dtype, tensor.DType);
            Assert.Equal(3 * dtype.Size(), tensor.ToBytes().Length);
        }
    }

    [Fact]
    public void Real_numbers_are_told_from_integers_and_flags() =>
        Assert.Equal([DType.Float16, DType.Float32, DType.Float64, DType.BFloat16], Enum.GetValues<DType>().Where(dtype => dtype.IsFloatingPoint()));

    [Fact]
    public void Unknown_types_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => ((DType)99).Size());
        Assert.Throws<NotSupportedException>(() => DTypeExtensions.Of<decimal>());
        Assert.Throws<NotSupportedException>(() => DTypeExtensions.Of<uint>());
    }
}
