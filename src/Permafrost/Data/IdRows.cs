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
        long[][] own = [.. chosen.Select(row => rows[row])];
        (Tensor inputs, Tensor mask) = IdBatch.Of(own);
        if (own.Any(row => row.Length < inputs.size(1))) return new Batch(inputs, targets(chosen), mask);
        mask.Dispose();
        return new Batch(inputs, targets(chosen));
    }
}
