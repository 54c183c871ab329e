using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>Draws a parameter's start value.</summary>
/// <param name="tensor">The parameter, uninitialised, to be filled in place.</param>
/// <param name="random">The generator to draw from.</param>
public delegate void Initializer(Tensor tensor, Generator random);

/// <summary>The initial distributions that the models here use.</summary>
public static class Initializers
{
    /// <summary>All zeros.</summary>
    public static Initializer Zeros { get; } = (tensor, _) => tensor.fill_(0.Hold());

    /// <summary>All ones.</summary>
    public static Initializer Ones { get; } = (tensor, _) => tensor.fill_(1.Hold());

    /// <summary>Normal with mean 0.</summary>
    public static Initializer Normal(double standardDeviation) => (tensor, random) => tensor.normal_(0, standardDeviation, random);

    /// <summary>Normal with mean 0, without numbers beyond <paramref name="bound"/>, which are drawn again (torch.nn.init.trunc_normal_, whose default bound is 2).</summary>
    public static Initializer TruncatedNormal(double standardDeviation, double bound = 2) => (tensor, random) =>
    {
        using var scope = torch.NewDisposeScope();
        tensor.normal_(0, standardDeviation, random);
        // Looking for them copies the tensor, and what a body's copies took stays with the process: 210 MiB of a ViT-base, which has none.
        if (Math.Max(tensor.max().Number(), -tensor.min().Number()) <= bound) return;
        for (Tensor beyond = Beyond(); beyond.NumberOfElements > 0; beyond = Beyond())
            tensor.view(-1).index_copy_(0, beyond, torch.empty(beyond.shape).normal_(0, standardDeviation, random));

        Tensor Beyond() => tensor.view(-1).abs().gt(bound.Hold()).nonzero().view(-1);
    };

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
        tensor.copy_((wide ? q.transpose(0, 1) : q).Times(gain));
    };

    /// <summary>
    /// A generator for one tensor of one seed. Each tensor has its own, so that a parameter's values depend on the seed and its name only,
    /// not on which other parameters there are.
    /// </summary>
    public static Generator GeneratorFor(long seed, string name) =>
        new(BinaryPrimitives.ReadUInt64LittleEndian(SHA256.HashData(Encoding.UTF8.GetBytes($"{seed}:{name}"))));
}
