using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Training.Optimizers;

namespace Permafrost.Training;

/// <summary>What an update came to.</summary>
/// <param name="Loss">Mean loss over all answers; 0 without any.</param>
/// <param name="GradientNorm">The gradients' common norm before clipping.</param>
/// <param name="Answers">How many answers counted.</param>
public readonly record struct StepResult(double Loss, double GradientNorm, long Answers);

/// <summary>One optimiser update.</summary>
public static class TrainStep
{
    /// <summary>Forward, loss, backward, clip, update. Nothing is updated when loss or gradient norm are not finite, or when no answer counts.</summary>
    /// <param name="model">The model, in training mode.</param>
    /// <param name="optimizer">Of the model's trained parameters.</param>
    /// <param name="batches">On the model's device; several have their gradients added up, each weighted by its answers, as if they were one.</param>
    /// <param name="learningRate">Of this update.</param>
    /// <param name="maxNorm">Gradients are scaled down to this norm; 0 leaves them.</param>
    /// <param name="checkGradients">Whether a trained parameter that gets no gradient is an error.</param>
    /// <exception cref="PermafrostException">A trained parameter got no gradient: nothing that the loss reads depends on it.</exception>
    public static StepResult Run(AdaptedModel model, Optimizer optimizer, IReadOnlyList<Batch> batches, double learningRate, double maxNorm, bool checkGradients = false)
    {
        StepResult computed = AddGradients(model, batches);
        if (!double.IsFinite(computed.Loss) || computed.Answers == 0)
        {
            optimizer.ZeroGrad();
            return computed;
        }
        if (checkGradients && model.Learning.FirstOrDefault(parameter => parameter.Parameter.Value.grad is null) is { } idle)
            throw new PermafrostException(
                $"the trained tensor '{idle.Name}' got no gradient: nothing that the loss reads depends on it; " +
                $"leave its group out of `policy` {model.Policy}, or declare it unused in the backbone");
        double norm = GradientClipping.ClipNorm(model.Learning.Select(parameter => parameter.Parameter.Value), maxNorm > 0 ? maxNorm : double.PositiveInfinity);
        if (double.IsFinite(norm)) optimizer.Step(learningRate);
        optimizer.ZeroGrad();
        return computed with { GradientNorm = norm };
    }

    /// <summary>Forward, loss and backward: gradients are added to those of the trained parameters.</summary>
    /// <param name="model">The model, in training mode.</param>
    /// <param name="batches">On the model's device.</param>
    internal static StepResult AddGradients(AdaptedModel model, IReadOnlyList<Batch> batches)
    {
        double total = 0;
        long[] answers = [.. batches.Select(batch => model.Head.CountAnswers(batch.Targets))];
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
                    double loss = Segment.AddGradients(
                        () => Segment.Compose(outputs => model.Head.TrainingLoss(outputs[0], batch.Targets).Times(share), model.Forward(batch)), batch.Targets.device);
                    total += loss;
                    if (!double.IsFinite(loss)) return new StepResult(loss, 0, all);
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
        return new StepResult(all == 0 ? 0 : total, 0, all);
    }
}
