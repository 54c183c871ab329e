using Permafrost.Torch;

namespace Permafrost.Tasks;

/// <summary>Examples that are computed together.</summary>
/// <param name="Inputs">(B, T, D) float32 vectors, or (B, T) int64 ids.</param>
/// <param name="Targets">(B, P) int64 class ids; -100 does not count.</param>
/// <param name="Mask">(B, T) int64, 1 for tokens and 0 for padding; null when nothing is padded.</param>
/// <param name="Hard">(B, P) int64, 1 for answers that the input does not simply show; null when the task makes no difference.</param>
public sealed record Batch(Tensor Inputs, Tensor Targets, Tensor? Mask = null, Tensor? Hard = null)
{
    /// <summary>
    /// The tokens that <see cref="Inputs"/> stand for, where they are no inputs but the hidden states (B, K, C) that a frozen body computed from them; null for inputs.
    /// </summary>
    public long? ReadFrom { get; init; }

    /// <summary>B.</summary>
    public long Count => Inputs.Size(0);

    /// <summary>Tokens that are no padding: B times T where nothing is padded.</summary>
    public long Tokens => ReadFrom ?? (Mask is null ? Inputs.Size(0) * Inputs.Size(1) : Unpadded(Mask));

    /// <summary>The same examples on a device.</summary>
    public Batch To(Device device) => device.Type == DeviceType.Cpu ? this : this with { Inputs = Inputs.To(device), Targets = Targets.To(device), Mask = Mask?.To(device), Hard = Hard?.To(device) };

    private static long Unpadded(Tensor mask)
    {
        using var scope = new TensorScope();
        return mask.Ne(0).Sum().ToInt64();
    }
}
