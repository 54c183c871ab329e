using Permafrost.Kernels.Interop;

namespace Permafrost.Kernels;

/// <summary>
/// activation(x W + b) with a frozen bfloat16 weight in packed form, or any float32 weight. Keeps for the gradient only what a trained parameter needs: nothing for a frozen map,
/// the derivative for an activation, x where W itself trains.
/// </summary>
public static unsafe partial class LinearKernel
{
    /// <summary>A float32 weight (inputs, outputs), or transposed (outputs, inputs), as bfloat16 in the order in which <see cref="FusedLinear"/> reads it.</summary>
    /// <exception cref="ArgumentException">The weight is not a float32 matrix on the CPU.</exception>
    /// <exception cref="EngineException">This processor does not multiply bfloat16.</exception>
    public static Tensor Pack(this Tensor weight, bool transposed = false)
    {
        if (weight.Dimensions != 2 || weight.NumberOfElements == 0 || weight.dtype != ScalarType.Float32 || !weight.IsOnCpu())
            throw new ArgumentException($"{weight.Describe()} cannot be packed; a float32 matrix on the CPU can");
        RequireKernels();
        return Packed(weight, transposed);
    }

    /// <summary>The float32 weight (inputs, outputs) that was packed, rounded to bfloat16.</summary>
    /// <exception cref="ArgumentException">The packed weight has other sizes.</exception>
    public static Tensor Unpack(this Tensor packed, long inputs, long outputs)
    {
        CheckPacked(packed, inputs, outputs);
        Tensor weight = torch.empty(inputs, outputs);
        var arguments = new PackArguments { Inputs = inputs, Outputs = outputs, Weight = weight.Address(), Packed = packed.Address() };
        NativeMethods.Check(NativeMethods.pf_unpack(&arguments));
        GC.KeepAlive(packed);
        return weight;
    }

    /// <summary>activation(x W + b).</summary>
    /// <param name="x">(..., inputs).</param>
    /// <param name="weight">Packed, or (inputs, outputs).</param>
    /// <param name="bias">(outputs) float32, or null.</param>
    /// <param name="outputs">The number of outputs for each row.</param>
    /// <param name="activation">Applied to the result of the map.</param>
    /// <param name="type">The element type of the result.</param>
    /// <param name="outputsFirst">Whether the weight is stored as (outputs, inputs).</param>
    /// <exception cref="ArgumentException">Shapes or types do not match.</exception>
    public static Tensor FusedLinear(this Tensor x, Tensor weight, Tensor? bias, long outputs, FusedActivation activation, ScalarType type, bool outputsFirst = false)
    {
        bool packed = weight.Dimensions == 1;
        Check(x, weight, bias, outputs, type, packed, outputsFirst);
        if (!Enum.IsDefined(activation)) throw new ArgumentException($"{(int)activation} is not an activation of a linear map");
        bool takes = KernelSet.Takes(x) && KernelSet.Writes(type) && (bias is null || bias.dtype == ScalarType.Float32);
        bool product = takes && (packed || (weight.dtype == ScalarType.Float32 && type == ScalarType.BFloat16)) && KernelSet.MultipliesBFloat16;
        // Where nothing multiplies bfloat16, its numbers are widened, since libtorch's own product of them depends on the other rows.
        bool plain = takes && !packed && (weight.dtype == ScalarType.Float32 || weight is { dtype: ScalarType.BFloat16, requires_grad: false });
        if (!product && !plain) return Composed(x, weight, bias, outputs, activation, type, packed, outputsFirst);
        bool grad = torch.is_grad_enabled() && (x.requires_grad || weight.requires_grad || bias is { requires_grad: true });
        if (grad && Tape.Current is null) return Segment.Run(given => [given[0]!.FusedLinear(given[1]!, given[2], outputs, activation, type, outputsFirst)], x, weight, bias)[0];
        Tape? tape = grad ? Tape.Current : null;
        return product
            ? PackedForward(tape, x, weight, bias, outputs, activation, type, outputsFirst)
            : PlainForward(tape, x, weight, bias, outputs, activation, type, outputsFirst);
    }

