using Permafrost.Kernels;

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
    public long Count => Inputs.size(0);

    /// <summary>Tokens that are no padding: B times T where nothing is padded.</summary>
    public long Tokens => ReadFrom ?? (Mask is null ? Inputs.size(0) * Inputs.size(1) : Unpadded(Mask));

    /// <summary>The same examples on a device.</summary>
    public Batch To(Device device) => device.type == DeviceType.CPU ? this : this with { Inputs = Inputs.to(device), Targets = Targets.to(device), Mask = Mask?.to(device), Hard = Hard?.to(device) };

    private static long Unpadded(Tensor mask)
    {
        using var scope = torch.NewDisposeScope();
        return mask.ne(0).sum().Integer();
    }
}
