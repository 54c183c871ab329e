using System.Numerics;
using System.Runtime.InteropServices;

namespace Permafrost.Kernels;

/// <summary>Rows picked out of tensors and tables, with gradients that are added up in the order of the rows.</summary>
public static unsafe class RowsKernel
{
    /// <summary>(B, K, C): of each sequence of x (B, T, C), the vectors at <paramref name="positions"/> (B, K) int64.</summary>
    /// <exception cref="ArgumentException">A position is not among the tokens.</exception>
    public static Tensor Rows(this Tensor x, Tensor positions)
    {
        (long B, long K, long T, long C) = (positions.size(0), positions.size(1), x.size(1), x.size(2));
        if (!KernelSet.Takes(x)) return Segment.ComposeTwin(inputs => inputs[0].gather(1, positions.unsqueeze(2).expand(B, K, C)), x);
        bool grad = torch.is_grad_enabled() && x.requires_grad;
        if (grad && Tape.Current is null) return Segment.Run(input => input.Rows(positions), x);
        long[] picked = positions.ToArray<long>();
        foreach (long position in picked) if (position < 0 || position >= T) throw new ArgumentException($"position {position} is not among the {T} tokens");
        Tensor dense = x.is_contiguous() ? x : x.contiguous(), result = Workspace.Empty([B, K, C], x.dtype);
        long bytes = C * x.ElementSize;
        ScalarType type = x.dtype;
        for (long row = 0; row < B * K; row++)
        {
            nint source = dense.Address() + (nint)((row / K * T + picked[row]) * bytes), target = result.Address() + (nint)(row * bytes);
            Buffer.MemoryCopy((void*)source, (void*)target, bytes, bytes);
        }
        if (!grad || Tape.Current is not { } tape || !tape.Wants(x)) return result;
        tape.Result(result);
        tape.Add(() =>
        {
            if (tape.Take(result) is not { } given) return;
            Tensor dy = Elementwise.As(given, ScalarType.Float32), wide = torch.zeros(B, T, C);
            AddRows(dy, wide, row => row / K * T + picked[row]);
            tape.Give(x, Elementwise.As(wide, type));
        });
        return result;
    }

    /// <summary>(..., C): the rows of a table (V, C) with the given ids (...) int64.</summary>
    /// <param name="table">(V, C).</param>
    /// <param name="ids">(...) int64.</param>
    /// <param name="paddingId">The row that gets no gradient; null for none.</param>
    /// <exception cref="ArgumentException">An id is not among the rows.</exception>
    public static Tensor Lookup(this Tensor table, Tensor ids, long? paddingId = null)
    {
        (long V, long C) = (table.size(0), table.size(1));
        bool grad = torch.is_grad_enabled() && table.requires_grad;
        if (!grad || !KernelSet.Takes(table) || table.dtype != ScalarType.Float32)
            return grad ? Segment.ComposeTwin(inputs => WithoutGradientOf(paddingId, Picked(inputs[0], ids), ids), table) : Picked(table, ids);
        if (Tape.Current is not { } tape) return Segment.Run(input => input.Lookup(ids, paddingId), table);
        long[] picked = ids.ToArray<long>();
        foreach (long id in picked) if (id < 0 || id >= V) throw new ArgumentException($"id {id} is not among the table's {V} rows");
        Tensor result;
        using (torch.no_grad()) result = Picked(table, ids);
        if (!tape.Wants(table)) return result;
        tape.Result(result);
        tape.Add(() =>
        {
            if (tape.Take(result) is not { } given) return;
            Tensor sums = torch.zeros(V, C);
            AddRows(Elementwise.As(given, ScalarType.Float32), sums, row => picked[row]);
            if (paddingId is { } padding) sums.select(0, padding).zero_();
            tape.Give(table, sums);
        });
        return result;
    }

