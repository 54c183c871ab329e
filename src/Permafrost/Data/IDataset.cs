namespace Permafrost.Data;

/// <summary>One split's examples, by number.</summary>
public interface IDataset
{
    /// <summary>The number of examples; null when they are generated without end.</summary>
    long? Count { get; }

    /// <summary>The number of tokens in each example; null where all have the same, or where the examples are endless.</summary>
    IReadOnlyList<int>? Lengths => null;

    /// <summary>The examples with these numbers, as one batch in this order, on the CPU.</summary>
    Batch Get(ReadOnlySpan<long> indices);
}

/// <summary>A choice of another split's examples, in a given order.</summary>
/// <param name="source">The split that the examples are in.</param>
/// <param name="chosen">The numbers of the chosen examples in it.</param>
public sealed class Subset(IDataset source, long[] chosen) : IDataset, IDisposable
{
    /// <inheritdoc/>
    public long? Count => chosen.Length;

    /// <inheritdoc/>
    public IReadOnlyList<int>? Lengths => source.Lengths is { } lengths ? [.. chosen.Select(index => lengths[checked((int)index)])] : null;

    /// <inheritdoc/>
    public Batch Get(ReadOnlySpan<long> indices)
    {
        var mapped = new long[indices.Length];
        for (int i = 0; i < mapped.Length; i++) mapped[i] = chosen[indices[i]];
        return source.Get(mapped);
    }

    /// <summary>Frees the split that the examples are chosen from.</summary>
    public void Dispose() => (source as IDisposable)?.Dispose();
}
