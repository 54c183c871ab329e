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
}
