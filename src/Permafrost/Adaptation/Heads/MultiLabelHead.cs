using Permafrost.Kernels;
using Permafrost.Tasks;

namespace Permafrost.Adaptation.Heads;

/// <summary>
/// Any number of C labels, each by itself: a sigmoid and binary cross entropy. With a readout of K tokens every one of them answers C / K labels. Outputs are (B, C) logits; a
/// label is given where its probability is above one half.
/// </summary>
internal sealed class MultiLabelHead(MultiLabelOutput output, Readout readout, int width) : Head(width, output.Classes / readout.Count)
{
    public override Tensor Forward(Tensor read) => Output.Forward(read).Reshaped(read.size(0), output.Classes);

    public override Tensor Loss(Tensor outputs, Tensor targets)
    {
        Tensor counted = Counted(targets), wanted = targets.clamp_min(0.Hold()).to(outputs.dtype);
        Tensor each = torch.nn.functional.binary_cross_entropy_with_logits(outputs, wanted, reduction: torch.nn.Reduction.None);
        return each.masked_fill(counted.logical_not(), 0.Hold()).sum() / counted.sum();
    }

    public override Tensor Answers(Tensor outputs) => outputs.gt(0.Hold()).to(ScalarType.Int64);

    public override Tensor Counted(Tensor targets) => targets.ne(NoAnswer.Hold());

    public override long CountAnswers(Tensor targets) => CountClasses(targets, 2);

    public override IReadOnlyList<Prediction> Predict(Tensor outputs, ReadOnlySpan<long> numbers, Tensor? targets)
    {
        int C = output.Classes;
        float[] probabilities = outputs.sigmoid().ToArray<float>();
        long[] given = Answers(outputs).ToArray<long>();
        long[]? wanted = targets?.ToArray<long>();
        var predictions = new List<Prediction>(numbers.Length);
        for (int row = 0; row < numbers.Length; row++)
        {
            Range own = (row * C)..((row + 1) * C);
            predictions.Add(new LabelsPrediction(numbers[row], Ones(given[own]), probabilities[own], wanted is null ? null : Ones(wanted[own]), output.Labels));
        }
        return predictions;
    }

    private static long[] Ones(long[] flags) => [.. Enumerable.Range(0, flags.Length).Where(i => flags[i] == 1).Select(i => (long)i)];
}
