namespace Permafrost.Kernels;

public static unsafe partial class LinearKernel
{
    // Logits in memory at once, 32 MB: with a vocabulary of 8,192 those of 1,024 rows.
    private const long LogitElements = 8L << 20;

    /// <summary>
    /// The mean cross entropy of the logits x W^T + b against the right answers, without ever holding all logits: a few rows at a time are multiplied, turned into the gradient,
    /// and multiplied back, as soon as they are there. Products in bfloat16 where the processor has them, sums in float32.
    /// </summary>
    /// <param name="x">(N, C): what the table is multiplied by.</param>
    /// <param name="table">(V, C) float32.</param>
    /// <param name="bias">(V) float32, or null.</param>
    /// <param name="answers">N ids; a negative one does not count.</param>
    /// <param name="type">bfloat16 for products in that type; else float32.</param>
    /// <returns>A number: 0 where no answer counts.</returns>
    internal static Tensor LinearCrossEntropy(this Tensor x, Tensor table, Tensor? bias, long[] answers, ScalarType type)
    {
        (long rows, long width, long vocabulary) = (x.size(0), x.size(1), table.size(0));
        if (answers.Length != rows) throw new ArgumentException($"{answers.Length} answers do not belong to {rows} rows");
        if (answers.FirstOrDefault(answer => answer >= vocabulary) is > 0 and var beyond) throw new ArgumentException($"the answer {beyond} is not among {vocabulary} tokens");
        bool product = type == ScalarType.BFloat16 && KernelSet.Takes(x) && table.dtype == ScalarType.Float32 && KernelSet.MultipliesBFloat16;
        if (!product) return Segment.ComposeTwin(inputs => CrossEntropyTwin(inputs[0], table, bias, answers, type), x);
        bool grad = torch.is_grad_enabled() && (x.requires_grad || table.requires_grad);
        if (grad && Tape.Current is null) return Segment.Run(given => [given[0]!.LinearCrossEntropy(given[1]!, given[2], answers, type)], x, table, bias)[0];
        Tape? tape = grad ? Tape.Current : null;
        (bool wantsX, bool wantsTable, bool wantsBias) = Wants(tape, x, table, bias);
        long count = answers.LongCount(answer => answer >= 0);
        double total = 0;
        Tensor dx = null!, dTable = null!, dBias = null!;
        using (torch.no_grad())
        {
            Tensor dense = Elementwise.As(x, ScalarType.BFloat16), packed = Packed(table, transposed: true);
            if (wantsX) dx = Workspace.Empty(x.shape);
            if (wantsTable) dTable = torch.zeros(width, vocabulary);
            if (wantsBias) dBias = torch.zeros(bias!.shape);
            long chunk = ChunkRows(vocabulary);
            for (long from = 0; from < rows; from += chunk)
            {
                using DisposeScope scope = torch.NewDisposeScope();
                long some = Math.Min(chunk, rows - from);
                Tensor part = dense.narrow(0, from, some);
                Tensor logits = Product(part, packed, bias, width, vocabulary, transposed: false, FusedActivation.None, [some, vocabulary], ScalarType.Float32, null);
                Tensor slope = wantsX || wantsTable ? Workspace.Empty([some, vocabulary], ScalarType.BFloat16) : null!;
                total += Softmax(logits, answers.AsSpan((int)from, (int)some), 1.0 / Math.Max(1, count), slope);
                if (wantsX)
                {
                    Tensor back = Product(slope, packed, null, width, vocabulary, transposed: true, FusedActivation.None, [some, width], ScalarType.Float32, null);
                    dx.narrow(0, from, some).copy_(back);
                }
                // Turned round: what is transposed for it is the part, not the far larger slope.
                if (wantsTable) Elementwise.AddTo(dTable, WeightGradient(part, slope));
                if (wantsBias) Elementwise.AddTo(dBias, ColumnSums(slope));
            }
        }
        if (wantsTable) dTable = Turned(dTable);
        Tensor loss = torch.tensor((float)(count == 0 ? 0 : total / count));
        if (!(wantsX || wantsTable || wantsBias)) return loss;
        if (wantsX) tape!.Own(dx);
        if (wantsTable) tape!.Own(dTable);
        if (wantsBias) tape!.Own(dBias);
        tape!.Result(loss);
        ScalarType xType = x.dtype;
        tape.Add(() =>
        {
            if (tape.Take(loss) is not { } given) return;
            double factor = given.Number();
            Tensor Scaled(Tensor gradient) => factor == 1 ? gradient.alias() : gradient.Times(factor);
            if (wantsX) tape.Give(x, Elementwise.As(Scaled(dx), xType));
            if (wantsTable) tape.Give(table, Scaled(dTable));
            if (wantsBias) tape.Give(bias!, Scaled(dBias));
        });
        return loss;
    }

