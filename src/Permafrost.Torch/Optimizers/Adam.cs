namespace Permafrost.Torch.Optimizers;

/// <summary>
/// Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019), with the arithmetic and order of operations of torch.optim (1.13,
/// single-tensor path), so that trajectories agree to rounding.
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
    private static readonly Operator FusedOp = new("permafrost::adam_");
    private static readonly Operator MaximumOut = new("aten::maximum", "out");

    private protected override void Update(Batch batch, double learningRate, double? groupDecay, long step)
    {
        double decay = groupDecay ?? weightDecay;
        double correction1 = 1 - Math.Pow(beta1, step);
        double correction2 = 1 - Math.Pow(beta2, step);
        if (!amsgrad && batch.Parameters.All(parameter => parameter.Device.Type == DeviceType.Cpu && parameter.DType == DType.Float32 && parameter.IsContiguous))
        {
            // Everything below in one pass over memory.
            double[] settings = [learningRate / correction1, Math.Sqrt(correction2), beta1, beta2, epsilon, decoupled ? 0 : decay, decoupled ? 1 - learningRate * decay : 1, 1];
            FusedOp.Run(batch.Parameters, batch.Gradients, Slots(batch, "exp_avg"), Slots(batch, "exp_avg_sq"), settings);
            return;
        }
        Tensor[] gradients = batch.Gradients;
        if (decay != 0 && decoupled) ListOperators.Multiply(batch.Parameters, 1 - learningRate * decay);
        if (decay != 0 && !decoupled) gradients = ListOperators.Plus(gradients, batch.Parameters, decay);

        Tensor[] means = Slots(batch, "exp_avg");
        Tensor[] squares = Slots(batch, "exp_avg_sq");
        ListOperators.Multiply(means, beta1);
        ListOperators.Add(means, gradients, 1 - beta1);
        ListOperators.Multiply(squares, beta2);
        ListOperators.AddProduct(squares, gradients, gradients, 1 - beta2);

        Tensor[] spread = squares;
        if (amsgrad)
        {
            spread = Slots(batch, "max_exp_avg_sq");
            for (int i = 0; i < spread.Length; i++) MaximumOut.Run(spread[i], squares[i], spread[i]);
        }
        Tensor[] denominators = ListOperators.Sqrt(spread);
        ListOperators.Divide(denominators, Math.Sqrt(correction2));
        ListOperators.Add(denominators, epsilon);
        ListOperators.AddQuotient(batch.Parameters, means, denominators, -learningRate / correction1);
    }

    private Tensor[] Slots(Batch batch, string slot)
    {
        var tensors = new Tensor[batch.Names.Length];
        for (int i = 0; i < tensors.Length; i++) tensors[i] = Slot(batch.Names[i], slot, batch.Parameters[i]);
        return tensors;
    }
}
