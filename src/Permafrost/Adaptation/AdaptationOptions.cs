using Permafrost.Kernels;

namespace Permafrost.Adaptation;

/// <summary>How a frozen body is adapted to a task.</summary>
public sealed record AdaptationOptions
{
    /// <summary>What trains.</summary>
    public Policy Policy { get; init; } = Policy.Parse("fpt");

    /// <summary>Where answers are read; null for the task's own place.</summary>
    public Readout? Readout { get; init; }

    /// <summary>Feed ids through the body's own token table instead of a new one (Ballout et al. 2023).</summary>
    public bool PretrainedEmbedding { get; init; }

    /// <summary>Probability of every dropout, in the body and after a linear input layer.</summary>
    public double Dropout { get; init; } = 0.1;

    /// <summary>Of the new layers' start values.</summary>
    public long Seed { get; init; }

    /// <summary>Where to compute; null for the processor.</summary>
    public Device? Device { get; init; }

    /// <summary>Of frozen weights that are multiplied with: float32 or bfloat16; null for <see cref="BestFrozenType"/>.</summary>
    public ScalarType? FrozenType { get; init; }

    /// <summary>bfloat16 where the processor or the GPU multiplies it natively, else float32.</summary>
    public static ScalarType BestFrozenType(Device device) => !device.IsCpu() || KernelSet.MultipliesBFloat16 ? ScalarType.BFloat16 : ScalarType.Float32;
}
