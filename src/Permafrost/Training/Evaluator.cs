using Permafrost.Adaptation;
using Permafrost.Adaptation.Heads;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Training;

/// <summary>Runs a model over whole splits, dropout and gradients off.</summary>
public static class Evaluator
{
    /// <summary>Scores a split.</summary>
    /// <param name="model">The model.</param>
    /// <param name="data">The split.</param>
    /// <param name="batchSize">Examples computed together.</param>
    /// <param name="device">The model's.</param>
    /// <param name="onPrediction">Told of every answer, in the examples' order.</param>
    /// <param name="cancellation">Ends the scoring.</param>
    /// <exception cref="DivergedException">The loss is not finite.</exception>
    /// <exception cref="ArgumentException">A target is no class of the task.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static Scores Evaluate(
        AdaptedModel model, IDataset data, int batchSize, Device device, Action<Prediction>? onPrediction = null, CancellationToken cancellation = default)
    {
        (double loss, long answers, long count) = (0, 0, 0);
        (MetricInfo Info, Metric Metric)[] metrics = [.. model.Spec.Metrics.Select(info => (info, Metric.Create(info)))];
        var order = new InOrder();
        foreach (long[] numbers in Sampler.Once(data, batchSize))
        {
            cancellation.ThrowIfCancellationRequested();
            using DisposeScope scope = torch.NewDisposeScope();
            (Tensor outputs, Batch batch) = Compute(model, data, numbers, device);
            Tensor produced = Produced(model, batch, outputs);
            Tensor counted = model.Head.Counted(batch.Targets), given = OfWidth(model.Head.Answers(produced), batch.Targets);
            long own = model.Head.CountAnswers(batch.Targets);
            if (own > 0) loss += model.Head.Loss(outputs, batch.Targets).Number() * own;
            foreach ((MetricInfo info, Metric metric) in metrics)
            {
                Tensor measured = metric.IsOfOutputs ? outputs : given;
                if (info.Over is null) metric.Add(measured, batch.Targets, counted);
                else if (batch.Subsets.TryGetValue(info.Over, out Tensor? subset)) metric.Add(measured, batch.Targets, counted.logical_and(subset.ne(0.Hold())));
            }
            answers += own;
            count += batch.Count;
            if (onPrediction is null) continue;
            foreach (Prediction prediction in order.Add(model.Head.Predict(produced, numbers, batch.Targets))) onPrediction(prediction);
        }
        if (!double.IsFinite(loss))
            throw new DivergedException(
                "the loss over a split is not finite although training's is; " +
                "look for NaN or infinite values in the validation and test data, or lower `learning_rate`");
        var values = new OrderedDictionary<string, double>();
        foreach ((MetricInfo info, Metric metric) in metrics)
            if (info.Over is null || metric.Count > 0) values[info.Name] = metric.Count > 0 ? metric.Value : 0;
        return new Scores(count, loss / Math.Max(1, answers), values);
    }

    /// <summary>Answers inputs whose targets are not known, in their order.</summary>
    /// <param name="model">The model.</param>
    /// <param name="data">The inputs.</param>
    /// <param name="batchSize">Examples computed together.</param>
    /// <param name="device">The model's.</param>
    /// <param name="cancellation">Ends the answering.</param>
    /// <exception cref="PermafrostException">An example's output is not finite.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static IEnumerable<Prediction> Predict(AdaptedModel model, IDataset data, int batchSize, Device device, CancellationToken cancellation = default)
    {
        var order = new InOrder();
        foreach (long[] numbers in Sampler.Once(data, batchSize))
        {
            cancellation.ThrowIfCancellationRequested();
            foreach (Prediction prediction in order.Add(PredictBatch(model, data, numbers, device))) yield return prediction;
        }
    }

    /// <summary>Answers one batch.</summary>
    /// <param name="model">The model.</param>
    /// <param name="data">Where the inputs are.</param>
    /// <param name="numbers">Which of them.</param>
    /// <param name="device">The model's.</param>
    internal static IReadOnlyList<Prediction> PredictBatch(AdaptedModel model, IDataset data, long[] numbers, Device device)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        Tensor produced = WithoutDropout(model, () =>
        {
            Batch batch = data.Get(numbers).To(device);
            return model.Spec.Output is SequenceOutput output ? model.Generate(batch.Inputs, batch.Mask, output.Length) : model.Forward(batch);
        });
        CheckFinite(produced, numbers);
        return model.Head.Predict(produced, numbers, null);
    }

    // A label for a row of NaN would be one that nobody asked for.
    private static void CheckFinite(Tensor outputs, long[] numbers)
    {
        if (!outputs.is_floating_point() || outputs.AllFinite()) return;
        int row = Array.FindIndex([.. Enumerable.Range(0, numbers.Length)], at => !outputs.select(0, at).contiguous().AllFinite());
        throw new PermafrostException($"the output for example {numbers[row]} is not finite: its inputs hold NaN or infinite values, or the adapter does");
    }

    // Sequences are scored as they are generated, not as they come out where the right ones are fed.
    private static Tensor Produced(AdaptedModel model, Batch batch, Tensor outputs) =>
        model.Spec.Output is SequenceOutput output ? WithoutDropout(model, () => model.Generate(batch.Inputs, batch.Mask, output.Length)) : outputs;

    // Sequences are as long as they came out: what stands behind the longest target is wrong by its end already.
    private static Tensor OfWidth(Tensor given, Tensor targets) => given.Dimensions != 2 || given.size(1) == targets.size(1) ? given
        : given.size(1) > targets.size(1) ? given.narrow(1, 0, targets.size(1))
        : torch.cat([given, torch.full([given.size(0), targets.size(1) - given.size(1)], Head.NoAnswer.Hold(), given.dtype, given.device)], 1);

    private static (Tensor Outputs, Batch Batch) Compute(AdaptedModel model, IDataset data, long[] numbers, Device device)
    {
        Batch batch = data.Get(numbers).To(device);
        return (WithoutDropout(model, () => model.Forward(batch)), batch);
    }

    // Dropout off for this batch only: whoever reads the answers may train in between.
    private static Tensor WithoutDropout(AdaptedModel model, Func<Tensor> compute)
    {
        bool training = model.training;
        if (training) model.eval();
        try
        {
            using var noGrad = torch.no_grad();
            return compute();
        }
        finally
        {
            if (training) model.train();
        }
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
