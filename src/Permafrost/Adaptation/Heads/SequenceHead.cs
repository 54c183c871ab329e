using Permafrost.Kernels;
using Permafrost.Tasks;

namespace Permafrost.Adaptation.Heads;

/// <summary>A token of V at each position of a decoder, which is fed the right answer one place later in training (teacher forcing). Outputs are (B, S, V) logits.</summary>
internal sealed class SequenceHead(SequenceOutput output, int width) : Head(width, output.Vocabulary)
{
    public override bool Generates => true;

    public override Tensor Forward(Tensor read) => Output.Forward(read);

    public override Tensor Loss(Tensor outputs, Tensor targets) => CrossEntropy(outputs, targets, output.Vocabulary);

    public override Tensor Answers(Tensor outputs) => outputs;

    public override Tensor Counted(Tensor targets) => targets.ne(NoAnswer.Hold());

    public override long CountAnswers(Tensor targets) => CountClasses(targets);

    public override IReadOnlyList<Prediction> Predict(Tensor outputs, ReadOnlySpan<long> numbers, Tensor? targets)
    {
        long[][] answers = Rows(outputs);
        long[][]? wanted = targets is null ? null : Rows(targets);
        var predictions = new List<Prediction>(numbers.Length);
        for (int row = 0; row < numbers.Length; row++)
        {
            long[] tokens = BeforeEnd(answers[row]);
            predictions.Add(new SequencePrediction(numbers[row], tokens, tokens.Length < answers[row].Length, wanted is null ? null : BeforeEnd(wanted[row]), output.Tokens));
        }
        return predictions;
    }

    private static long[][] Rows(Tensor tokens) => [.. tokens.ToArray<long>().Chunk((int)tokens.size(1))];

    private long[] BeforeEnd(long[] row) => [.. row.TakeWhile(token => token != output.End && token != NoAnswer)];
}
