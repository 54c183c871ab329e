using Permafrost.Data;

namespace Permafrost.Tasks;

/// <summary>Examples with other answers than their own.</summary>
/// <param name="examples">The examples.</param>
/// <param name="targets">Gives the answers of some of them, by their numbers.</param>
internal sealed class Reanswered(IDataset examples, Func<long[], Tensor> targets) : IDataset, IDisposable
{
    public long? Count => examples.Count;

    public IReadOnlyList<int>? Lengths => examples.Lengths;

    public Batch Get(ReadOnlySpan<long> indices)
    {
        Batch batch = examples.Get(indices);
        batch.Targets.Dispose();
        return batch with { Targets = targets(indices.ToArray()) };
    }

    public void Dispose() => (examples as IDisposable)?.Dispose();
}
