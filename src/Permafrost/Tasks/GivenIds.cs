using Permafrost.Data;
using Permafrost.Kernels;

namespace Permafrost.Tasks;

/// <summary>Inputs of ids without answers, all of one length: what <see cref="TaskDefinition.ReadInputs"/> gives where an input is a line of text.</summary>
public sealed class GivenIds : IDataset
{
    private readonly IReadOnlyList<long[]> rows;
    private readonly int answers;

    private GivenIds(IReadOnlyList<long[]> rows, int answers) => (this.rows, this.answers) = (rows, answers);

    /// <inheritdoc/>
    public long? Count => rows.Count;

    /// <summary>Reads the lines of a file, or of standard input, in parts.</summary>
    /// <param name="path">The file; <c>-</c> for standard input.</param>
    /// <param name="spec">What the model was trained for: its classes are asked for, and its ids and length are held to.</param>
    /// <param name="format">The format in words, for errors (<see cref="TaskDefinition.InputFormat"/>).</param>
    /// <param name="partSize">The most inputs in a part.</param>
    /// <param name="parse">The ids of a line; null where it is none of the format.</param>
    /// <exception cref="PermafrostException">The file cannot be read, or holds a line of another format.</exception>
    public static IEnumerable<IDataset> OfLines(string path, TaskSpec spec, string format, int partSize, Func<string, long[]?> parse)
    {
        int vocabulary = ((IdInput)spec.Input).Vocabulary;
        return TextLines.Parts(path, partSize, format, Parse, rows => new GivenIds(rows, spec.Output.Answers));

        long[] Parse(int number, string line) => parse(line) is { } ids && ids.Length == spec.Input.Length && ids.All(id => id >= 0 && id < vocabulary) ? ids
            : throw new PermafrostException($"{TextLines.Name(path, number)}: '{(line.Length > 40 ? line[..40] + "..." : line)}' is not what is expected, {format}");
    }

    /// <inheritdoc/>
    public Batch Get(ReadOnlySpan<long> indices)
    {
        var ids = new List<long>();
        foreach (long index in indices) ids.AddRange(rows[(int)index]);
        return new Batch(Tensors.From([.. ids], indices.Length, rows[0].Length), torch.full([indices.Length, answers], (-100).Hold(), ScalarType.Int64));
    }
}
