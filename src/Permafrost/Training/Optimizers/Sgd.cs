using Permafrost.Kernels;

namespace Permafrost.Training.Optimizers;

/// <summary>Stochastic gradient descent with momentum, Nesterov momentum and an L2 penalty, as torch.optim.SGD.</summary>
/// <param name="groups">What is updated.</param>
/// <param name="momentum">Decay of the running sum of gradients; 0 for none.</param>
/// <param name="nesterov">Look ahead along the momentum.</param>
/// <param name="weightDecay">L2 penalty added to the gradient.</param>
public sealed class Sgd(IReadOnlyList<ParameterGroup> groups, double momentum = 0, bool nesterov = false, double weightDecay = 0) : Optimizer(groups)
{
    private protected override void Update(Batch batch, double learningRate, double? groupDecay, long step)
    {
        double decay = groupDecay ?? weightDecay;
        for (int i = 0; i < batch.Names.Length; i++)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            (Tensor parameter, Tensor gradient) = (batch.Parameters[i], batch.Gradients[i]);
            if (decay != 0) gradient = gradient.add(parameter, decay.Hold());
            if (momentum != 0)
            {
                // The buffer starts as the first gradient itself, which zeros times momentum plus the gradient gives too.
                Tensor buffer = Slot(batch.Names[i], "momentum_buffer", parameter);
                buffer.mul_(momentum.Hold()).Increase(gradient);
                gradient = nesterov ? gradient.add(buffer, momentum.Hold()) : buffer;
            }
            parameter.add_(gradient, (-learningRate).Hold());
        }
    }
}
