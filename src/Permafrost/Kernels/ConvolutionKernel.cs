using Permafrost.Kernels.Interop;

namespace Permafrost.Kernels;

/// <summary>
/// Convolution along time whose channels do not mix: each channel has a row of taps, which it may share with others, the same for all tokens or one for each. The inputs are read
/// in place, and kept for the gradient where that of the taps is wanted.
/// </summary>
internal static unsafe class ConvolutionKernel
{
    /// <summary>(B, T, C): the convolution of these inputs (B, S, C).</summary>
    /// <param name="x">(B, S, C).</param>
    /// <param name="taps">(H, k), or (B, T, H, k) for taps of each output's own.</param>
    /// <param name="bias">(C), or null.</param>
    /// <param name="settings">What the taps read.</param>
    /// <exception cref="ArgumentException">Shapes or types do not match.</exception>
    public static Tensor ConvolveTime(this Tensor x, Tensor taps, Tensor? bias, ConvolutionSettings settings)
    {
        Check(x, taps, bias, settings);
        if (KernelSet.Takes(x))
        {
            bool grad = torch.is_grad_enabled() && (x.requires_grad || taps.requires_grad || bias is { requires_grad: true });
            if (grad && Tape.Current is null) return Segment.Run(given => [given[0]!.ConvolveTime(given[1]!, given[2], settings)], x, taps, bias)[0];
            return Forward(grad ? Tape.Current : null, x, taps, bias, settings);
        }
        return bias is null
            ? Segment.ComposeTwin(inputs => ConvolutionTwin.Forward(inputs[0], inputs[1], null, settings), x, taps)
            : Segment.ComposeTwin(inputs => ConvolutionTwin.Forward(inputs[0], inputs[1], inputs[2], settings), x, taps, bias);
    }

    private static Tensor Forward(Tape? tape, Tensor x, Tensor taps, Tensor? bias, ConvolutionSettings settings)
    {
        (bool wantsX, bool wantsTaps, bool wantsBias) = tape is null ? (false, false, false) : (tape.Wants(x), tape.Wants(taps), tape.Wants(bias));
        (long B, long S, long C, long T) = (x.size(0), x.size(1), x.size(2), settings.Outputs ?? x.size(1));
        Tensor dense = x.is_contiguous() ? x : x.contiguous(), weights = Elementwise.As(taps, ScalarType.Float32), y = Workspace.Empty([B, T, C], x.dtype);
        Tensor? shift = bias is null ? null : Elementwise.As(bias, ScalarType.Float32), mask = settings.Mask?.ne(0.Hold()).to(ScalarType.Byte).contiguous();
        var arguments = new ConvolutionArguments
        {
            Batch = B,
            Inputs = S,
            Outputs = T,
            Width = C,
            Heads = taps.size(-2),
            Taps = taps.size(-1),
            Left = settings.Left,
            Dilation = settings.Dilation,
            Alternating = settings.Alternating ? 1 : 0,
            Each = taps.Dimensions == 4 ? 1 : 0,
            X = dense.Address(),
            Type = Elementwise.TypeCode(x.dtype),
            Weights = weights.Address(),
            Bias = shift?.Address() ?? 0,
            Mask = mask?.Address() ?? 0,
            Y = y.Address(),
        };
        NativeMethods.Check(NativeMethods.pf_convolution_forward(&arguments));
        GC.KeepAlive(dense);
        GC.KeepAlive(weights);
        GC.KeepAlive(shift);
        GC.KeepAlive(mask);
        if (!(wantsX || wantsTaps || wantsBias)) return y;

        Tensor? heldX = !wantsTaps ? null : ReferenceEquals(dense, x) ? tape!.Hold(x) : tape!.Own(dense);
        Tensor? heldWeights = !wantsX ? null : ReferenceEquals(weights, taps) ? tape!.Hold(taps) : tape!.Own(weights);
        if (mask is not null) tape!.Own(mask);
        tape!.Result(y);
        (ScalarType type, ScalarType tapType, long[] tapShape, ConvolutionArguments call) = (x.dtype, taps.dtype, taps.shape, arguments);
        tape.Add(() =>
        {
            if (tape.Take(y) is not { } given) return;
            Tensor dy = Elementwise.As(given, type);
            Tensor? dx = wantsX ? Workspace.Empty([B, S, C], type) : null, dTaps = wantsTaps ? Workspace.Empty(tapShape) : null;
            ConvolutionArguments backward = call;
            (backward.X, backward.Weights, backward.Mask) = (heldX?.Address() ?? 0, heldWeights?.Address() ?? 0, mask?.Address() ?? 0);
            (backward.DY, backward.DX, backward.DWeights) = (dy.Address(), dx?.Address() ?? 0, dTaps?.Address() ?? 0);
            NativeMethods.Check(NativeMethods.pf_convolution_backward(&backward));
            GC.KeepAlive(dy);
            if (dx is not null) tape.Give(x, dx);
            if (dTaps is not null) tape.Give(taps, Elementwise.As(dTaps, tapType));
            if (wantsBias) tape.Give(bias!, LinearKernel.ColumnSums(dy.view(B * T, C)));
        });
        return y;
    }

    private static void Check(Tensor x, Tensor taps, Tensor? bias, ConvolutionSettings settings)
    {
        LinearKernel.CheckFloating(x, "the input");
        LinearKernel.CheckFloating(taps, "taps");
        LinearKernel.CheckDevice(x, taps, "taps");
        if (x.Dimensions != 3 || x.NumberOfElements == 0) throw new ArgumentException($"a convolution along time wants (batch, tokens, width), not {x.Describe()}");
        long outputs = settings.Outputs ?? x.size(1);
        bool fits = taps.Dimensions == 2 || (taps.Dimensions == 4 && taps.size(0) == x.size(0) && taps.size(1) == outputs);
        if (!fits || taps.NumberOfElements == 0 || x.size(2) % taps.size(-2) != 0)
            throw new ArgumentException(
                $"the taps {taps.Describe()} are not there for {outputs} outputs of the inputs {x.Describe()}: they are (rows, taps), or (batch, outputs, rows, taps)");
        if (settings.Dilation < 1 || outputs < 1) throw new ArgumentException($"a convolution cannot have a dilation of {settings.Dilation} and {outputs} outputs");
        if (bias is not null)
        {
            if (!bias.HasShape(x.size(2))) throw new ArgumentException($"the bias is {bias.Describe()}, and a token has {x.size(2)} numbers");
            LinearKernel.CheckFloating(bias, "the bias");
            LinearKernel.CheckDevice(x, bias, "the bias");
        }
        if (settings.Mask is not { } mask) return;
        if (!mask.HasShape(x.size(0), x.size(1))) throw new ArgumentException($"the mask must be (batch, tokens), not {mask.Describe()}");
        LinearKernel.CheckDevice(x, mask, "the mask");
    }
}