    /// <summary>x (B, T, C) plus rows of a table (P, C): the first T, or those with the given ids (B, T) or (1, T).</summary>
    /// <exception cref="ArgumentException">An id is not among the rows.</exception>
    public static Tensor AddPositions(this Tensor x, Tensor table, Tensor? ids)
    {
        (long B, long T, long C) = (x.size(0), x.size(1), x.size(2));
        bool grad = torch.is_grad_enabled() && (x.requires_grad || table.requires_grad);
        if (!grad || !KernelSet.Takes(x) || x.dtype != ScalarType.Float32 || table.dtype != ScalarType.Float32)
            return grad ? Segment.ComposeTwin(inputs => inputs[0].Plus(Picked(inputs[1], ids, T)), x, table) : x.Plus(Picked(table, ids, T));
        if (Tape.Current is not { } tape) return Segment.Run(given => [given[0]!.AddPositions(given[1]!, ids)], x, table)[0];
        (bool wantsX, bool wantsTable) = (tape.Wants(x), tape.Wants(table));
        long[] picked = ids is null ? [] : ids.ToArray<long>();
        foreach (long id in picked) if (id < 0 || id >= table.size(0)) throw new ArgumentException($"position {id} is not among the table's {table.size(0)} rows");
        Tensor result;
        using (torch.no_grad()) result = x.Plus(Picked(table, ids, T));
        tape.Result(result);
        long[] tableShape = table.shape;
        tape.Add(() =>
        {
            if (tape.Take(result) is not { } given) return;
            Tensor dy = Elementwise.As(given, ScalarType.Float32);
            if (wantsTable)
            {
                Tensor sums = Workspace.Empty(tableShape);
                NativeMemory.Clear((void*)sums.Address(), (nuint)sums.ByteCount());
                if (ids is null) sums.narrow(0, 0, T).copy_(LinearKernel.ColumnSums(dy.view(B, T * C)).view(T, C));
                else AddRows(dy, sums, row => picked[row % picked.Length]);
                tape.Give(table, sums);
            }
            if (wantsX) tape.Give(x, dy);
        });
        return result;
    }

    /// <summary>The numbers from <paramref name="first"/> on, <paramref name="count"/> of them, of each vector.</summary>
    public static Tensor Columns(this Tensor x, long first, long count)
    {
        Tensor part;
        using (torch.no_grad()) part = x.narrow(-1, first, count).contiguous();
        if (!torch.is_grad_enabled() || !x.requires_grad) return part;
        if (Tape.Current is not { } tape || !tape.Wants(x)) return x.narrow(-1, first, count);
        tape.Result(part);
        long[] shape = x.shape;
        ScalarType type = x.dtype;
        tape.Add(() =>
        {
            if (tape.Take(part) is not { } dy) return;
            Tensor dx = torch.zeros(shape, type);
            dx.narrow(-1, first, count).copy_(dy);
            tape.Give(x, dx);
        });
        return part;
    }

    /// <summary>The tensor in another shape with as many numbers; inside a segment, with its gradient.</summary>
    public static Tensor Reshaped(this Tensor x, params long[] shape)
    {
        if (!torch.is_grad_enabled() || !x.requires_grad || Tape.Current is not { } tape || !tape.Wants(x)) return x.reshape(shape);
        Tensor result;
        using (torch.no_grad()) result = x.detach().reshape(shape);
        tape.Result(result);
        long[] given = x.shape;
        tape.Add(() =>
        {
            if (tape.Take(result) is { } gradient) tape.Give(x, gradient.reshape(given));
        });
        return result;
    }

    private static Tensor Picked(Tensor table, Tensor? ids, long tokens) => ids is null ? table.narrow(0, 0, tokens) : Picked(table, ids);

    private static Tensor Picked(Tensor table, Tensor ids) => table.index_select(0, ids.reshape(-1)).view([.. ids.shape, table.size(1)]);

    private static Tensor WithoutGradientOf(long? paddingId, Tensor vectors, Tensor ids) =>
        paddingId is { } padding ? torch.where(ids.eq(padding.Hold()).unsqueeze(-1), vectors.detach(), vectors) : vectors;

    private static void AddRows(Tensor rows, Tensor sums, Func<long, long> target)
    {
        int width = (int)rows.size(-1);
        long count = width == 0 ? 0 : rows.NumberOfElements / width;
        var from = (float*)rows.Address();
        var to = (float*)sums.Address();
        for (long row = 0; row < count; row++)
        {
            float* sum = to + target(row) * width;
            float* added = from + row * width;
            int i = 0;
            for (; i + Vector<float>.Count <= width; i += Vector<float>.Count) (Vector.Load(sum + i) + Vector.Load(added + i)).Store(sum + i);
            for (; i < width; i++) sum[i] += added[i];
        }
        GC.KeepAlive(rows);
        GC.KeepAlive(sums);
    }
}
