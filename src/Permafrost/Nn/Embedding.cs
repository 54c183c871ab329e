using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>A table of vectors, looked up by id. Shape: (...) int64 to (..., width).</summary>
public sealed class Embedding : Module
{
    /// <summary>A table of <paramref name="rows"/> vectors.</summary>
    public Embedding(long rows, long width, Initializer initializer) => Weight = Declare("weight", [rows, width], initializer);

    /// <summary>(rows, width).</summary>
    public Parameter Weight { get; }

    /// <summary>Looks ids up.</summary>
    public Tensor Forward(Tensor ids) => Weight.Value.Lookup(ids);
}
