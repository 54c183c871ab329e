namespace Permafrost.Kernels;

/// <summary>The activations that a linear map's kernel computes in the same pass; the values are those of native/permafrost_kernels.h.</summary>
public enum FusedActivation
{
    /// <summary>No activation: the linear map as it is.</summary>
    None = 0,
    /// <summary>GELU by its tanh approximation (Hendrycks and Gimpel 2016).</summary>
    GeluTanh = 1,
    /// <summary>GELU by the error function.</summary>
    Gelu = 2,
    /// <summary>max(x, 0).</summary>
    Relu = 3,
    /// <summary>x sigmoid(x), called SiLU or swish (Elfwing et al. 2018).</summary>
    Silu = 4,
    /// <summary>x sigmoid(1.702 x), GELU's approximation by it (Hendrycks and Gimpel 2016).</summary>
    QuickGelu = 5,
    /// <summary>1 / (1 + e^-x).</summary>
    Sigmoid = 6,
    /// <summary>The hyperbolic tangent.</summary>
    Tanh = 7,
    /// <summary>x tanh(log(1 + e^x)) (Misra 2019).</summary>
    Mish = 8,
    /// <summary>max(x, 0), 6 at most.</summary>
    Relu6 = 9,
    /// <summary>GELU by the error function, 10 at most.</summary>
    Gelu10 = 10,
}
