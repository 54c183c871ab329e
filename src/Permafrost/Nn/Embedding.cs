using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>A table of vectors, looked up by id. Shape: (...) int64 to (..., width).</summary>
public sealed class Embedding : Module
{
    private readonly long? paddingId;

    /// <summary>A table of <paramref name="rows"/> vectors of <paramref name="width"/> numbers.</summary>
    /// <param name="rows">How many vectors.</param>
    /// <param name="width">Numbers of a vector.</param>
    /// <param name="initializer">Draws them.</param>
    /// <param name="paddingId">
    /// The row that stands for padding: it starts at zero and gets no gradient where it is looked up, as PyTorch's <c>padding_idx</c>; null for none.
    /// </param>
    public Embedding(long rows, long width, Initializer initializer, long? paddingId = null)
    {
        this.paddingId = paddingId < rows ? paddingId : null;
        Weight = Declare("weight", [rows, width], this.paddingId is { } padding ? WithoutRow(initializer, padding) : initializer);
    }

    private static Initializer WithoutRow(Initializer initializer, long row) => (table, random) =>
    {
        initializer(table, random);
        table.select(0, row).zero_();
    };

    /// <summary>The table, (rows, width).</summary>
    public Parameter Weight { get; }

    /// <summary>The vectors (..., width) of ids (...) int64.</summary>
    public Tensor Forward(Tensor ids) => Weight.Value.Lookup(ids, paddingId);
}
