using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Training.Optimizers;
using Permafrost.Tuning;

namespace Permafrost.Training;

/// <summary>One optimiser update.</summary>
public static class TrainStep
{
    /// <summary>Forward, loss, backward, clip, update. Nothing is updated when loss or gradient norm are not finite, or when no answer counts.</summary>
    /// <param name="model">The model, in training mode.</param>
    /// <param name="optimizer">Of the model's trained parameters.</param>
    /// <param name="batches">On the model's device; several have their gradients added up, each weighted by its answers, as if they were one.</param>
    /// <param name="learningRate">Of this update.</param>
    /// <param name="maxNorm">Gradients are scaled down to this norm; 0 leaves them.</param>
    /// <returns>The mean loss in nats over all answers, the gradients' norm before clipping, and how many answers counted; without any, loss and norm are 0.</returns>
    public static (double Loss, double GradientNorm, long Answers) Run(TunedModel model, Optimizer optimizer, IReadOnlyList<Batch> batches, double learningRate, double maxNorm)
    {
        double total = 0;
        long[] answers = [.. batches.Select(Answers)];
        long all = answers.Sum();
        model.DropoutKeys.FirstRow = 0;
        try
        {
            for (int i = 0; i < batches.Count; i++)
            {
                if (answers[i] > 0)
                {
                    using DisposeScope scope = torch.NewDisposeScope();
                    Batch batch = batches[i];
                    double share = batches.Count > 1 ? (double)answers[i] / all : 1;
                    double loss = Segment.AddGradients(() => Segment.Compose(logits => model.Loss(logits[0], batch.Targets) * share, model.Forward(batch)), batch.Targets.device);
                    total += loss;
                    if (!double.IsFinite(loss))
                    {
                        optimizer.ZeroGrad();
                        return (loss, 0, all);
                    }
                }
                // Parts of one batch drop what the whole would.
                model.DropoutKeys.FirstRow += batches[i].Count;
            }
        }
        finally
        {
            model.DropoutKeys.FirstRow = 0;
            if (!model.DropoutKeys.CountsForwards) model.DropoutKeys.Step++;
        }
        if (all == 0) return (0, 0, 0);
        double norm = GradientClipping.ClipNorm(model.Trained.Select(parameter => parameter.Parameter.Value), maxNorm > 0 ? maxNorm : double.PositiveInfinity);
        if (double.IsFinite(norm)) optimizer.Step(learningRate);
        optimizer.ZeroGrad();
        return (total, norm, all);
    }

    private static long Answers(Batch batch)
    {
        long[] targets = batch.Targets.ToArray<long>();
        return targets.Length - targets.AsSpan().Count(-100);
    }
}