    private static Tensor Turned(Tensor matrix)
    {
        using var noGrad = torch.no_grad();
        using (matrix) return matrix.transpose(0, 1).contiguous();
    }

    // The sum of the rows' cross entropies; slope becomes their gradient times a factor. A row's sum is in float32, in the order of its columns.
    private static double Softmax(Tensor logits, ReadOnlySpan<long> answers, double factor, Tensor? slope)
    {
        (int rows, int width) = ((int)logits.size(0), (int)logits.size(1));
        var losses = new double[rows];
        nint from = logits.Address(), to = slope?.Address() ?? 0;
        long[] wanted = answers.ToArray();
        CrossEntropyRows.Run(from, to, wanted, width, (float)factor, losses);
        GC.KeepAlive(logits);
        GC.KeepAlive(slope);
        double sum = 0;
        foreach (double loss in losses) sum += loss;
        return sum;
    }

    // As above without kernels: libtorch's autograd computes the gradient of a few rows, and forgets their logits.
    private static Tensor CrossEntropyTwin(Tensor x, Tensor table, Tensor? bias, long[] answers, ScalarType type)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        bool Wanted(Tensor? given) => torch.is_grad_enabled() && given is { requires_grad: true };
        Tensor Leaf(Tensor given) => Wanted(given) ? given.detach().requires_grad_(true) : given.detach();
        (Tensor tableLeaf, Tensor? biasLeaf) = (Leaf(table), bias is null ? null : Leaf(bias));
        Tensor? dx = Wanted(x) ? torch.zeros_like(x) : null;
        bool grad = dx is not null || Wanted(table) || Wanted(bias);
        long count = Math.Max(1, answers.LongCount(answer => answer >= 0)), chunk = ChunkRows(table.size(0));
        double total = 0;
        for (long from = 0; from < answers.Length; from += chunk)
        {
            using DisposeScope part = torch.NewDisposeScope();
            long some = Math.Min(chunk, answers.Length - from);
            Tensor rows = x.detach().narrow(0, from, some);
            if (dx is not null) rows.requires_grad_(true);
            Tensor wanted = Tensors.From([.. answers.Skip((int)from).Take((int)some).Select(answer => answer < 0 ? -100 : answer)]).to(x.device);
            Tensor logits = LinearTwin.Forward(rows, tableLeaf.transpose(0, 1), biasLeaf, FusedActivation.None, type).to(ScalarType.Float32);
            Tensor loss = torch.nn.functional.cross_entropy(logits, wanted, reduction: torch.nn.Reduction.Sum).Times(1.0 / count);
            total += loss.Number();
            if (!grad) continue;
            loss.backward();
            if (dx is not null) using (torch.no_grad()) dx.narrow(0, from, some).copy_(rows.grad!);
        }
        Tensor result = torch.tensor((float)total, device: x.device);
        // The gradients are there: a product with each hands it on, and adds 0.
        foreach ((Tensor? given, Tensor? gradient) in new[] { (x, dx), (table, tableLeaf.grad), (bias, biasLeaf?.grad) })
        {
            if (gradient is null) continue;
            Tensor carried = (given!.to(ScalarType.Float32) * gradient.to(ScalarType.Float32)).sum();
            result = result.Plus(carried - carried.detach());
        }
        return scope.MoveToOuter(result);
    }

    private static long ChunkRows(long vocabulary) => Math.Max(32, LogitElements / vocabulary / 32 * 32);
}