    /// <summary>The outputs from <paramref name="first"/> on, <paramref name="count"/> of them, of x W + b; of a frozen weight the others are not computed.</summary>
    /// <param name="x">(..., inputs).</param>
    /// <param name="weight">Packed, or (inputs, outputs).</param>
    /// <param name="bias">(outputs) float32, or null.</param>
    /// <param name="outputs">The number of outputs that the whole map has for each row.</param>
    /// <param name="first">The index of the first output that is computed.</param>
    /// <param name="count">The number of outputs that are computed.</param>
    /// <param name="type">The element type of the result.</param>
    /// <exception cref="ArgumentException">Shapes or types do not match, or the part is not among the outputs.</exception>
    public static Tensor FusedLinearPart(this Tensor x, Tensor weight, Tensor? bias, long outputs, long first, long count, ScalarType type)
    {
        if (first < 0 || count <= 0 || first > outputs - count) throw new ArgumentException($"outputs {first} to {first} + {count} are not among {outputs}");
        if (weight.requires_grad || bias is { requires_grad: true }) return x.FusedLinear(weight, bias, outputs, FusedActivation.None, type).Columns(first, count);
        bool packed = weight.Dimensions == 1;
        Check(x, weight, bias, outputs, type, packed, outputsFirst: false);
        if (!packed)
        {
            Tensor columns = weight.narrow(1, first, count).contiguous();
            Tape.Current?.Own(columns);
            return x.FusedLinear(columns, bias?.narrow(0, first, count), count, FusedActivation.None, type);
        }
        // The columns of a panel lie together, so the panels that hold the part are enough.
        long inputs = x.size(-1), from = first / Panel * Panel, size = Math.Min((first + count + Panel - 1) / Panel * Panel, outputs) - from;
        Tensor panels = weight.narrow(0, PackedElements(inputs, from), PackedElements(inputs, size));
        Tape.Current?.Own(panels);
        Tensor y = x.FusedLinear(panels, bias?.narrow(0, from, size), size, FusedActivation.None, type);
        return from == first && size == count ? y : y.Columns(first - from, count);
    }

    private const long Panel = 48;

    private static long PackedElements(long inputs, long outputs) => (inputs + 15) / 16 * 16 * ((outputs + 15) / 16 * 16);

    private static Tensor Composed(Tensor x, Tensor weight, Tensor? bias, long outputs, FusedActivation activation, ScalarType type, bool packed, bool outputsFirst)
    {
        Tensor frozen = packed ? weight.Unpack(x.size(-1), outputs) : weight;
        return Segment.ComposeTwin(inputs => LinearTwin.Forward(inputs[0], outputsFirst ? frozen.transpose(0, 1) : frozen, bias, activation, type), x);
    }

    private static Tensor PackedForward(Tape? tape, Tensor x, Tensor weight, Tensor? bias, long outputs, FusedActivation activation, ScalarType type, bool outputsFirst)
    {
        (bool wantsX, bool wantsWeight, bool wantsBias) = Wants(tape, x, weight, bias);
        long inputs = x.size(-1);
        Tensor rows = Elementwise.As(x, ScalarType.BFloat16);
        Tensor ready = weight.Dimensions == 1 ? weight : Packed(weight, outputsFirst);
        long[] shape = x.shape;
        shape[^1] = outputs;
        Tensor? slope = activation != FusedActivation.None && (wantsX || wantsWeight || wantsBias) ? Workspace.Empty(shape, ScalarType.BFloat16) : null;
        Tensor y = Product(rows, ready, bias, inputs, outputs, transposed: false, activation, shape, type, slope);
        if (!(wantsX || wantsWeight || wantsBias)) return y;
        if (slope is not null) tape!.Own(slope);
        // A weight outlives the step by itself; a copy of it must be kept.
        Tensor? heldWeight = !wantsX ? null : ReferenceEquals(ready, weight) ? weight : tape!.Own(ready);
        Tensor? heldRows = !wantsWeight ? null : ReferenceEquals(rows, x) ? tape!.Hold(x) : tape!.Own(rows);
        tape!.Result(y);
        ScalarType xType = x.dtype;
        long[] xShape = x.shape;
        tape.Add(() =>
        {
            if (tape.Take(y) is not { } given) return;
            Tensor dy = Elementwise.As(given, ScalarType.BFloat16);
            if (slope is not null) dy = Elementwise.Multiply(dy, slope);
            if (heldWeight is not null) tape.Give(x, Product(dy, heldWeight, null, inputs, outputs, transposed: true, FusedActivation.None, xShape, xType, null));
            if (heldRows is not null) tape.Give(weight, outputsFirst ? WeightGradient(dy, heldRows) : WeightGradient(heldRows, dy));
            if (wantsBias) tape.Give(bias!, ColumnSums(dy));
        });
        return y;
    }

