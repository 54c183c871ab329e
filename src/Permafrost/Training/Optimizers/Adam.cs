using Permafrost.Kernels;

namespace Permafrost.Training.Optimizers;

/// <summary>
/// Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019), with the arithmetic and order of operations of torch.optim, so that trajectories agree to rounding.
/// TorchSharp's own keeps its state by position and updates tensor by tensor; this one is saved by name and updates all tensors in one call.
/// </summary>
/// <param name="groups">What is updated.</param>
/// <param name="beta1">Decay of the gradients' running mean.</param>
/// <param name="beta2">Decay of the squared gradients' running mean.</param>
/// <param name="epsilon">Added to the denominator.</param>
/// <param name="weightDecay">L2 penalty added to the gradient; with <paramref name="decoupled"/>, the fraction (times the rate) taken off the weights.</param>
/// <param name="decoupled">AdamW rather than Adam.</param>
/// <param name="amsgrad">Divide by the largest running mean so far (Reddi et al. 2018).</param>
public sealed class Adam(
    IReadOnlyList<ParameterGroup> groups, double beta1 = 0.9, double beta2 = 0.999, double epsilon = 1e-8, double weightDecay = 0, bool decoupled = false, bool amsgrad = false)
    : Optimizer(groups)
{
    private protected override void Update(Batch batch, double learningRate, double? groupDecay, long step)
    {
        double decay = groupDecay ?? weightDecay;
        double correction1 = 1 - Math.Pow(beta1, step);
        double correction2 = 1 - Math.Pow(beta2, step);
        if (!amsgrad && batch.Parameters.All(AdamKernel.Takes))
        {
            AdamKernel.Run(
                batch.Parameters, batch.Gradients, Slots(batch, "exp_avg"), Slots(batch, "exp_avg_sq"),
                [learningRate / correction1, Math.Sqrt(correction2), beta1, beta2, epsilon, decoupled ? 0 : decay, decoupled ? 1 - learningRate * decay : 1, 1]);
            return;
        }
        for (int i = 0; i < batch.Names.Length; i++)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            (Tensor parameter, Tensor gradient) = (batch.Parameters[i], batch.Gradients[i]);
            if (decay != 0 && decoupled) parameter.mul_((1 - learningRate * decay).Hold());
            if (decay != 0 && !decoupled) gradient = gradient.add(parameter, decay.Hold());

            Tensor mean = Slot(batch.Names[i], "exp_avg", parameter);
            Tensor square = Slot(batch.Names[i], "exp_avg_sq", parameter);
            mean.mul_(beta1.Hold()).add_(gradient, (1 - beta1).Hold());
            square.mul_(beta2.Hold()).addcmul_(gradient, gradient, (1 - beta2).Hold());

            Tensor spread = square;
            if (amsgrad)
            {
                spread = Slot(batch.Names[i], "max_exp_avg_sq", parameter);
                spread.copy_(spread.maximum(square));
            }
            Tensor denominator = spread.sqrt().div_(Math.Sqrt(correction2).Hold()).Increase(epsilon);
            parameter.addcdiv_(mean, denominator, (-learningRate / correction1).Hold());
        }
    }

    private Tensor[] Slots(Batch batch, string slot)
    {
        var tensors = new Tensor[batch.Names.Length];
        for (int i = 0; i < tensors.Length; i++) tensors[i] = Slot(batch.Names[i], slot, batch.Parameters[i]);
        return tensors;
    }
}
