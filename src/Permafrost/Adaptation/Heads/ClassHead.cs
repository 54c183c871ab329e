using Permafrost.Kernels;
using Permafrost.Tasks;

namespace Permafrost.Adaptation.Heads;

/// <summary>P answers of C classes each; with a readout of K tokens every one of them answers P / K. Outputs are (B, P, C) logits.</summary>
internal sealed class ClassHead(ClassOutput output, Readout readout, int width) : Head(width, output.Count / readout.Count * output.Classes)
{
    public override Tensor Forward(Tensor read) => Output.Forward(read).Reshaped(read.size(0), output.Count, output.Classes);

    public override Tensor Loss(Tensor outputs, Tensor targets) => CrossEntropy(outputs, targets, output.Classes);

    public override Tensor Answers(Tensor outputs) => outputs.argmax(-1);

    public override Tensor Counted(Tensor targets) => targets.ne(NoAnswer.Hold());

    public override long CountAnswers(Tensor targets) => CountClasses(targets, output.Classes);

    public override IReadOnlyList<Prediction> Predict(Tensor outputs, ReadOnlySpan<long> numbers, Tensor? targets) => PredictClasses(outputs, numbers, targets, output.Labels);
}
