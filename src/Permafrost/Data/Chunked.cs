namespace Permafrost.Data;

/// <summary>A list that grows piece by piece: a doubled array would need three times its memory for a moment.</summary>
internal sealed class Chunked<T>
{
    private const int ChunkBits = 16;

    private readonly List<T[]> chunks = [];

    public long Count { get; private set; }

    public T this[long index] => chunks[(int)(index >> ChunkBits)][index & ((1 << ChunkBits) - 1)];

    public void Add(T value)
    {
        if (Count >> ChunkBits == chunks.Count) chunks.Add(new T[1 << ChunkBits]);
        chunks[^1][Count & ((1 << ChunkBits) - 1)] = value;
        Count++;
    }
}
