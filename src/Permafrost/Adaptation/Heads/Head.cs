using Permafrost.Kernels;
using Permafrost.Nn;
using Permafrost.Tasks;

namespace Permafrost.Adaptation.Heads;

/// <summary>The end of a model: output layer, loss and answers for one kind of <see cref="OutputSpec"/>.</summary>
public abstract class Head : Module
{
    /// <summary>The number that stands for "no answer" among targets that are classes, as PyTorch's cross entropy has it.</summary>
    public const long NoAnswer = -100;

    /// <summary>A head over hidden states.</summary>
    /// <param name="width">C, numbers of a hidden state.</param>
    /// <param name="outputs">Numbers of the output layer.</param>
    protected Head(int width, long outputs) => Output = Declare("", new Linear(width, outputs));

    /// <summary>The output layer.</summary>
    protected Linear Output { get; }

    /// <summary>The head for a kind of output.</summary>
    /// <param name="output">What is asked for.</param>
    /// <param name="readout">Where it is read.</param>
    /// <param name="width">C, numbers of a hidden state.</param>
    /// <exception cref="UsageException">The readout does not fit the output.</exception>
    public static Head For(OutputSpec output, Readout readout, int width)
    {
        bool isForTokens = output is TokenClassOutput;
        if (isForTokens != (readout.Kind == ReadoutKind.All))
        {
            string reason = isForTokens ? "an answer for each token is read at all of them; use all" : "all is for tasks with an answer for each token";
            throw new UsageException($"`readout` {readout}: {reason}");
        }
        if (output is SequenceOutput && readout.Kind != ReadoutKind.Decoder)
            throw new UsageException($"`readout` {readout}: a sequence is what a decoder answers; use decoder");
        if (output.Answers % readout.Count != 0) throw new UsageException($"`readout` {readout} reads {readout.Count} tokens, which do not share {output.Answers} answers evenly");
        return output switch
        {
            ClassOutput classes => new ClassHead(classes, readout, width),
            TokenClassOutput tokens => new TokenHead(tokens, width),
            MultiLabelOutput labels => new MultiLabelHead(labels, readout, width),
            NumberOutput numbers => new NumberHead(numbers, readout, width),
            SequenceOutput sequence => new SequenceHead(sequence, width),
            _ => throw new ArgumentException($"there is no head for {output.GetType().Name}", nameof(output)),
        };
    }

    /// <summary>Whether answers are tokens (B, S) that the model generates one after another, and not what <see cref="Forward"/> gives.</summary>
    public virtual bool Generates => false;

    /// <summary>The outputs from the hidden states that were read.</summary>
    /// <param name="read">(B, K, C).</param>
    public abstract Tensor Forward(Tensor read);

    /// <summary>The mean loss over the answers that count.</summary>
    /// <param name="outputs">From <see cref="Forward"/>.</param>
    /// <param name="targets">What is right.</param>
    public abstract Tensor Loss(Tensor outputs, Tensor targets);

    /// <summary>(C) float32 weights of the classes while it trains, whose mean over the training answers is 1; null for none. Not owned.</summary>
    internal Tensor? ClassWeights { get; set; }

    /// <summary>The loss that is trained by: as <see cref="Loss"/>, but each answer by its class's weight. Divided by the answers' number and not by their weights, so that
    /// parts of a batch add up to the whole.</summary>
    internal Tensor TrainingLoss(Tensor outputs, Tensor targets)
    {
        if (ClassWeights is null) return Loss(outputs, targets);
        Tensor sum = torch.nn.functional.cross_entropy(
            outputs.reshape(-1, ClassWeights.size(0)), targets.reshape(-1), weight: ClassWeights, reduction: torch.nn.Reduction.Sum);
        return sum.Times(1.0 / CountAnswers(targets));
    }

    /// <summary>What the outputs come to, of the targets' shape.</summary>
    /// <param name="outputs">From <see cref="Forward"/>, or what was generated.</param>
    public abstract Tensor Answers(Tensor outputs);

    /// <summary>Flags of the targets' shape: which of them count.</summary>
    public abstract Tensor Counted(Tensor targets);

    /// <summary>How many targets count.</summary>
    /// <exception cref="ArgumentException">A target is no class of the task.</exception>
    public abstract long CountAnswers(Tensor targets);

    /// <summary>The answers of a batch, one example at a time.</summary>
    /// <param name="outputs">From <see cref="Forward"/>, or what was generated.</param>
    /// <param name="numbers">The examples' numbers.</param>
    /// <param name="targets">What is right; null where it is not known.</param>
    public abstract IReadOnlyList<Prediction> Predict(Tensor outputs, ReadOnlySpan<long> numbers, Tensor? targets);

    /// <summary>Cross entropy, answers and counts of classes, which two heads share.</summary>
    private protected static Tensor CrossEntropy(Tensor outputs, Tensor targets, long classes) =>
        torch.nn.functional.cross_entropy(outputs.reshape(-1, classes), targets.reshape(-1));

    private protected static long CountClasses(Tensor targets, long classes)
    {
        long count = 0;
        foreach (long target in targets.ToArray<long>())
        {
            if (target == NoAnswer) continue;
            if ((ulong)target >= (ulong)classes)
                throw new ArgumentException($"a target is {target}, where the task has the classes 0 to {classes - 1}, and {NoAnswer} for no answer", nameof(targets));
            count++;
        }
        return count;
    }

    private protected static List<Prediction> PredictClasses(Tensor outputs, ReadOnlySpan<long> numbers, Tensor? targets, IReadOnlyList<string> labels)
    {
        (int P, int C) = ((int)outputs.size(1), (int)outputs.size(2));
        float[] probabilities = outputs.softmax(-1).ToArray<float>();
        long[] classes = outputs.argmax(-1).ToArray<long>();
        long[]? wanted = targets?.ToArray<long>();
        var predictions = new List<Prediction>(numbers.Length);
        for (int row = 0; row < numbers.Length; row++)
        {
            int first = row * P;
            float[][] own = [.. Enumerable.Range(0, P).Select(p => probabilities.AsSpan((first + p) * C, C).ToArray())];
            predictions.Add(new ClassPrediction(numbers[row], classes[first..(first + P)], own, wanted?[first..(first + P)], labels));
        }
        return predictions;
    }
}
