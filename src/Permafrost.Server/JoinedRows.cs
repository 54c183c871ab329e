using Permafrost.Data;

namespace Permafrost.Server;

/// <summary>Rows of several requests as one split. Where some are shorter than others they are filled up with zeros and masked, which changes no row's answer.</summary>
/// <param name="parts">A part's rows, and which of them: as many as a request has at this turn.</param>
internal sealed class JoinedRows(IReadOnlyList<RowSlice> parts) : IDataset
{
    private readonly (IDataset Rows, long Number)[] rows =
        [.. parts.SelectMany(part => Enumerable.Range(part.Start, part.Count).Select(number => (part.Rows, (long)number)))];

    public long? Count => rows.Length;

    public IReadOnlyList<int>? Lengths { get; } = parts.Any(part => part.Rows.Lengths is null) ? null
        : [.. parts.SelectMany(part => part.Rows.Lengths!.Skip(part.Start).Take(part.Count))];

    public Batch Get(ReadOnlySpan<long> indices)
    {
        // Neighbours of one request are read together; rows of a batch stay in the order in which they were asked for.
        var batches = new List<Batch>();
        for (int first = 0; first < indices.Length;)
        {
            IDataset source = rows[indices[first]].Rows;
            var numbers = new List<long>();
            while (first < indices.Length && ReferenceEquals(rows[indices[first]].Rows, source)) numbers.Add(rows[indices[first++]].Number);
            batches.Add(source.Get(numbers.ToArray()));
        }
        if (batches.Count == 1) return batches[0];
        long longest = batches.Max(batch => batch.Inputs.size(1));
        // Pixels have no mask and one size.
        bool isPadded = batches[0].Inputs.Dimensions < 4 && batches.Any(batch => batch.Mask is not null || batch.Inputs.size(1) < longest);
        Tensor inputs = torch.cat([.. batches.Select(batch => Padded(batch.Inputs, longest))], 0);
        Tensor? mask = isPadded ? torch.cat([.. batches.Select(batch => Padded(batch.Mask ?? Ones(batch), longest))], 0) : null;
        // Nobody looks at the targets of rows that are to be answered; one for each keeps the shape.
        return new Batch(inputs, torch.full([indices.Length, 1], -100, ScalarType.Int64), mask);
    }

    private static Tensor Ones(Batch batch) => torch.ones([batch.Inputs.size(0), batch.Inputs.size(1)], ScalarType.Int64);

    private static Tensor Padded(Tensor tensor, long length)
    {
        long own = tensor.size(1);
        if (own == length || tensor.Dimensions == 4) return tensor;
        long[] shape = [.. tensor.shape];
        shape[1] = length - own;
        return torch.cat([tensor, torch.zeros(shape, tensor.dtype)], 1);
    }
}

/// <summary>Neighbouring rows.</summary>
/// <param name="Rows">Where they are.</param>
/// <param name="Start">The first.</param>
/// <param name="Count">How many.</param>
internal readonly record struct RowSlice(IDataset Rows, int Start, int Count);
