using Permafrost.Kernels.Interop;

namespace Permafrost.Kernels;

/// <summary>Layer and root mean square normalisation, and the residual stream that they follow, in one pass over memory each way.</summary>
public static unsafe class NormKernel
{
    /// <summary>Layer normalisation over the last dimension; the result has the given type.</summary>
    /// <exception cref="ArgumentException">Shapes or types do not match.</exception>
    public static Tensor FusedNorm(this Tensor x, Tensor weight, Tensor bias, double epsilon, ScalarType type) => Norm(x, weight, bias, epsilon, type);

    /// <summary>Root mean square normalisation over the last dimension; the result has the given type.</summary>
    /// <exception cref="ArgumentException">Shapes or types do not match.</exception>
    public static Tensor FusedRmsNorm(this Tensor x, Tensor weight, double epsilon, ScalarType type) => Norm(x, weight, null, epsilon, type);

    /// <summary>This stream plus dropout(y), and the layer norm of that sum.</summary>
    /// <exception cref="ArgumentException">Shapes or types do not match.</exception>
    public static (Tensor Sum, Tensor Normed) ResidualNorm(this Tensor x, Tensor y, Tensor weight, Tensor bias, double epsilon, DropoutDraw dropout, ScalarType type) =>
        Residual(x, y, weight, bias, epsilon, dropout, type);

    /// <summary>This stream plus dropout(y), and the root mean square norm of that sum.</summary>
    /// <exception cref="ArgumentException">Shapes or types do not match.</exception>
    public static (Tensor Sum, Tensor Normed) ResidualRmsNorm(this Tensor x, Tensor y, Tensor weight, double epsilon, DropoutDraw dropout, ScalarType type) =>
        Residual(x, y, weight, null, epsilon, dropout, type);

    private static Tensor Norm(Tensor x, Tensor weight, Tensor? bias, double epsilon, ScalarType type)
    {
        Check(x, weight, bias, type);
        if (!KernelSet.Takes(x) || !KernelSet.Writes(type)) return Segment.ComposeTwin(inputs => NormTwin.Norm(inputs[0], weight, bias, epsilon, type), x);
        bool grad = torch.is_grad_enabled() && (x.requires_grad || weight.requires_grad || bias is { requires_grad: true });
        if (grad && Tape.Current is null) return Segment.Run(given => [Norm(given[0]!, given[1]!, given[2], epsilon, type)], x, weight, bias)[0];
        return Forward(grad ? Tape.Current : null, x, null, weight, bias, epsilon, default, type).Normed;
    }

    private static (Tensor Sum, Tensor Normed) Residual(Tensor x, Tensor y, Tensor weight, Tensor? bias, double epsilon, DropoutDraw dropout, ScalarType type)
    {
        if (!x.HasShape(y.shape)) throw new ArgumentException($"what is added is {y.Describe()}, the stream {x.Describe()}");
        Check(x, weight, bias, type);
        LinearKernel.CheckFloating(y, "what is added");
        LinearKernel.CheckDevice(x, y, "what is added");
        dropout.Checked();
        if (!KernelSet.Takes(x) || !KernelSet.Takes(y) || !KernelSet.Writes(type)) return Composed(x, y, weight, bias, epsilon, dropout, type);
        bool grad = torch.is_grad_enabled() && (x.requires_grad || y.requires_grad || weight.requires_grad || bias is { requires_grad: true });
        if (!grad || Tape.Current is not null) return Forward(grad ? Tape.Current : null, x, y, weight, bias, epsilon, dropout, type);
        Tensor[] results = Segment.Run(inputs =>
        {
            (Tensor sum, Tensor normed) = Residual(inputs[0]!, inputs[1]!, inputs[2]!, inputs[3], epsilon, dropout, type);
            return [sum, normed];
        }, x, y, weight, bias);
        return (results[0], results[1]);
    }

    private static (Tensor Sum, Tensor Normed) Composed(Tensor x, Tensor y, Tensor weight, Tensor? bias, double epsilon, DropoutDraw dropout, ScalarType type)
    {
        if (Tape.Current is null) return NormTwin.ResidualNorm(x, y, weight, bias, epsilon, dropout, type);
        // A composed function returns one tensor, so there are two of them: one for the sum, one for its norm.
        Tensor sum = Segment.ComposeTwin(inputs => NormTwin.Residual(inputs[0], inputs[1], dropout), x, y);
        return (sum, Segment.ComposeTwin(inputs => NormTwin.Norm(inputs[0], weight, bias, epsilon, type), sum));
    }

