using Permafrost.Kernels;

namespace Permafrost.Training.Optimizers;

/// <summary>Keeps gradients within bounds, as torch.nn.utils.clip_grad.</summary>
public static class GradientClipping
{
    /// <summary>Scales all gradients so that their common norm is at most <paramref name="maxNorm"/>: by min(1, maxNorm / (norm + 1e-6)).</summary>
    /// <param name="parameters">Whose gradients; those without one do not count.</param>
    /// <param name="maxNorm">The bound; infinity only measures.</param>
    /// <param name="p">The norm's order, 2 unless told otherwise; infinity takes the largest entry.</param>
    /// <returns>The norm before clipping.</returns>
    public static double ClipNorm(IEnumerable<Tensor> parameters, double maxNorm, double p = 2)
    {
        using var noGrad = torch.no_grad();
        using DisposeScope scope = torch.NewDisposeScope();
        Tensor[] gradients = [.. parameters.Select(parameter => parameter.grad).OfType<Tensor>()];
        if (gradients.Length == 0) return 0;
        bool kernel = p == 2 && gradients.All(AdamKernel.Takes);
        double norm = kernel
            ? Math.Sqrt(AdamKernel.SumSquares(gradients))
            : torch.linalg.vector_norm(torch.stack(gradients.Select(gradient => torch.linalg.vector_norm(gradient, p))), p).Number();
        // float32, as PyTorch computes the factor: the last bit decides whether trajectories agree.
        float factor = (float)maxNorm / ((float)norm + 1e-6f);
        if (factor < 1 && kernel) AdamKernel.Scale(gradients, factor);
        else if (factor < 1) foreach (Tensor gradient in gradients) gradient.mul_(factor.Hold());
        return norm;
    }

    /// <summary>Cuts every gradient entry to [-limit, limit].</summary>
    public static void ClipValue(IEnumerable<Tensor> parameters, double limit)
    {
        using var noGrad = torch.no_grad();
        using DisposeScope scope = torch.NewDisposeScope();
        foreach (Tensor gradient in parameters.Select(parameter => parameter.grad).OfType<Tensor>()) gradient.clamp_((-limit).Hold(), limit.Hold());
    }
}
