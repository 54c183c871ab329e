using Permafrost.Kernels;

namespace Permafrost.Data;

/// <summary>Rows of ids of differing lengths as tensors: as long as the longest, shorter ones filled up with id 0, which the mask hides.</summary>
internal static class IdBatch
{
    /// <summary>Makes them.</summary>
    /// <param name="rows">The ids of each example.</param>
    /// <returns>(B, T) int64 ids, and a (B, T) mask of 1 for what is given and 0 for what is not.</returns>
    public static (Tensor Inputs, Tensor Mask) Of(IReadOnlyList<long[]> rows)
    {
        int T = rows.Max(row => row.Length);
        (var inputs, var mask) = (new long[rows.Count * T], new long[rows.Count * T]);
        for (int row = 0; row < rows.Count; row++)
        {
            rows[row].CopyTo(inputs, row * T);
            Array.Fill(mask, 1, row * T, rows[row].Length);
        }
        return (Tensors.From(inputs, rows.Count, T), Tensors.From(mask, rows.Count, T));
    }
}
