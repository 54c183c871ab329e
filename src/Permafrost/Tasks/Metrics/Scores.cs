namespace Permafrost.Tasks.Metrics;

/// <summary>A split's scores.</summary>
/// <param name="Count">Number of examples.</param>
/// <param name="Loss">Mean loss over all answers of all examples; cross entropy in nats, or mean squared error for numbers.</param>
/// <param name="Values">The metrics by name, over the same answers; those of a subset that does not occur are missing.</param>
public sealed record Scores(long Count, double Loss, IReadOnlyDictionary<string, double> Values)
{
    /// <summary>Of no examples at all.</summary>
    public static Scores None { get; } = new(0, 0, new Dictionary<string, double>());

    /// <summary>A metric by name, or <c>loss</c>.</summary>
    /// <exception cref="KeyNotFoundException">There is none of that name.</exception>
    public double this[string metric]
    {
        get
        {
            if (metric == "loss") return Loss;
            if (Values.TryGetValue(metric, out double value)) return value;
            throw new KeyNotFoundException(
                Count == 0 ? $"there is no {metric}: no example was scored" : $"there is no metric '{metric}' here; there are loss, {string.Join(", ", Values.Keys)}");
        }
    }
}
