using Permafrost.Kernels;
using Permafrost.Tasks;

namespace Permafrost.Adaptation.Heads;

/// <summary>A token of V at each position of a decoder, which is fed the right answer one place later in training (teacher forcing). Outputs are (B, S, V) logits.</summary>
internal sealed class SequenceHead(SequenceOutput output, int width) : Head(width, output.Vocabulary)
{
    public override bool Generates => true;

    /// <summary>Sets the output layer to the language model's own head.</summary>
    /// <param name="table">(V, C): the token table.</param>
    /// <param name="scale">What it is multiplied by.</param>
    public void StartFrom(Tensor table, double scale)
    {
        Output.Weight.Value.copy_(table.Times(scale));
        Output.Bias!.Value.zero_();
    }

    public override Tensor Forward(Tensor read) => Output.Forward(read);

    public override Tensor Loss(Tensor outputs, Tensor targets) => CrossEntropy(outputs, targets, output.Vocabulary);

    public override Tensor Answers(Tensor outputs) => outputs;

    public override Tensor Counted(Tensor targets) => targets.ne(NoAnswer.Hold());

    public override long CountAnswers(Tensor targets) => CountClasses(targets, output.Vocabulary);

    public override IReadOnlyList<Prediction> Predict(Tensor outputs, ReadOnlySpan<long> numbers, Tensor? targets)
    {
        long[][] answers = Rows(outputs);
        long[][]? wanted = targets is null ? null : Rows(targets);
        var predictions = new List<Prediction>(numbers.Length);
        for (int row = 0; row < numbers.Length; row++)
        {
            long[] tokens = BeforeEnd(answers[row]);
            bool ended = tokens.Length < answers[row].Length;
            long[]? right = wanted is null ? null : BeforeEnd(wanted[row]);
            predictions.Add(new SequencePrediction(numbers[row], tokens, ended, right, output.Tokens) { Label = ended ? LabelOf(tokens) : null, TargetLabel = LabelOf(right) });
        }
        return predictions;
    }

    private string? LabelOf(long[]? tokens) => tokens is null ? null : output.Labels.FirstOrDefault(label => label.Tokens.SequenceEqual(tokens))?.Text;

    private static long[][] Rows(Tensor tokens) => [.. tokens.ToArray<long>().Chunk((int)tokens.size(1))];

    private long[] BeforeEnd(long[] row) => [.. row.TakeWhile(token => token != output.End && token != NoAnswer)];
}
