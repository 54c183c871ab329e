using System.Globalization;
using Permafrost.Torch;

namespace Permafrost.Tuning;

/// <summary>Which of a sequence's hidden states the output layer reads.</summary>
public enum ReadoutKind
{
    /// <summary>The last token; with padding, the last that is none.</summary>
    Last,
    /// <summary>The first token; with padding, the first that is none.</summary>
    First,
    /// <summary>The mean over the tokens that are not padding.</summary>
    Mean,
}

/// <summary>A readout: <c>last</c>, <c>first</c>, <c>mean</c>, or <c>last:K</c> for each of the last K tokens.</summary>
/// <param name="Kind">Which states.</param>
/// <param name="Count">K; 1 but for <c>last:K</c>.</param>
public sealed record Readout(ReadoutKind Kind, int Count = 1)
{
    /// <summary>Reads <c>last</c>, <c>first</c>, <c>mean</c> or <c>last:K</c>.</summary>
    /// <exception cref="UsageException">The text is none of them.</exception>
    public static Readout Parse(string text) => text switch
    {
        "last" => new Readout(ReadoutKind.Last),
        "first" => new Readout(ReadoutKind.First),
        "mean" => new Readout(ReadoutKind.Mean),
        _ when text.StartsWith("last:", StringComparison.Ordinal) && int.TryParse(text.AsSpan(5), NumberStyles.None, CultureInfo.InvariantCulture, out int count) && count > 0
            => new Readout(ReadoutKind.Last, count),
        _ => throw new UsageException($"--readout '{text}' does not exist; there are last, first, mean and last:K"),
    };

    /// <summary>(B, K, C) from hidden states (B, T, C).</summary>
    /// <param name="hidden">(B, T, C).</param>
    /// <param name="mask">(B, T) int64, 1 for tokens and 0 for padding; null when nothing is padded.</param>
    /// <exception cref="PermafrostException">K is more than the sequence has tokens.</exception>
    public Tensor Read(Tensor hidden, Tensor? mask)
    {
        (long B, long T, long C) = (hidden.Size(0), hidden.Size(1), hidden.Size(2));
        if (Count > T) throw new PermafrostException($"--readout {this} reads {Count} tokens, but the sequences have {T}");
        switch (Kind)
        {
            case ReadoutKind.First when mask is null:
                return hidden.Narrow(1, 0, 1);
            case ReadoutKind.First:
                return hidden.Gather(1, mask.Argmax(1).View(B, 1, 1).Expand(B, 1, C));
            case ReadoutKind.Mean when mask is null:
                return hidden.Mean(1, keepDimension: true);
            case ReadoutKind.Mean:
                Tensor weights = mask.To(hidden.DType).Unsqueeze(2);  // (B, T, 1)
                return (hidden * weights).Sum(1, keepDimension: true) / weights.Sum(1, keepDimension: true);
            case ReadoutKind.Last when mask is null:
                return hidden.Narrow(1, T - Count, Count);
            default:
                if (Count > 1 && mask!.Sum(1).Min().ToInt64() is var shortest && shortest < Count) throw new PermafrostException($"--readout {this} reads {Count} tokens, but a sequence has only {shortest} that are not padding");
                Tensor last = (mask! * Tensor.Arange(T, DType.Int64, hidden.Device)).Argmax(1);  // (B)
                Tensor rows = last.View(B, 1) + Tensor.Arange(Count, DType.Int64, hidden.Device).View(1, Count) - (Count - 1);
                return hidden.Gather(1, rows.View(B, Count, 1).Expand(B, Count, C));
        }
    }

    /// <inheritdoc/>
    public override string ToString() => Kind switch
    {
        ReadoutKind.First => "first",
        ReadoutKind.Mean => "mean",
        _ => Count == 1 ? "last" : $"last:{Count}",
    };
}
