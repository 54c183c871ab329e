namespace Permafrost.Tasks;

/// <summary>One split's examples, by number.</summary>
public interface IExamples
{
    /// <summary>How many there are; null when they are generated without end.</summary>
    long? Count { get; }

    /// <summary>Of each example, how many tokens it needs; null where all need the same, or there is no end of them.</summary>
    IReadOnlyList<int>? Lengths => null;

    /// <summary>The examples with these numbers, as one batch in this order, on the CPU.</summary>
    Batch Get(ReadOnlySpan<long> indices);
}

/// <summary>A choice of another split's examples, in a given order.</summary>
/// <param name="source">Where the examples are.</param>
/// <param name="chosen">Their numbers there.</param>
public sealed class ExampleSubset(IExamples source, long[] chosen) : IExamples, IDisposable
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

    /// <summary>Frees the split they are chosen from.</summary>
    public void Dispose() => (source as IDisposable)?.Dispose();
}

/// <summary>A task's data, split.</summary>
/// <param name="Shape">What it feeds and asks for.</param>
/// <param name="Train">For training.</param>
/// <param name="Validation">For every choice made on the way; null when there is none.</param>
/// <param name="Test">For the score, once; null when there is none.</param>
public sealed record TaskData(TaskShape Shape, IExamples Train, IExamples? Validation, IExamples? Test) : IDisposable
{
    /// <summary>Frees what the splits hold in memory; they may share it.</summary>
    public void Dispose()
    {
        foreach (IExamples? split in new[] { Train, Validation, Test }) (split as IDisposable)?.Dispose();
    }
}
