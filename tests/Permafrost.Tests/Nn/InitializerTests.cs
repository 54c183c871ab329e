using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Tests.Nn;

/// <summary>Start values of new layers.</summary>
public class InitializerTests : IDisposable
{
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void Constants_fill_every_element()
    {
        Assert.Equal([0f, 0, 0], Draw(Initializers.Zeros, 3).ToArray<float>());
        Assert.Equal([1f, 1, 1], Draw(Initializers.Ones, 3).ToArray<float>());
    }

    [Fact]
    public void Distributions_have_the_spread_they_are_told()
    {
        Tensor normal = Draw(Initializers.Normal(0.02), 100_000);
        Assert.InRange(normal.std().Number(), 0.0197, 0.0203);
        Tensor linear = Draw(Initializers.LinearDefault(25), 100_000);  // within 1 / sqrt(25)
        Assert.InRange(linear.max().Number(), 0.1999, 0.2);
        Assert.InRange(linear.min().Number(), -0.2, -0.1999);
        Assert.InRange(linear.mean().Number(), -0.002, 0.002);
    }

    [Theory]
    [InlineData(6, 3)]
    [InlineData(3, 6)]
    [InlineData(4, 4)]
    [InlineData(5, 1)]
    public void An_orthogonal_matrix_keeps_lengths_times_the_gain(long rows, long columns)
    {
        Tensor matrix = Draw(Initializers.Orthogonal(2), rows, columns).to(ScalarType.Float64);
        Tensor small = rows < columns ? matrix.matmul(matrix.transpose(0, 1)) : matrix.transpose(0, 1).matmul(matrix);
        Tensor unit = torch.ones(small.shape, ScalarType.Float64).triu().tril() * 4;
        Assert.True((small - unit).abs().max().Number() < 1e-5);
    }

    [Fact]
    public void Orthogonal_matrices_have_both_signs_on_the_diagonal()
    {
        // Without the correction by R's signs, Householder's QR favours one sign.
        int positive = Enumerable.Range(0, 200).Count(i =>
        {
            using var random = new Generator((ulong)i);
            Tensor matrix = torch.empty([3, 3]);
            Initializers.Orthogonal(1)(matrix, random);
            return matrix.diagonal().ToArray<float>()[0] > 0;
        });
        Assert.InRange(positive, 65, 135);  // 100 within 5 deviations of 7.07
    }

    [Fact]
    public void A_generator_belongs_to_one_seed_and_one_name()
    {
        float[] First(long seed, string name)
        {
            using Generator random = Initializers.GeneratorFor(seed, name);
            return torch.empty([4]).normal_(0, 1, random).ToArray<float>();
        }
        Assert.Equal(First(1, "a"), First(1, "a"));
        Assert.NotEqual(First(1, "a"), First(1, "b"));
        Assert.NotEqual(First(1, "a"), First(2, "a"));
        Assert.NotEqual(First(1, "2:a"), First(12, "a"));
        Assert.NotEqual(First(-1, "a"), First(1, "a"));
    }

    private static Tensor Draw(Initializer initializer, params long[] shape)
    {
        using var random = new Generator(1);
        Tensor tensor = torch.full(shape, double.NaN);
        initializer(tensor, random);
        return tensor;
    }
}
