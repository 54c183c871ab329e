using Permafrost.Tasks;
using Permafrost.Torch;
using Permafrost.Torch.Optimizers;
using Permafrost.Tuning;

namespace Permafrost.Training;

/// <summary>One optimiser update.</summary>
public static class TrainStep
{
    /// <summary>Forward, loss, backward, clip, update. Nothing is updated when loss or gradient norm are not finite.</summary>
    /// <param name="model">The model, in training mode.</param>
    /// <param name="optimizer">Of the model's trained parameters.</param>
    /// <param name="batch">On the model's device.</param>
    /// <param name="learningRate">Of this update.</param>
    /// <param name="maxNorm">Gradients are scaled down to this norm; 0 leaves them.</param>
    /// <returns>The mean loss in nats, and the gradients' norm before clipping.</returns>
    public static (double Loss, double GradientNorm) Run(TunedModel model, Optimizer optimizer, Batch batch, double learningRate, double maxNorm)
    {
        using var scope = new TensorScope();
        Tensor loss = model.Loss(model.Forward(batch.Inputs, batch.Mask), batch.Targets);
        double value = loss.ToDouble();
        if (!double.IsFinite(value)) return (value, 0);
        loss.Backward();
        double norm = GradientClipping.ClipNorm(model.Trained.Select(parameter => parameter.Parameter.Value), maxNorm > 0 ? maxNorm : double.PositiveInfinity);
        if (double.IsFinite(norm)) optimizer.Step(learningRate);
        optimizer.ZeroGrad();
        return (value, norm);
    }
}
