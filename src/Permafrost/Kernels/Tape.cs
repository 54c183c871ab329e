namespace Permafrost.Kernels;

/// <summary>
/// What a segment's forward pass leaves for its backward pass: one entry for each kernel that was called, in order, and the tensors that those entries read. A tensor whose
/// gradient is wanted (an input of the segment, a parameter that trains, a kernel's result) is a leaf of libtorch's autograd here, so an operator of TorchSharp between two kernels
/// shows: what it returns is a tensor with a history, which no kernel takes.
/// </summary>
internal sealed class Tape
{
    [ThreadStatic] private static Tape? current;

    private readonly Dictionary<Tensor, Tensor?> gradients = new(ReferenceEqualityComparer.Instance);
    private readonly HashSet<Tensor> results = new(ReferenceEqualityComparer.Instance);
    private readonly HashSet<Tensor> kept = new(ReferenceEqualityComparer.Instance);
    private readonly HashSet<Tensor> shared = new(ReferenceEqualityComparer.Instance);
    private readonly List<Tensor> inputs = [];
    private readonly List<Entry> entries = [];
    private readonly List<Tensor> taken = [];
    private List<Tensor> keptByNext = [];

    private readonly record struct Entry(Action Backward, List<Tensor> Kept);

    /// <summary>The tape of the segment that runs on this thread; null outside a segment, and where no gradient is needed.</summary>
    public static Tape? Current => current is not null && torch.is_grad_enabled() ? current : null;

    /// <summary>The leaves whose gradients leave the segment: its inputs, and the parameters that were met.</summary>
    public List<Tensor> Leaves { get; } = [];

    /// <summary>Whether nothing was recorded.</summary>
    public bool IsEmpty => entries.Count == 0;

    /// <summary>Records what <paramref name="body"/> calls.</summary>
    public void Record(Action body)
    {
        Tape? outer = current;
        current = this;
        try
        {
            body();
        }
        finally
        {
            current = outer;
        }
    }

    /// <summary>Runs a function without recording it.</summary>
    public static T Outside<T>(Func<T> body)
    {
        Tape? outer = current;
        current = null;
        try
        {
            return body();
        }
        finally
        {
            current = outer;
        }
    }

    /// <summary>Declares an input of the segment: a leaf, which is the tape's from now on.</summary>
    public void AddInput(Tensor input)
    {
        inputs.Add(input.DetachFromDisposeScope());
        gradients.Add(input, null);
        Leaves.Add(input);
    }

    /// <summary>Whether a gradient is wanted for a tensor; a parameter is remembered.</summary>
    /// <exception cref="EngineException">It was computed by an operator that the tape did not see.</exception>
    public bool Wants(Tensor? tensor)
    {
        if (tensor is null || !tensor.requires_grad) return false;
        if (gradients.ContainsKey(tensor)) return true;
        if (!tensor.is_leaf)
            throw new EngineException(
                $"a tensor {tensor.Describe()} that an operator of TorchSharp computed reached a layer inside a segment, where its gradient would be lost: " +
                "wrap the operator in Segment.Compose, or run these layers outside Segment.Run");
        gradients.Add(tensor, null);
        Leaves.Add(tensor);
        return true;
    }

    /// <summary>Marks a kernel's result: from now on its gradient is wanted.</summary>
    public Tensor Result(Tensor result)
    {
        result.requires_grad = true;
        gradients.Add(result, null);
        results.Add(result);
        return result;
    }

    /// <summary>Keeps a tensor that the next entry's backward pass reads beyond the scope that it was made in. Gives what the entry must read it from.</summary>
    public Tensor Hold(Tensor tensor)
    {
        if (results.Contains(tensor))
        {
            // The first entry that reads it is the last one to run backward.
            if (kept.Add(tensor)) keptByNext.Add(tensor.DetachFromDisposeScope());
            return tensor;
        }
        // Parameters and inputs stay anyway; anything else is the caller's, who may free it.
        return tensor.requires_grad ? tensor : Own(tensor.detach());
    }

    /// <summary>Keeps a tensor that a kernel has made for its own backward pass.</summary>
    public Tensor Own(Tensor tensor)
    {
        keptByNext.Add(tensor.DetachFromDisposeScope());
        return tensor;
    }

    /// <summary>Adds an entry: the backward pass of one kernel's call.</summary>
    public void Add(Action backward)
    {
        entries.Add(new Entry(backward, keptByNext));
        keptByNext = [];
    }

    /// <summary>The gradient of a result, to be used up by the entry that asks; null where nothing depends on it.</summary>
    public Tensor? Take(Tensor result)
    {
        if (!gradients.Remove(result, out Tensor? gradient) || gradient is null) return null;
        taken.Add(gradient);
        return gradient;
    }

    /// <summary>Adds to a tensor's gradient a tensor whose memory others may read too.</summary>
    public void GiveShared(Tensor tensor, Tensor gradient)
    {
        Tensor alias = gradient.alias();
        shared.Add(alias);
        Give(tensor, alias);
    }

    /// <summary>Adds to a tensor's gradient. The tape owns <paramref name="gradient"/> from now on.</summary>
    public void Give(Tensor tensor, Tensor gradient)
    {
        int mine = taken.FindIndex(other => ReferenceEquals(other, gradient));
        if (mine >= 0) taken.RemoveAt(mine);
        gradient.DetachFromDisposeScope();
        if (gradients.GetValueOrDefault(tensor) is not { } sum)
        {
            gradients[tensor] = gradient;
            return;
        }
        if (!shared.Remove(sum))
        {
            Elementwise.AddTo(sum, gradient);
            gradient.Dispose();
            return;
        }
        gradients[tensor] = sum.Plus(gradient).DetachFromDisposeScope();
        sum.Dispose();
        gradient.Dispose();
    }

    /// <summary>Runs the entries from the last to the first, and gives the leaves' gradients; null where a leaf has none.</summary>
    /// <param name="outputs">The segment's outputs and their gradients.</param>
    public Tensor?[] Backward(IEnumerable<(Tensor Output, Tensor Gradient)> outputs)
    {
        using var noGrad = torch.no_grad();
        foreach ((Tensor output, Tensor gradient) in outputs) GiveShared(output, gradient);
        for (int i = entries.Count - 1; i >= 0; i--)
        {
            using (torch.NewDisposeScope()) entries[i].Backward();
            foreach (Tensor tensor in entries[i].Kept) tensor.Dispose();
            entries.RemoveAt(i);
            foreach (Tensor tensor in taken) tensor.Dispose();
            taken.Clear();
        }
        // Handles of the scope that the caller has open, which frees them when libtorch has read them.
        Tensor?[] result = [.. Leaves.Select(leaf => gradients.GetValueOrDefault(leaf)?.alias())];
        Release();
        return result;
    }

    /// <summary>Frees every tensor that the tape keeps.</summary>
    public void Release()
    {
        foreach (Tensor input in inputs) input.Dispose();
        inputs.Clear();
        foreach (Entry entry in entries)
            foreach (Tensor tensor in entry.Kept) tensor.Dispose();
        entries.Clear();
        foreach (Tensor? gradient in gradients.Values) gradient?.Dispose();
        gradients.Clear();
    }
}