    private static Tensor PlainForward(Tape? tape, Tensor x, Tensor weight, Tensor? bias, long outputs, FusedActivation activation, ScalarType type, bool outputsFirst)
    {
        (bool wantsX, bool wantsWeight, bool wantsBias) = Wants(tape, x, weight, bias);
        long inputs = x.size(-1), count = x.NumberOfElements / inputs;
        Tensor rows = Elementwise.As(x, ScalarType.Float32);
        Tensor matrix = Elementwise.As(weight, ScalarType.Float32);
        long[] shape = x.shape, xShape = x.shape;
        shape[^1] = outputs;
        Tensor? slope = activation != FusedActivation.None && (wantsX || wantsWeight || wantsBias) ? Workspace.Empty(shape) : null;
        (long inputStride, long outputStride) = outputsFirst ? (1, inputs) : (outputs, 1L);
        Tensor wide = Workspace.Empty(shape);
        Matmul(rows, inputs, 1, matrix, inputStride, outputStride, bias, activation, wide, slope, count, inputs, outputs);
        Tensor y = Elementwise.As(wide, type);
        if (!(wantsX || wantsWeight || wantsBias)) return y;
        if (slope is not null) tape!.Own(slope);
        // A bfloat16 weight is widened again, which is cheaper than its memory.
        Tensor? heldWeight = !wantsX ? null : ReferenceEquals(matrix, weight) || weight.dtype == ScalarType.BFloat16 ? weight : tape!.Own(matrix);
        Tensor? heldRows = !wantsWeight ? null : ReferenceEquals(rows, x) ? tape!.Hold(x) : tape!.Own(rows);
        tape!.Result(y);
        ScalarType xType = x.dtype;
        tape.Add(() =>
        {
            if (tape.Take(y) is not { } given) return;
            Tensor dy = Elementwise.As(given, ScalarType.Float32);
            if (slope is not null) dy = Elementwise.Multiply(dy, slope);
            if (heldWeight is not null)
            {
                Tensor dx = Workspace.Empty(xShape);
                Matmul(dy, outputs, 1, Elementwise.As(heldWeight, ScalarType.Float32), outputStride, inputStride, null, FusedActivation.None, dx, null, count, outputs, inputs);
                tape.Give(x, Elementwise.As(dx, xType));
            }
            if (heldRows is not null)
            {
                Tensor dw = Workspace.Empty(weight.shape);
                if (outputsFirst) Matmul(dy, 1, outputs, heldRows, inputs, 1, null, FusedActivation.None, dw, null, outputs, count, inputs);
                else Matmul(heldRows, 1, inputs, dy, outputs, 1, null, FusedActivation.None, dw, null, inputs, count, outputs);
                tape.Give(weight, dw);
            }
            if (wantsBias) tape.Give(bias!, ColumnSums(dy));
        });
        return y;
    }

    private static (bool X, bool Weight, bool Bias) Wants(Tape? tape, Tensor x, Tensor weight, Tensor? bias) =>
        tape is null ? (false, false, false) : (tape.Wants(x), tape.Wants(weight), tape.Wants(bias));

