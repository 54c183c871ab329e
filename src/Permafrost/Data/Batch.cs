namespace Permafrost.Data;

/// <summary>Examples that are computed together.</summary>
/// <param name="Inputs">(B, T, D) float32 vectors, (B, T) int64 ids, or (B, Channels, Height, Width) float32 pixels.</param>
/// <param name="Targets">
/// The right answers: (B, P) int64 classes, where -100 does not count; (B, T) of them where each token has an answer; (B, S) tokens of an answer that is a
/// sequence, with -100 behind its end; or (B, P) float32 numbers, where NaN does not count.
/// </param>
/// <param name="Mask">(B, T) int64, 1 for tokens and 0 for padding; null when nothing is padded.</param>
public sealed record Batch(Tensor Inputs, Tensor Targets, Tensor? Mask = null)
{
    /// <summary>Answers that some metrics are measured over, by name: int64 of the targets' shape, 1 for those that belong to it.</summary>
    public IReadOnlyDictionary<string, Tensor> Subsets { get; init; } = new Dictionary<string, Tensor>();

    /// <summary>
    /// The tokens that <see cref="Inputs"/> stand for, where it holds the hidden states (B, K, C) that a frozen body computed from them; null where it holds inputs.
    /// </summary>
    public long? ReadFrom { get; init; }

    /// <summary>B, the number of examples.</summary>
    public long Count => Inputs.size(0);

    /// <summary>The same examples on a device.</summary>
    public Batch To(Device device) => device.type == DeviceType.CPU ? this : this with
    {
        Inputs = Inputs.to(device),
        Targets = Targets.to(device),
        Mask = Mask?.to(device),
        Subsets = Subsets.ToDictionary(pair => pair.Key, pair => pair.Value.to(device)),
    };
}
