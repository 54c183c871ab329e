namespace Permafrost.Nn;

/// <summary>
/// Keys and values of the tokens that were computed before, one pair for each place where a model attends, and the last inputs of each convolution along time, so that a token
/// that is generated costs one token's work. No gradient passes through it.
/// </summary>
public sealed class KeyValueCache : IDisposable
{
    private readonly Dictionary<string, (Tensor Keys, Tensor Values)> kept = [];
    private readonly Dictionary<string, Tensor> recent = [];

    /// <summary>How many tokens are behind the next one; whoever runs the model counts them.</summary>
    public long Length { get; set; }

    /// <summary>Puts keys and values behind those of the same place, and gives all of them.</summary>
    /// <param name="place">The attention's name, such as <c>h.0</c>.</param>
    /// <param name="keys">(B, T, width).</param>
    /// <param name="values">(B, T, width).</param>
    public (Tensor Keys, Tensor Values) Append(string place, Tensor keys, Tensor values)
    {
        if (kept.TryGetValue(place, out (Tensor Keys, Tensor Values) before)) (keys, values) = (torch.cat([before.Keys, keys], 1), torch.cat([before.Values, values], 1));
        return Keep(place, keys, values);
    }

    /// <summary>What a place computed once, such as an encoder's keys and values; computed at the first call.</summary>
    /// <param name="place">The attention's name.</param>
    /// <param name="compute">Gives keys and values.</param>
    public (Tensor Keys, Tensor Values) Once(string place, Func<(Tensor Keys, Tensor Values)> compute)
    {
        if (kept.TryGetValue(place, out (Tensor Keys, Tensor Values) known)) return known;
        (Tensor keys, Tensor values) = compute();
        return Keep(place, keys, values);
    }

    /// <summary>The inputs of a place that were kept, and behind them its new ones; of both together the last are kept, as a convolution along time needs them.</summary>
    /// <param name="place">The convolution's name.</param>
    /// <param name="inputs">(B, T, width).</param>
    /// <param name="most">How many are kept.</param>
    internal Tensor Recent(string place, Tensor inputs, long most)
    {
        Tensor all = recent.Remove(place, out Tensor? before) ? torch.cat([before, inputs], 1) : inputs;
        before?.Dispose();
        long count = Math.Min(most, all.size(1));
        recent[place] = all.narrow(1, all.size(1) - count, count).clone().DetachFromDisposeScope();
        return all;
    }

    /// <summary>Puts rows in another order, some more than once and some not at all, as beams do.</summary>
    /// <param name="rows">(B') int64: the row that each new one continues.</param>
    public void Reorder(Tensor rows)
    {
        foreach ((string place, (Tensor keys, Tensor values)) in kept.ToArray()) Keep(place, keys.index_select(0, rows), values.index_select(0, rows));
        foreach ((string place, Tensor inputs) in recent.ToArray())
        {
            recent[place] = inputs.index_select(0, rows).DetachFromDisposeScope();
            inputs.Dispose();
        }
    }

    /// <summary>Frees what is kept.</summary>
    public void Dispose()
    {
        foreach ((Tensor keys, Tensor values) in kept.Values)
        {
            keys.Dispose();
            values.Dispose();
        }
        foreach (Tensor inputs in recent.Values) inputs.Dispose();
        kept.Clear();
        recent.Clear();
    }

    private (Tensor Keys, Tensor Values) Keep(string place, Tensor keys, Tensor values)
    {
        kept.TryGetValue(place, out (Tensor Keys, Tensor Values) before);
        kept[place] = (keys.alias().DetachFromDisposeScope(), values.alias().DetachFromDisposeScope());
        before.Keys?.Dispose();
        before.Values?.Dispose();
        return kept[place];
    }
}
