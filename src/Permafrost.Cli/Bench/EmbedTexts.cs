using System.Runtime.InteropServices;

namespace Permafrost.Cli.Bench;

/// <summary>The texts that both sides of an embedding benchmark embed, a line each, in batches; and the embeddings as a file of numbers.</summary>
internal sealed class EmbedTexts
{
    private readonly string[][] batches;

    private EmbedTexts(string[] all, int batch)
    {
        All = all;
        batches = [.. all.Chunk(batch)];
    }

    public string[] All { get; }

    public static EmbedTexts Read(string path, int batch) => new(File.ReadAllLines(path), batch);

    /// <summary>A batch; after the last the first comes again.</summary>
    public string[] Batch(int number) => batches[number % batches.Length];

    /// <summary>The rows of a batch whose longest text has so many tokens: what <see cref="SentenceEmbedder"/> takes.</summary>
    public static int RowsOfABatch(int tokens) => Math.Clamp(4096 / tokens, 1, 64);

    /// <summary>Writes embeddings as float32, one behind another.</summary>
    public static void Write(string path, IEnumerable<float[]> embeddings)
    {
        using FileStream file = File.Create(path);
        foreach (float[] embedding in embeddings) file.Write(MemoryMarshal.AsBytes<float>(embedding));
    }

    /// <summary>The lowest cosine of two files' embeddings, pair by pair; they have unit length.</summary>
    public static double LowestCosine(string one, string other, int count)
    {
        ReadOnlySpan<float> a = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(one)), b = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(other));
        if (a.Length != b.Length || a.Length % count != 0) throw new PermafrostException($"the sides gave {a.Length} and {b.Length} numbers for {count} texts");
        (int width, double lowest) = (a.Length / count, 1);
        for (int row = 0; row < count; row++)
        {
            (double product, double left, double right) = (0, 0, 0);
            for (int i = row * width; i < (row + 1) * width; i++) (product, left, right) = (product + (double)a[i] * b[i], left + (double)a[i] * a[i], right + (double)b[i] * b[i]);
            double cosine = product / Math.Sqrt(left * right);
            if (!(cosine >= lowest)) lowest = cosine;
        }
        return lowest;
    }
}
