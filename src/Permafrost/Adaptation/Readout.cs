using System.Globalization;
using Permafrost.Kernels;

namespace Permafrost.Adaptation;

/// <summary>Which of a sequence's hidden states the output layer reads.</summary>
public enum ReadoutKind
{
    /// <summary>The last token; with padding, the last that is none.</summary>
    Last,
    /// <summary>The first token; with padding, the first that is none.</summary>
    First,
    /// <summary>The mean over the tokens that are not padding.</summary>
    Mean,
    /// <summary>Every token, for tasks that ask for an answer each.</summary>
    All,
    /// <summary>An encoder-decoder's decoder, at the token that it starts from; the other kinds read its encoder.</summary>
    Decoder,
}

/// <summary>A readout: <c>last</c>, <c>first</c>, <c>mean</c>, <c>last:K</c> for each of the last K tokens, <c>all</c>, or <c>decoder</c>.</summary>
/// <param name="Kind">Which states.</param>
/// <param name="Count">K; 1 but for <c>last:K</c>.</param>
public sealed record Readout(ReadoutKind Kind, int Count = 1)
{
    /// <summary>Reads <c>last</c>, <c>first</c>, <c>mean</c>, <c>last:K</c>, <c>all</c> or <c>decoder</c>.</summary>
    /// <exception cref="UsageException">The text is none of them.</exception>
    public static Readout Parse(string text) => text switch
    {
        "last" => new Readout(ReadoutKind.Last),
        "first" => new Readout(ReadoutKind.First),
        "mean" => new Readout(ReadoutKind.Mean),
        "all" => new Readout(ReadoutKind.All),
        "decoder" => new Readout(ReadoutKind.Decoder),
        _ when text.StartsWith("last:", StringComparison.Ordinal) && int.TryParse(text.AsSpan(5), NumberStyles.None, CultureInfo.InvariantCulture, out int count) && count > 0
            => new Readout(ReadoutKind.Last, count),
        _ => throw new UsageException($"`readout` '{text}' does not exist; there are last, first, mean, last:K, all and decoder"),
    };

    /// <summary>The positions (B, K) int64 that are read; null when all are (<c>mean</c>, <c>all</c>), or a decoder is.</summary>
    /// <param name="mask">(B, T) int64, 1 for tokens and 0 for padding; null when nothing is padded.</param>
    /// <param name="B">Sequences.</param>
    /// <param name="T">Tokens of each.</param>
    /// <param name="device">Where the positions are wanted.</param>
    /// <exception cref="PermafrostException">K is more than the sequence has tokens.</exception>
    public Tensor? Positions(Tensor? mask, long B, long T, Device device)
    {
        if (Count > T) throw new PermafrostException($"`readout` {this} reads {Count} tokens, but the sequences have {T}");
        if (Kind is ReadoutKind.Mean or ReadoutKind.All or ReadoutKind.Decoder) return null;
        if (Kind == ReadoutKind.First) return mask is null ? torch.zeros([B, 1], ScalarType.Int64, device) : mask.argmax(1).view(B, 1);
        if (mask is not null && Count == 1) return (mask * Scalars.Range(0, T, device)).argmax(1).view(B, 1);
        // Counted on the host: padding may stand between tokens, and one call is what small steps notice.
        long[]? tokens = mask?.to(ScalarType.Int64).ToArray<long>();
        var places = new long[B * Count];
        for (long row = 0; row < B; row++)
        {
            long at = T;
            for (int k = Count - 1; k >= 0; k--)
            {
                do at--; while (at >= 0 && tokens is not null && tokens[row * T + at] == 0);
                if (at < 0) throw new PermafrostException($"`readout` {this} reads {Count} tokens, but a sequence has only {Count - 1 - k} that are not padding");
                places[row * Count + k] = at;
            }
        }
        return Tensors.From(places, B, Count).to(device);
    }

    /// <summary>(B, K, C) from hidden states (B, T, C).</summary>
    /// <param name="hidden">(B, T, C).</param>
    /// <param name="mask">(B, T) int64, 1 for tokens and 0 for padding; null when nothing is padded.</param>
    /// <exception cref="PermafrostException">K is more than the sequence has tokens.</exception>
    public Tensor Read(Tensor hidden, Tensor? mask)
    {
        if (Positions(mask, hidden.size(0), hidden.size(1), hidden.device) is { } positions) return hidden.Rows(positions);
        if (Kind is ReadoutKind.All or ReadoutKind.Decoder) return hidden;
        if (mask is null) return Segment.Compose(inputs => inputs[0].mean([1L], keepdim: true), hidden);
        Tensor weights = mask.to(hidden.dtype).unsqueeze(2);  // (B, T, 1)
        return Segment.Compose(inputs => (inputs[0] * weights).sum(1, keepdim: true) / weights.sum(1, keepdim: true), hidden);
    }

    /// <inheritdoc/>
    public override string ToString() => Kind switch
    {
        ReadoutKind.First => "first",
        ReadoutKind.Mean => "mean",
        ReadoutKind.All => "all",
        ReadoutKind.Decoder => "decoder",
        _ => Count == 1 ? "last" : $"last:{Count}",
    };
}
