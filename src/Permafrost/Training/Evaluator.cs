using System.Text.Json.Nodes;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tuning;

namespace Permafrost.Training;

/// <summary>A split's scores.</summary>
/// <param name="Accuracy">Share of right answers, over all answers of all examples.</param>
/// <param name="Loss">Mean cross entropy in nats, likewise.</param>
/// <param name="Count">Number of examples.</param>
/// <param name="Hard">Accuracy over the answers that the input does not simply show, under the task's name for it; null where there is none.</param>
public sealed record Metrics(double Accuracy, double Loss, long Count, (string Name, double Accuracy)? Hard = null)
{
    /// <summary>As in metrics.jsonl: <c>eval/accuracy</c>, ...</summary>
    public (string Key, double Value)[] ToLog(string prefix) =>
        Hard is { } hard ? [($"{prefix}/loss", Loss), ($"{prefix}/accuracy", Accuracy), ($"{prefix}/{hard.Name}", hard.Accuracy)] : [($"{prefix}/loss", Loss), ($"{prefix}/accuracy", Accuracy)];

    /// <summary>As in results.json.</summary>
    public JsonObject ToJson()
    {
        var json = new JsonObject { ["accuracy"] = Accuracy, ["loss"] = Loss, ["count"] = Count };
        if (Hard is { } hard) json[hard.Name] = hard.Accuracy;
        return json;
    }
}

/// <summary>One example's answers.</summary>
/// <param name="Index">The example's number in its split or file.</param>
/// <param name="Classes">The answers, P of them.</param>
/// <param name="Probabilities">P times C: each answer's probabilities.</param>
/// <param name="Targets">The right answers; null when they are not known.</param>
public sealed record Prediction(long Index, long[] Classes, float[][] Probabilities, long[]? Targets);

/// <summary>Runs a model over whole splits, dropout and gradients off.</summary>
public static class Evaluator
{
    /// <summary>Scores a split.</summary>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static Metrics Evaluate(TunedModel model, IExamples examples, int batchSize, Device device, Action<Prediction>? onPrediction = null, CancellationToken cancellation = default)
    {
        double loss = 0;
        (long right, long answers, long count, long hardRight, long hardAnswers) = (0, 0, 0, 0, 0);
        var ordered = new InOrder();
        foreach ((long[] numbers, Tensor logits, Tensor targets, Tensor? hard) in Batches(model, examples, batchSize, device, cancellation))
        {
            Tensor flat = targets.reshape(-1);
            long counted = flat.ne(-100).sum().Integer();
            if (counted > 0) loss += model.Loss(logits, targets).Number() * counted;
            Tensor hits = logits.argmax(-1).reshape(-1).eq(flat);
            right += hits.sum().Integer();
            if (hard is not null)
            {
                hardRight += (hits.to(ScalarType.Int64) * hard.reshape(-1)).sum().Integer();
                hardAnswers += hard.sum().Integer();
            }
            answers += counted;
            count += logits.size(0);
            if (onPrediction is not null) foreach (Prediction prediction in ordered.Add(ToPredictions(numbers, logits, targets))) onPrediction(prediction);
        }
        if (!double.IsFinite(loss)) throw new DivergedException("the loss over a split is not finite although training's is; look for NaN or infinite values in the validation and test data, or lower --learning-rate");
        return new Metrics((double)right / Math.Max(1, answers), loss / Math.Max(1, answers), count,
            model.Shape.HardMetric is { } name && hardAnswers > 0 ? (name, (double)hardRight / hardAnswers) : null);
    }

    /// <summary>Answers inputs whose targets are not known, in their order.</summary>
    public static IEnumerable<Prediction> Predict(TunedModel model, IExamples examples, int batchSize, Device device, CancellationToken cancellation = default)
    {
        var ordered = new InOrder();
        foreach ((long[] numbers, Tensor logits, _, _) in Batches(model, examples, batchSize, device, cancellation))
            foreach (Prediction prediction in ordered.Add(ToPredictions(numbers, logits, null))) yield return prediction;
    }

    private static IEnumerable<(long[] Numbers, Tensor Logits, Tensor Targets, Tensor? Hard)> Batches(TunedModel model, IExamples examples, int batchSize, Device device, CancellationToken cancellation)
    {
        bool training = model.Training;
        model.Train(false);
        try
        {
            foreach (long[] numbers in DataOrder.Once(examples, batchSize))
            {
                cancellation.ThrowIfCancellationRequested();
                using var noGrad = torch.no_grad();
                using var scope = torch.NewDisposeScope();
                Batch batch = examples.Get(numbers).To(device);
                yield return (numbers, model.Forward(batch), batch.Targets, batch.Hard);
            }
        }
        finally
        {
            model.Train(training);
        }
    }

    private static List<Prediction> ToPredictions(long[] numbers, Tensor logits, Tensor? targets)
    {
        (int P, int C) = ((int)logits.size(1), (int)logits.size(2));
        float[] probabilities = logits.softmax(-1).ToArray<float>();
        long[] classes = logits.argmax(-1).ToArray<long>();
        long[]? wanted = targets?.ToArray<long>();
        var predictions = new List<Prediction>();
        for (int row = 0; row < logits.size(0); row++)
        {
            int first = row * P;
            float[][] own = [.. Enumerable.Range(0, P).Select(p => probabilities.AsSpan((first + p) * C, C).ToArray())];
            predictions.Add(new Prediction(numbers[row], classes[first..(first + P)], own, wanted?[first..(first + P)]));
        }
        return predictions;
    }

    // Gives predictions out by number, whatever batches they came in.
    private sealed class InOrder
    {
        private readonly Dictionary<long, Prediction> waiting = [];
        private long next;

        public IEnumerable<Prediction> Add(IEnumerable<Prediction> predictions)
        {
            foreach (Prediction prediction in predictions) waiting.Add(prediction.Index, prediction);
            while (waiting.Remove(next, out Prediction? prediction))
            {
                next++;
                yield return prediction;
            }
        }
    }
}
