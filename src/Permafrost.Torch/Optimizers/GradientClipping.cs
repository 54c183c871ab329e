namespace Permafrost.Torch.Optimizers;

/// <summary>Keeps gradients within bounds, as torch.nn.utils.clip_grad.</summary>
public static class GradientClipping
{
    private static readonly Operator ClampInPlace = new("aten::clamp_");

    /// <summary>Scales all gradients so that their common norm is at most <paramref name="maxNorm"/>: by min(1, maxNorm / (norm + 1e-6)).</summary>
    /// <param name="parameters">Whose gradients; those without one do not count.</param>
    /// <param name="maxNorm">The bound; infinity only measures.</param>
    /// <param name="p">The norm's order, 2 unless told otherwise; infinity takes the largest entry.</param>
    /// <returns>The norm before clipping.</returns>
    public static double ClipNorm(IEnumerable<Tensor> parameters, double maxNorm, double p = 2)
    {
        using var noGrad = new NoGrad();
        using var scope = new TensorScope();
        Tensor[] gradients = [.. parameters.Select(parameter => parameter.Grad).OfType<Tensor>()];
        if (gradients.Length == 0) return 0;
        Tensor[] norms = double.IsInfinity(p) ? [.. gradients.Select(gradient => gradient.Norm(p))] : ListOperators.Norm(gradients, p);
        double norm = Tensor.Stack(norms).Norm(p).ToDouble();
        // float32, as PyTorch computes the factor: the last bit decides whether trajectories agree.
        float factor = (float)maxNorm / ((float)norm + 1e-6f);
        if (factor < 1) ListOperators.Multiply(gradients, factor);
        return norm;
    }

    /// <summary>Cuts every gradient entry to [-limit, limit].</summary>
    public static void ClipValue(IEnumerable<Tensor> parameters, double limit)
    {
        using var noGrad = new NoGrad();
        using var scope = new TensorScope();
        foreach (Tensor gradient in parameters.Select(parameter => parameter.Grad).OfType<Tensor>()) ClampInPlace.Run(gradient, -limit, limit);
    }
}
