using Permafrost.Kernels.Interop;

namespace Permafrost.Kernels;

/// <summary>The product kernels alone, writing into memory that exists already: a benchmark measures with them how fast a machine is.</summary>
public static unsafe class PackedProduct
{
    /// <summary>
    /// into = rows times a weight of (inputs, outputs), or times its transpose; all in bfloat16 with a weight from <see cref="LinearKernel.Pack"/>, or all in float32
    /// with a plain one.
    /// </summary>
    /// <param name="rows">(N, inputs), transposed (N, outputs), contiguous.</param>
    /// <param name="weight">Packed, or (inputs, outputs), contiguous.</param>
    /// <param name="inputs">The weight's number of inputs.</param>
    /// <param name="outputs">The weight's number of outputs.</param>
    /// <param name="transposed">Whether to multiply by the weight's transpose.</param>
    /// <param name="into">Receives the result; contiguous.</param>
    /// <exception cref="ArgumentException">Shapes or types do not match, or there are no kernels for them.</exception>
    public static void Multiply(Tensor rows, Tensor weight, long inputs, long outputs, bool transposed, Tensor into)
    {
        (long inner, long width) = transposed ? (outputs, inputs) : (inputs, outputs);
        bool packed = weight.dtype == ScalarType.BFloat16;
        if (!KernelSet.Takes(rows) || (packed && !KernelSet.MultipliesBFloat16)) throw new ArgumentException($"the kernels '{KernelSet.Name}' do not multiply {rows.Describe()}");
        if (rows.Dimensions != 2 || rows.size(1) != inner || inner % 2 != 0 || !into.HasShape(rows.size(0), width) || rows.dtype != weight.dtype || into.dtype != weight.dtype)
            throw new ArgumentException($"{rows.Describe()} times a weight of ({inputs}, {outputs}) is not {into.Describe()}");
        if (packed ? weight.Dimensions != 1 || weight.NumberOfElements != NativeMethods.pf_packed_elements(inputs, outputs) : !weight.HasShape(inputs, outputs))
            throw new ArgumentException($"{weight.Describe()} is not a weight of ({inputs}, {outputs})");
        if (!rows.is_contiguous() || !weight.is_contiguous() || !into.is_contiguous()) throw new ArgumentException("the product kernels want contiguous tensors");
        if (packed)
        {
            var product = new ProductArguments
            {
                Rows = rows.size(0),
                Inputs = inputs,
                Outputs = outputs,
                Transposed = transposed ? 1 : 0,
                X = rows.Address(),
                Weight = weight.Address(),
                Y = into.Address(),
                YType = Elementwise.TypeCode(into.dtype),
            };
            NativeMethods.Check(NativeMethods.pf_product(&product));
        }
        else
        {
            var product = new MatmulArguments
            {
                Rows = rows.size(0),
                Inner = inner,
                Columns = width,
                A = rows.Address(),
                ARow = inner,
                AColumn = 1,
                B = weight.Address(),
                BRow = transposed ? 1 : outputs,
                BColumn = transposed ? outputs : 1,
                Y = into.Address(),
            };
            NativeMethods.Check(NativeMethods.pf_matmul(&product));
        }
        GC.KeepAlive(rows);
        GC.KeepAlive(weight);
        GC.KeepAlive(into);
    }
}
