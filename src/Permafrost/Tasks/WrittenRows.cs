using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tokenizers;

namespace Permafrost.Tasks;

/// <summary>Examples written as texts, and tokenised as they are asked for. Batches are as long as their longest text; shorter ones are filled up and masked.</summary>
/// <param name="source">The examples.</param>
/// <param name="form">How they are written.</param>
/// <param name="tokenizer">The body's.</param>
/// <param name="length">Most tokens of a text, special tokens included; longer ones are cut.</param>
internal sealed class WrittenRows(IDataset source, TextForm form, Tokenizer tokenizer, int length) : IDataset, IDisposable
{
    public long? Count => source.Count;

    // In words, not tokens: enough to put examples of about one length together.
    public IReadOnlyList<int>? Lengths => source.Lengths;

    public Batch Get(ReadOnlySpan<long> indices)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        Batch batch = source.Get(indices);
        int[][] rows = [.. tokenizer.EncodeBatch(form.Write(batch), maxLength: length).Select(text => text.Ids)];
        int T = Math.Max(1, rows.Max(row => row.Length));
        (var ids, var mask) = (new long[rows.Length * T], new long[rows.Length * T]);
        Array.Fill(ids, tokenizer.PadId ?? 0);
        for (int row = 0; row < rows.Length; row++)
            for (int i = 0; i < rows[row].Length; i++) (ids[row * T + i], mask[row * T + i]) = (rows[row][i], 1);
        bool padded = rows.Any(row => row.Length < T);
        scope.MoveToOuter(batch.Targets);
        foreach (Tensor subset in batch.Subsets.Values) scope.MoveToOuter(subset);
        return new Batch(
            scope.MoveToOuter(Tensors.From(ids, rows.Length, T)), batch.Targets, padded ? scope.MoveToOuter(Tensors.From(mask, rows.Length, T)) : null)
        { Subsets = batch.Subsets };
    }

    /// <summary>How many of the first examples have more tokens than are read.</summary>
    /// <param name="most">How many are looked at.</param>
    public (int Cut, int Of) CountCut(int most)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        long[] first = [.. Enumerable.Range(0, (int)Math.Min(most, source.Count ?? most)).Select(i => (long)i)];
        return (tokenizer.EncodeBatch(form.Write(source.Get(first)), maxLength: length).Count(text => text.Dropped > 0), first.Length);
    }

    public void Dispose() => (source as IDisposable)?.Dispose();
}