    // Without y there is no residual, and x itself is what is normalised.
    private static (Tensor Sum, Tensor Normed) Forward(Tape? tape, Tensor x, Tensor? y, Tensor weight, Tensor? bias, double epsilon, DropoutDraw dropout, ScalarType type)
    {
        (bool wantsX, bool wantsY, bool wantsWeight, bool wantsBias) = tape is null
            ? (false, false, false, false)
            : (tape.Wants(x), tape.Wants(y), tape.Wants(weight), tape.Wants(bias));
        Tensor stream = Elementwise.As(x, ScalarType.Float32), gain = Elementwise.As(weight, ScalarType.Float32);
        Tensor? shift = bias is null ? null : Elementwise.As(bias, ScalarType.Float32);
        Tensor? added = y is null || y.is_contiguous() ? y : y.contiguous();
        long[] shape = stream.shape;
        long width = shape[^1], vectors = width == 0 ? 0 : stream.NumberOfElements / width;
        Tensor sum = added is null ? stream : Workspace.Empty(shape), normed = Workspace.Empty(shape, type), statistics = torch.empty(2, vectors);
        (long rows, long tokens) = Rows(shape, vectors);
        var arguments = new NormForwardArguments
        {
            Rows = rows,
            Tokens = tokens,
            Width = width,
            X = stream.Address(),
            Y = added?.Address() ?? 0,
            YType = added is null ? 0 : Elementwise.TypeCode(added.dtype),
            Dropout = new NativeDropout(dropout),
            Weight = gain.Address(),
            Bias = shift?.Address() ?? 0,
            Epsilon = epsilon,
            Sum = added is null ? 0 : sum.Address(),
            Normed = normed.Address(),
            NormedType = Elementwise.TypeCode(type),
            Mean = statistics.Address(),
        };
        arguments.Rstd = arguments.Mean + (nint)(vectors * sizeof(float));
        if (vectors > 0) NativeMethods.Check(NativeMethods.pf_norm_forward(&arguments));
        GC.KeepAlive(stream);
        GC.KeepAlive(added);
        GC.KeepAlive(gain);
        GC.KeepAlive(shift);
        GC.KeepAlive(statistics);
        if (!(wantsX || wantsY || wantsWeight || wantsBias)) return (sum, normed);

        bool sumIsResult = added is not null && (wantsX || wantsY);
        if (sumIsResult) tape!.Result(sum);
        tape!.Result(normed);
        Tensor heldSum = added is null && !ReferenceEquals(stream, x) ? tape.Own(stream) : tape.Hold(sum);
        Tensor heldGain = ReferenceEquals(gain, weight) ? tape.Hold(weight) : tape.Own(gain);
        tape.Own(statistics);
        ScalarType xType = x.dtype, yType = added?.dtype ?? ScalarType.Float32;
        tape.Add(() =>
        {
            Tensor? dSum = sumIsResult ? tape.Take(sum) : null, dNormed = tape.Take(normed);
            if (dSum is null && dNormed is null) return;
            if (dSum is not null) dSum = Elementwise.As(dSum, ScalarType.Float32);
            if (dNormed is not null) dNormed = Elementwise.As(dNormed, dNormed.dtype == ScalarType.BFloat16 ? ScalarType.BFloat16 : ScalarType.Float32);
            Tensor? dx = wantsX || wantsY ? Workspace.Empty(shape) : null, dy = wantsY ? Workspace.Empty(shape, yType) : null;
            Tensor? dWeight = wantsWeight ? torch.empty(width) : null, dBias = wantsBias ? torch.empty(width) : null;
            var call = new NormBackwardArguments
            {
                Rows = rows,
                Tokens = tokens,
                Width = width,
                Centred = bias is null ? 0 : 1,
                Sum = heldSum.Address(),
                Mean = statistics.Address(),
                Weight = heldGain.Address(),
                DNormed = dNormed?.Address() ?? 0,
                DNormedType = dNormed is null ? 0 : Elementwise.TypeCode(dNormed.dtype),
                DSum = dSum?.Address() ?? 0,
                Dropout = new NativeDropout(dropout),
                Dx = dx?.Address() ?? 0,
                Dy = dy?.Address() ?? 0,
                DyType = Elementwise.TypeCode(yType),
                DWeight = dWeight?.Address() ?? 0,
                DBias = dBias?.Address() ?? 0,
            };
            call.Rstd = call.Mean + (nint)(vectors * sizeof(float));
            NativeMethods.Check(NativeMethods.pf_norm_backward(&call));
            GC.KeepAlive(dSum);
            GC.KeepAlive(dNormed);
            if (wantsX) tape.Give(x, Elementwise.As(dx!, xType));
            if (dy is not null) tape.Give(y!, dy);
            if (dWeight is not null) tape.Give(weight, weight.dtype == ScalarType.Float32 ? dWeight : dWeight.to(weight.dtype));
            if (dBias is not null) tape.Give(bias!, bias!.dtype == ScalarType.Float32 ? dBias : dBias.to(bias.dtype));
        });
        return (sum, normed);
    }

    // Dropout counts rows along the first dimension; the dimensions between it and the last are the tokens of a row.
    private static (long Rows, long Tokens) Rows(long[] shape, long vectors) => shape.Length < 2 ? (1, vectors) : (shape[0], shape[0] == 0 ? 0 : vectors / shape[0]);

    private static void Check(Tensor x, Tensor weight, Tensor? bias, ScalarType type)
    {
        if (x.Dimensions < 1) throw new ArgumentException("a norm wants at least one dimension");
        LinearKernel.CheckFloating(x, "the input");
        if (!type.IsFloatingPoint()) throw new ArgumentException($"the result must be floating-point numbers, not {type}");
        foreach ((Tensor? tensor, string name) in new[] { (weight, "the gain"), (bias, "the bias") })
        {
            if (tensor is null) continue;
            if (tensor.Dimensions != 1 || tensor.size(0) != x.size(-1)) throw new ArgumentException($"{name} is {tensor.Describe()}, and a row has {x.size(-1)} numbers");
            LinearKernel.CheckFloating(tensor, name);
            LinearKernel.CheckDevice(x, tensor, name);
        }
    }
}
