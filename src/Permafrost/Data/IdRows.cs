using Permafrost.Kernels;

namespace Permafrost.Data;

/// <summary>Ids of differing lengths as a split. Batches are as long as their longest row; shorter ones are filled up and masked.</summary>
/// <param name="rows">The ids of each example.</param>
/// <param name="targets">Gives the answers of some of them, by their numbers.</param>
internal sealed class IdRows(long[][] rows, Func<int[], Tensor> targets) : IDataset
{
    public long? Count => rows.Length;

    public IReadOnlyList<int> Lengths { get; } = [.. rows.Select(row => row.Length)];

    public Batch Get(ReadOnlySpan<long> indices)
    {
        int[] chosen = new int[indices.Length];
        for (int i = 0; i < chosen.Length; i++) chosen[i] = (int)indices[i];
        int T = chosen.Max(row => rows[row].Length);
        (var inputs, var mask) = (new long[chosen.Length * T], new long[chosen.Length * T]);
        for (int row = 0; row < chosen.Length; row++)
        {
            rows[chosen[row]].CopyTo(inputs, row * T);
            Array.Fill(mask, 1, row * T, rows[chosen[row]].Length);
        }
        bool padded = chosen.Any(row => rows[row].Length < T);
        return new Batch(Tensors.From(inputs, chosen.Length, T), targets(chosen), padded ? Tensors.From(mask, chosen.Length, T) : null);
    }
}
