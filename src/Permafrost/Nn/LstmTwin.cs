using Permafrost.Kernels;

using static TorchSharp.torch.nn;

namespace Permafrost.Nn;

/// <summary>The recurrence of an LSTM layer composed of libtorch's operators: on a GPU, and where there are no kernels.</summary>
internal static class LstmTwin
{
    /// <summary>As <see cref="LstmRecurrence.Recur"/>.</summary>
    public static (Tensor States, Tensor Cells) Recur(Tensor gates, LstmWeights weights, Tensor? state, Tensor? cell, LstmSweep sweep)
    {
        (long B, long T, long H) = (gates.size(0), gates.size(1), gates.size(2) / 4);
        Tensor matrix = Plain(weights.Matrix, H);
        Tensor h = state ?? torch.zeros([B, H], device: gates.device), c = cell ?? torch.zeros([B, H], device: gates.device);
        var states = new Tensor[T];
        var cells = new Tensor[T];
        (int candidate, int output) = weights.CandidateLast ? (3, 2) : (2, 3);
        for (long step = 0; step < T; step++)
        {
            long t = sweep.Reverse ? T - 1 - step : step;
            Tensor own = functional.linear(h, matrix, weights.Bias);
            if (weights.Norms is { } norms) own = Normed(own, norms.GateGain, norms.GateBias, norms.Epsilon);
            Tensor[] parts = gates.select(1, t).Plus(own).chunk(4, 1);
            Tensor next = (parts[1].sigmoid() * c).Plus(parts[0].sigmoid() * parts[candidate].tanh());
            if (weights.Norms is { } inner) next = Normed(next, inner.CellGain, inner.CellBias, inner.Epsilon);
            Tensor made = parts[output].sigmoid() * next.tanh();
            if (sweep.Factors is { } factors) made = made * factors.select(1, t);
            if (sweep.Mask is { } mask)
            {
                Tensor counts = mask.select(1, t).ne(0.Hold()).unsqueeze(1);
                (made, next) = (torch.where(counts, made, h), torch.where(counts, next, c));
            }
            (states[t], cells[t]) = (h, c) = (made, next);
        }
        return (torch.stack(states, 1), torch.stack(cells, 1));
    }

    /// <summary>gain (x - mean) / sqrt(unbiased variance + epsilon) + bias over the last dimension.</summary>
    public static Tensor Normed(Tensor x, Tensor gain, Tensor bias, double epsilon)
    {
        Tensor centred = x.sub(x.mean([-1L], keepdim: true));
        Tensor variance = centred.square().sum(-1, keepdim: true).div((x.size(-1) - 1).Hold());
        return (centred / variance.Plus(epsilon).sqrt() * gain.view(-1)).Plus(bias.view(-1));
    }

    // (4 H, H) float32.
    private static Tensor Plain(Tensor matrix, long H) =>
        matrix.Dimensions == 1 ? matrix.Unpack(H, 4 * H).transpose(0, 1) : matrix.to(ScalarType.Float32);
}
