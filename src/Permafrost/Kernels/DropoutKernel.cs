using Permafrost.Kernels.Interop;

namespace Permafrost.Kernels;

/// <summary>Dropout whose mask is never stored.</summary>
public static unsafe class DropoutKernel
{
    /// <summary>Drops elements and scales the others up; the tensor itself where nothing is dropped. The first dimension is the row.</summary>
    /// <exception cref="ArgumentException">The probability is not in [0, 1), or the tensor holds no floating-point numbers.</exception>
    public static Tensor FusedDropout(this Tensor x, DropoutDraw dropout)
    {
        LinearKernel.CheckFloating(x, "the input");
        dropout.Checked();
        if (!dropout.Active) return x;
        if (!KernelSet.Takes(x) || x.Dimensions == 0) return Segment.ComposeTwin(inputs => DropoutTwin.Forward(inputs[0], dropout), x);
        bool grad = torch.is_grad_enabled() && x.requires_grad;
        if (grad && Tape.Current is null) return Segment.Run(input => input.FusedDropout(dropout), x);
        Tensor y = Apply(x, dropout);
        if (!grad || Tape.Current is not { } tape || !tape.Wants(x)) return y;
        tape.Result(y);
        ScalarType type = x.dtype;
        tape.Add(() =>
        {
            if (tape.Take(y) is { } dy) tape.Give(x, Apply(Elementwise.As(dy, type), dropout));
        });
        return y;
    }

    private static Tensor Apply(Tensor x, DropoutDraw dropout)
    {
        Tensor dense = x.is_contiguous() ? x : x.contiguous(), y = Workspace.Empty(dense.shape, dense.dtype);
        long rows = dense.size(0), elements = dense.NumberOfElements;
        if (elements == 0) return y;
        var arguments = new DropoutArguments
        {
            Rows = rows,
            Width = elements / rows,
            X = dense.Address(),
            Type = Elementwise.TypeCode(dense.dtype),
            Dropout = new NativeDropout(dropout),
            Y = y.Address(),
        };
        NativeMethods.Check(NativeMethods.pf_dropout_apply(&arguments));
        GC.KeepAlive(dense);
        return y;
    }
}
