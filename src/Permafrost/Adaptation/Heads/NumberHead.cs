using Permafrost.Kernels;
using Permafrost.Tasks;

namespace Permafrost.Adaptation.Heads;

/// <summary>P real numbers, by least squares; with a readout of K tokens every one of them answers P / K. Outputs are (B, P).</summary>
internal sealed class NumberHead(NumberOutput output, Readout readout, int width) : Head(width, output.Count / readout.Count)
{
    public override Tensor Forward(Tensor read) => Output.Forward(read).Reshaped(read.size(0), output.Count);

    public override Tensor Loss(Tensor outputs, Tensor targets)
    {
        Tensor counted = Counted(targets);
        return (outputs - targets).masked_fill(counted.logical_not(), 0.Hold()).square().sum() / counted.sum();
    }

    public override Tensor Answers(Tensor outputs) => outputs;

    public override Tensor Counted(Tensor targets) => targets.isnan().logical_not();

    public override long CountAnswers(Tensor targets)
    {
        float[] all = targets.ToArray<float>();
        return all.Length - all.AsSpan().Count(float.NaN);
    }

    public override IReadOnlyList<Prediction> Predict(Tensor outputs, ReadOnlySpan<long> numbers, Tensor? targets)
    {
        float[] answers = outputs.ToArray<float>();
        float[]? wanted = targets?.ToArray<float>();
        var predictions = new List<Prediction>(numbers.Length);
        for (int row = 0; row < numbers.Length; row++)
        {
            Range own = (row * output.Count)..((row + 1) * output.Count);
            predictions.Add(new NumberPrediction(numbers[row], answers[own], wanted?[own]));
        }
        return predictions;
    }
}
