using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Permafrost.Torch;

namespace Permafrost.Nn;

/// <summary>How a parameter's start value is drawn.</summary>
/// <param name="tensor">The parameter, uninitialised, to be filled in place.</param>
/// <param name="random">The generator to draw from.</param>
public delegate void Initializer(Tensor tensor, RandomState random);

/// <summary>The initial distributions that the models here use.</summary>
public static class Initializers
{
    /// <summary>All zeros.</summary>
    public static Initializer Zeros { get; } = (tensor, _) => tensor.FillInPlace(0);

    /// <summary>All ones.</summary>
    public static Initializer Ones { get; } = (tensor, _) => tensor.FillInPlace(1);

    /// <summary>Normal with mean 0.</summary>
    public static Initializer Normal(double standardDeviation) => (tensor, random) => tensor.NormalInPlace(0, standardDeviation, random);

    /// <summary>Uniform on [-bound, bound).</summary>
    public static Initializer Uniform(double bound) => (tensor, random) => tensor.UniformInPlace(-bound, bound, random);

    /// <summary>torch.nn.Linear's default for weight and bias: uniform with bound 1/sqrt(inputs).</summary>
    public static Initializer LinearDefault(long inputs) => Uniform(1 / Math.Sqrt(inputs));

    /// <summary>A random orthogonal matrix times <paramref name="gain"/> (Saxe et al. 2013; torch.nn.init.orthogonal_).</summary>
    public static Initializer Orthogonal(double gain) => (tensor, random) =>
    {
        using var scope = new TensorScope();
        bool wide = tensor.Size(0) < tensor.Size(1);
        Tensor normal = Tensor.Empty(wide ? [tensor.Size(1), tensor.Size(0)] : tensor.Shape).NormalInPlace(0, 1, random);
        (Tensor q, Tensor r) = normal.Qr();
        q *= r.Diagonal().Sign();  // makes the distribution uniform over orthogonal matrices
        tensor.CopyInPlace((wide ? q.Transpose(0, 1) : q) * gain);
    };

    /// <summary>
    /// A generator for one tensor of one seed. Each tensor has its own, so that a parameter's values depend on the seed and its name only,
    /// not on which other parameters there are.
    /// </summary>
    public static RandomState GeneratorFor(long seed, string name) =>
        new(BinaryPrimitives.ReadUInt64LittleEndian(SHA256.HashData(Encoding.UTF8.GetBytes($"{seed}:{name}"))));
}