    // Rows (..., inner) of bfloat16 times a packed weight, or times its transpose.
    private static Tensor Product(
        Tensor rows, Tensor weight, Tensor? bias, long inputs, long outputs, bool transposed, FusedActivation activation, long[] shape, ScalarType type, Tensor? slope)
    {
        Tensor y = Workspace.Empty(shape, type);
        if (y.NumberOfElements == 0) return y;
        long inner = transposed ? outputs : inputs;
        // The kernels take the numbers of a row in pairs, so an odd number is padded.
        Tensor even = inner % 2 == 0 ? rows : torch.nn.functional.pad(rows, [0, 1], PaddingModes.Constant, 0);
        var arguments = new ProductArguments
        {
            Rows = rows.NumberOfElements / inner,
            Inputs = inputs + (transposed ? 0 : inputs % 2),
            Outputs = outputs + (transposed ? outputs % 2 : 0),
            Transposed = transposed ? 1 : 0,
            X = even.Address(),
            Weight = weight.Address(),
            Bias = bias?.Address() ?? 0,
            Activation = (long)activation,
            Y = y.Address(),
            YType = Elementwise.TypeCode(type),
            Slope = slope?.Address() ?? 0,
        };
        NativeMethods.Check(NativeMethods.pf_product(&arguments));
        GC.KeepAlive(even);
        GC.KeepAlive(weight);
        GC.KeepAlive(bias);
        return y;
    }

    private static void Matmul(
        Tensor a, long aRow, long aColumn, Tensor b, long bRow, long bColumn, Tensor? bias, FusedActivation activation,
        Tensor y, Tensor? slope, long rows, long inner, long columns)
    {
        if (y.NumberOfElements == 0) return;
        var arguments = new MatmulArguments
        {
            Rows = rows,
            Inner = inner,
            Columns = columns,
            A = a.Address(),
            ARow = aRow,
            AColumn = aColumn,
            B = b.Address(),
            BRow = bRow,
            BColumn = bColumn,
            Bias = bias?.Address() ?? 0,
            Activation = (long)activation,
            Y = y.Address(),
            Slope = slope?.Address() ?? 0,
        };
        NativeMethods.Check(NativeMethods.pf_matmul(&arguments));
        GC.KeepAlive(a);
        GC.KeepAlive(b);
        GC.KeepAlive(bias);
    }

    // A matrix (inputs, outputs) of float32 or bfloat16, or its transpose, in packed order.
    private static Tensor Packed(Tensor matrix, bool transposed)
    {
        int input = transposed ? 1 : 0, output = 1 - input;
        (long inputs, long outputs) = (matrix.size(input), matrix.size(output));
        long[] shape = [PackedElements(inputs, outputs)];
        Tensor packed = Workspace.Empty(shape, ScalarType.BFloat16);
        var arguments = new PackArguments
        {
            Inputs = inputs,
            Outputs = outputs,
            Weight = matrix.Address(),
            Type = Elementwise.TypeCode(matrix.dtype),
            InputStride = matrix.stride(input),
            OutputStride = matrix.stride(output),
            Packed = packed.Address(),
        };
        NativeMethods.Check(NativeMethods.pf_pack(&arguments));
        GC.KeepAlive(matrix);
        return packed;
    }

    // x^T dy, the gradient of a weight, with float32 sums: the same product, whose rows are x's columns and whose weight is dy.
    private static Tensor WeightGradient(Tensor x, Tensor dy)
    {
        (x, dy) = (WholeGroups(x), WholeGroups(dy));
        long inputs = x.size(-1), outputs = dy.size(-1), rows = x.NumberOfElements / inputs, stride = rows + rows % 2;
        if (rows == 0) return torch.zeros(inputs, outputs);
        Tensor columns = Workspace.Empty([inputs, stride], ScalarType.BFloat16);
        var arguments = new TransposeArguments { Rows = rows, Width = inputs, From = x.Address(), To = columns.Address(), Stride = stride };
        NativeMethods.Check(NativeMethods.pf_transpose(&arguments));
        Tensor packed = Packed(dy.view(rows, outputs), transposed: false);
        return Product(columns, packed, null, stride, outputs, transposed: false, FusedActivation.None, [inputs, outputs], ScalarType.Float32, null);
    }

