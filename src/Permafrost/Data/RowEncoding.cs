using Permafrost.Kernels;

namespace Permafrost.Data;

/// <summary>
/// How a row of numbers becomes a sequence: every column is made to have mean 0 and deviation 1 over the training rows, and so many neighbouring columns make a token. A column
/// that never changes becomes 0.
/// </summary>
/// <param name="Means">Of each column.</param>
/// <param name="Deviations">Of each column.</param>
/// <param name="Chunk">Columns of a token; what the last token lacks is 0.</param>
public sealed record RowEncoding(IReadOnlyList<float> Means, IReadOnlyList<float> Deviations, int Chunk)
{
    /// <summary>T, tokens of a row.</summary>
    public int Length => (Means.Count + Chunk - 1) / Chunk;

    /// <summary>The encoding of some rows.</summary>
    /// <param name="rows">The training rows, all of one width.</param>
    /// <param name="longest">Tokens of a sequence at most.</param>
    public static RowEncoding Of(IReadOnlyList<float[]> rows, int longest)
    {
        int width = rows[0].Length;
        (var means, var deviations) = (new float[width], new float[width]);
        for (int column = 0; column < width; column++)
        {
            double mean = rows.Average(row => (double)row[column]);
            // The mean of equal numbers may be another by a rounding, and their deviation no 0.
            bool changes = rows.Any(row => row[column] != rows[0][column]);
            double deviation = changes ? Math.Sqrt(rows.Average(row => (row[column] - mean) * (row[column] - mean))) : 0;
            (means[column], deviations[column]) = ((float)mean, (float)deviation);
        }
        return new RowEncoding(means, deviations, (width + longest - 1) / longest);
    }

    /// <summary>(B, T, Chunk) from rows.</summary>
    /// <param name="rows">The rows.</param>
    /// <param name="first">The number that errors give the first of them.</param>
    /// <exception cref="PermafrostException">A row has another number of columns, or holds a number with which nothing can be computed.</exception>
    public Tensor Encode(IReadOnlyList<IReadOnlyList<float>> rows, int first = 0) => Encode(rows, row => $"row {first + row}");

    /// <summary>The same for rows that have names of their own.</summary>
    internal Tensor Encode(IReadOnlyList<IReadOnlyList<float>> rows, Func<int, string> where)
    {
        var encoded = new float[rows.Count * Length * Chunk];
        for (int row = 0; row < rows.Count; row++)
        {
            if (rows[row].Count != Means.Count) throw new PermafrostException($"{where(row)} has {rows[row].Count} numbers; the classifier was trained on {Means.Count}");
            for (int column = 0; column < Means.Count; column++)
            {
                float number = rows[row][column];
                if (!float.IsFinite(number))
                    throw new PermafrostException($"{where(row)} holds {number} in column {column}, with which nothing can be computed; mend the row or leave it out");
                float scaled = Deviations[column] > 0 ? (number - Means[column]) / Deviations[column] : 0;
                if (!float.IsFinite(scaled))
                    throw new PermafrostException(
                        $"{where(row)} holds {number} in column {column}, too far from the rows of the training to be computed with; mend the row or leave it out");
                encoded[row * Length * Chunk + column] = scaled;
            }
        }
        return Tensors.From(encoded, rows.Count, Length, Chunk);
    }
}

/// <summary>Encoded rows as a split.</summary>
/// <param name="rows">The rows.</param>
/// <param name="targets">A class for each; null where none is known.</param>
/// <param name="encoding">How rows become sequences.</param>
/// <param name="where">Names a row in errors, by its number; null for that.</param>
internal sealed class EncodedRows(IReadOnlyList<float[]> rows, IReadOnlyList<long>? targets, RowEncoding encoding, Func<int, string>? where = null) : IDataset
{
    public long? Count => rows.Count;

    public Batch Get(ReadOnlySpan<long> indices)
    {
        int[] chosen = new int[indices.Length];
        for (int i = 0; i < chosen.Length; i++) chosen[i] = (int)indices[i];
        Tensor inputs = encoding.Encode([.. chosen.Select(row => rows[row])], i => where is null ? $"row {chosen[i]}" : where(chosen[i]));
        return new Batch(inputs, Tensors.From([.. chosen.Select(row => targets?[row] ?? -100)], chosen.Length, 1));
    }
}
