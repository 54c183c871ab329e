namespace Permafrost.Kernels;

/// <summary>One tensor times another, element by element, as gated feed-forward layers do (Dauphin et al. 2017; Shazeer 2020).</summary>
public static class GateKernel
{
    /// <summary>x times gate, tensors of one shape and type.</summary>
    /// <exception cref="ArgumentException">Shapes or types do not match.</exception>
    public static Tensor Gated(this Tensor x, Tensor gate)
    {
        if (!x.HasShape(gate.shape) || x.dtype != gate.dtype) throw new ArgumentException($"the gate is {gate.Describe()}, what it opens for {x.Describe()}");
        if (!KernelSet.Takes(x)) return Segment.ComposeTwin(inputs => inputs[0] * inputs[1], x, gate);
        bool grad = torch.is_grad_enabled() && (x.requires_grad || gate.requires_grad);
        if (grad && Tape.Current is null) return Segment.Run(given => [given[0]!.Gated(given[1]!)], x, gate)[0];
        Tensor left = Elementwise.As(x, x.dtype), right = Elementwise.As(gate, gate.dtype);
        Tensor result = Elementwise.Multiply(left, right);
        if (!grad || Tape.Current is not { } tape) return result;
        (bool wantsX, bool wantsGate) = (tape.Wants(x), tape.Wants(gate));
        if (!wantsX && !wantsGate) return result;
        Tensor? heldX = !wantsGate ? null : ReferenceEquals(left, x) ? tape.Hold(x) : tape.Own(left);
        Tensor? heldGate = !wantsX ? null : ReferenceEquals(right, gate) ? tape.Hold(gate) : tape.Own(right);
        tape.Result(result);
        ScalarType type = x.dtype;
        tape.Add(() =>
        {
            if (tape.Take(result) is not { } given) return;
            Tensor dy = Elementwise.As(given, type);
            if (heldGate is not null) tape.Give(x, Elementwise.Multiply(dy, heldGate));
            if (heldX is not null) tape.Give(gate, Elementwise.Multiply(dy, heldX));
        });
        return result;
    }
}