    // The product adds tokens in pairs, and with tile registers in groups of 32. Each sequence is filled up to whole groups, so that padding does not change the grouping.
    private static Tensor WholeGroups(Tensor x)
    {
        long group = KernelSet.Name == KernelSet.Tiles ? 32 : 2, missing = x.Dimensions < 3 ? 0 : (group - x.size(-2) % group) % group;
        return missing == 0 ? x : torch.nn.functional.pad(x, [0, 0, 0, missing], PaddingModes.Constant, 0);
    }

    /// <summary>(width) float32: the sums of a matrix's columns, row after row.</summary>
    internal static Tensor ColumnSums(Tensor x)
    {
        long width = x.size(-1);
        Tensor sums = torch.empty(width);
        var arguments = new ColumnSumsArguments { Rows = x.NumberOfElements / width, Width = width, X = x.Address(), Type = Elementwise.TypeCode(x.dtype), Sums = sums.Address() };
        NativeMethods.Check(NativeMethods.pf_column_sums(&arguments));
        GC.KeepAlive(x);
        return sums;
    }

    private static void CheckPacked(Tensor packed, long inputs, long outputs)
    {
        if (inputs <= 0 || outputs <= 0 || packed.Dimensions != 1 || packed.dtype != ScalarType.BFloat16 || !packed.is_contiguous() || !packed.IsOnCpu()
            || packed.NumberOfElements != PackedElements(inputs, outputs))
            throw new ArgumentException($"the packed weight {packed.Describe()} does not belong to {inputs} inputs and {outputs} outputs");
        RequireKernels();
    }

    private static void RequireKernels()
    {
        if (KernelSet.LibraryPath is null)
            throw new EngineException("there are no kernels here (native/ was not built), so no bfloat16 products: nothing multiplies bfloat16 weights, use float32");
    }

    private static void Check(Tensor x, Tensor weight, Tensor? bias, long outputs, ScalarType type, bool packed, bool outputsFirst)
    {
        if (x.Dimensions < 1 || x.size(-1) == 0 || outputs <= 0)
            throw new ArgumentException($"a linear map wants at least one dimension, and at least one number in and out of a row; the input is {x.Describe()}");
        CheckFloating(x, "the input");
        if (!type.IsFloatingPoint()) throw new ArgumentException($"the result must be floating-point numbers, not {type}");
        CheckDevice(x, weight, "the weight");
        if (packed) CheckPacked(weight, x.size(-1), outputs);
        else if (weight.Dimensions != 2 || weight.size(outputsFirst ? 1 : 0) != x.size(-1) || weight.size(outputsFirst ? 0 : 1) != outputs)
            throw new ArgumentException($"the weight is {weight.Describe()}, not {(outputsFirst ? $"({outputs}, {x.size(-1)})" : $"({x.size(-1)}, {outputs})")}");
        CheckFloating(weight, "the weight");
        if (bias is null) return;
        if (bias.Dimensions != 1 || bias.NumberOfElements != outputs || !bias.is_contiguous())
            throw new ArgumentException($"the bias is {bias.Describe()}; it must be {outputs} numbers in a row");
        CheckFloating(bias, "the bias");
        CheckDevice(x, bias, "the bias");
    }

    internal static void CheckFloating(Tensor tensor, string name)
    {
        if (!tensor.dtype.IsFloatingPoint()) throw new ArgumentException($"{name} must be floating-point numbers, not {tensor.dtype}");
    }

    internal static void CheckDevice(Tensor x, Tensor other, string name)
    {
        if (x.device_type != other.device_type || (!x.IsOnCpu() && x.device_index != other.device_index))
            throw new ArgumentException($"{name} is on {other.device.Name()}, the input on {x.device.Name()}");
    }
}
