using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>What an LSTM layer multiplies its own state with, and how it makes gates of that.</summary>
/// <param name="Matrix">(4 H, H), in packed form, or of any floating type.</param>
/// <param name="Bias">(4 H), or null.</param>
/// <param name="CandidateLast">Whether the gates are in the order input, forget, output, candidate; otherwise input, forget, candidate, output, as PyTorch has them.</param>
/// <param name="Norms">The norms inside the recurrence; null for none.</param>
internal sealed record LstmWeights(Tensor Matrix, Tensor? Bias, bool CandidateLast = false, LstmNorms? Norms = null);

/// <summary>Norms inside the recurrence: of what the state adds to the gates (4 H), and of the cell (H), which is carried normed. They divide by the unbiased deviation.</summary>
/// <param name="GateGain">4 H numbers.</param>
/// <param name="GateBias">4 H numbers.</param>
/// <param name="CellGain">H numbers.</param>
/// <param name="CellBias">H numbers.</param>
/// <param name="Epsilon">Added to the variance.</param>
internal sealed record LstmNorms(Tensor GateGain, Tensor GateBias, Tensor CellGain, Tensor CellBias, double Epsilon);

/// <summary>How a layer goes over a sequence.</summary>
/// <param name="Reverse">From the last step to the first.</param>
/// <param name="Mask">(B, T) bytes, 0 for steps that pass the state on as it is; null when every step counts.</param>
/// <param name="Factors">(B, T, H), what each state is multiplied with before it is passed on; null for nothing.</param>
internal sealed record LstmSweep(bool Reverse = false, Tensor? Mask = null, Tensor? Factors = null);

/// <summary>
/// The recurrence of an LSTM layer (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000). All steps are one entry on the tape, with a gradient written by
/// hand, since a step on a small batch costs less than its dozen functions of an autograd. The products are those of <see cref="LinearKernel"/>, so a row's result does not depend
/// on the others.
/// </summary>
internal static class LstmRecurrence
{
    /// <summary>States and cells (B, T, H) after each step.</summary>
    /// <param name="gates">(B, T, 4 H) float32: what the inputs add to the gates.</param>
    /// <param name="weights">What the state is multiplied with.</param>
    /// <param name="state">(B, H), where the states begin; null for zeros.</param>
    /// <param name="cell">(B, H), where the cells begin; null for zeros.</param>
    /// <param name="sweep">How the steps are taken.</param>
    public static (Tensor States, Tensor Cells) Recur(this Tensor gates, LstmWeights weights, Tensor? state, Tensor? cell, LstmSweep sweep)
    {
        bool grad = torch.is_grad_enabled();
        // Outside a segment libtorch's autograd is to see the operators; inside one there are kernels.
        if (!KernelSet.Takes(gates) || (grad && Tape.Current is null)) return LstmTwin.Recur(gates, weights, state, cell, sweep);
        Tape? tape = grad ? Tape.Current : null;
        Tensor?[] read = [gates, weights.Matrix, weights.Bias, state, cell, weights.Norms?.GateGain, weights.Norms?.GateBias, weights.Norms?.CellGain, weights.Norms?.CellBias];
        bool[] wants = [.. read.Select(tensor => tape?.Wants(tensor) ?? false)];
        using DisposeScope scope = torch.NewDisposeScope();
        LstmSteps run;
        using (torch.no_grad())
        {
            run = new LstmSteps(gates, weights, state, cell, sweep, keep: wants.Contains(true));
            run.Forward();
        }
        scope.MoveToOuter(run.States, run.Cells);
        if (!run.Keeps) return (run.States, run.Cells);
        tape!.Result(run.States);
        tape.Result(run.Cells);
        tape.Hold(run.States);
        tape.Hold(run.Cells);
        foreach (Tensor tensor in run.Kept) tape.Own(tensor);
        run.HoldGiven(tape.Hold);
        tape.Add(() =>
        {
            Tensor? dStates = tape.Take(run.States), dCells = tape.Take(run.Cells);
            if (dStates is null && dCells is null) return;
            Tensor?[] found = run.Backward(dStates, dCells, wants);
            for (int i = 0; i < found.Length; i++) if (wants[i]) tape.Give(read[i]!, found[i]!);
        });
        return (run.States, run.Cells);
    }
}
