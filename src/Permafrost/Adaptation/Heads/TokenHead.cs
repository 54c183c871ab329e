using Permafrost.Kernels;
using Permafrost.Tasks;

namespace Permafrost.Adaptation.Heads;

/// <summary>An answer of C classes for each token. Outputs are (B, T, C) logits.</summary>
internal sealed class TokenHead(TokenClassOutput output, int width) : Head(width, output.Classes)
{
    public override Tensor Forward(Tensor read) => Output.Forward(read);

    public override Tensor Loss(Tensor outputs, Tensor targets) => CrossEntropy(outputs, targets, output.Classes);

    public override Tensor Answers(Tensor outputs) => outputs.argmax(-1);

    public override Tensor Counted(Tensor targets) => targets.ne(NoAnswer.Hold());

    public override long CountAnswers(Tensor targets) => CountClasses(targets, output.Classes);

    public override IReadOnlyList<Prediction> Predict(Tensor outputs, ReadOnlySpan<long> numbers, Tensor? targets) => PredictClasses(outputs, numbers, targets, output.Labels);
}
