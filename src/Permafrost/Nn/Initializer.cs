using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Permafrost.Nn;

/// <summary>How a parameter's start value is drawn.</summary>
/// <param name="tensor">The parameter, uninitialised, to be filled in place.</param>
/// <param name="random">The generator to draw from.</param>
public delegate void Initializer(Tensor tensor, Generator random);

/// <summary>The initial distributions that the models here use.</summary>
public static class Initializers
{
    /// <summary>All zeros.</summary>
    public static Initializer Zeros { get; } = (tensor, _) => tensor.fill_(0);

    /// <summary>All ones.</summary>
    public static Initializer Ones { get; } = (tensor, _) => tensor.fill_(1);

    /// <summary>Normal with mean 0.</summary>
    public static Initializer Normal(double standardDeviation) => (tensor, random) => tensor.normal_(0, standardDeviation, random);

    /// <summary>Uniform on [-bound, bound).</summary>
    public static Initializer Uniform(double bound) => (tensor, random) => tensor.uniform_(-bound, bound, random);

    /// <summary>torch.nn.Linear's default for weight and bias: uniform with bound 1/sqrt(inputs).</summary>
    public static Initializer LinearDefault(long inputs) => Uniform(1 / Math.Sqrt(inputs));

    /// <summary>A random orthogonal matrix times <paramref name="gain"/> (Saxe et al. 2013; torch.nn.init.orthogonal_).</summary>
    public static Initializer Orthogonal(double gain) => (tensor, random) =>
    {
        using var scope = torch.NewDisposeScope();
        bool wide = tensor.size(0) < tensor.size(1);
        Tensor normal = torch.empty(wide ? [tensor.size(1), tensor.size(0)] : tensor.shape, ScalarType.Float32).normal_(0, 1, random);
        (Tensor q, Tensor r) = torch.linalg.qr(normal);
        q = q * r.diagonal().sign();  // makes the distribution uniform over orthogonal matrices
        tensor.copy_((wide ? q.transpose(0, 1) : q) * gain);
    };

    /// <summary>
    /// A generator for one tensor of one seed. Each tensor has its own, so that a parameter's values depend on the seed and its name only,
    /// not on which other parameters there are.
    /// </summary>
    public static Generator GeneratorFor(long seed, string name) =>
        new(BinaryPrimitives.ReadUInt64LittleEndian(SHA256.HashData(Encoding.UTF8.GetBytes($"{seed}:{name}"))));
}
