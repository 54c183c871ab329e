namespace Permafrost.Torch.Optimizers;

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
        Tensor[] gradients = decay == 0 ? batch.Gradients : ListOperators.Plus(batch.Gradients, batch.Parameters, decay);
        if (momentum != 0)
        {
            var buffers = new Tensor[batch.Names.Length];
            for (int i = 0; i < buffers.Length; i++) buffers[i] = Slot(batch.Names[i], "momentum_buffer", batch.Parameters[i]);
            // The buffer starts as the first gradient itself, which zeros times momentum plus the gradient gives too.
            ListOperators.Multiply(buffers, momentum);
            ListOperators.Add(buffers, gradients, 1);
            gradients = nesterov ? ListOperators.Plus(gradients, buffers, momentum) : buffers;
        }
        ListOperators.Add(batch.Parameters, gradients, -learningRate);
    }
}
