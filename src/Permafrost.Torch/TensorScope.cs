namespace Permafrost.Torch;

/// <summary>
/// Frees, when disposed, every tensor that was made on this thread since it was opened and not kept. Scopes nest; a tensor that is kept moves
/// to the scope around, or to the garbage collector's care where there is none.
/// </summary>
/// <example><code>
/// using var scope = new TensorScope();
/// Tensor hidden = model.Forward(batch);
/// return scope.Keep(hidden.Mean(1));
/// </code></example>
public sealed class TensorScope : IDisposable
{
    [ThreadStatic] private static TensorScope? current;

    private readonly TensorScope? outer;
    private readonly List<Tensor> tensors = new(64);
    private bool disposed;

    /// <summary>Opens a scope inside the thread's current one.</summary>
    public TensorScope()
    {
        outer = current;
        current = this;
    }

    /// <summary>Takes a tensor out of this scope, so that it outlives it.</summary>
    /// <returns>The same tensor.</returns>
    public Tensor Keep(Tensor tensor)
    {
        if (tensor.Scope == this)
        {
            tensor.Scope = outer;
            outer?.tensors.Add(tensor);
        }
        return tensor;
    }

    /// <summary>Takes a tensor out of every scope: it lives until it is disposed, or collected.</summary>
    /// <returns>The same tensor.</returns>
    public static Tensor Detach(Tensor tensor)
    {
        tensor.Scope = null;
        return tensor;
    }

    /// <summary>Frees the scope's tensors and returns to the scope around.</summary>
    /// <exception cref="InvalidOperationException">An inner scope is still open, or this is another thread.</exception>
    public void Dispose()
    {
        if (disposed) return;
        if (current != this) throw new InvalidOperationException("tensor scopes must be disposed from the inside out, on the thread that opened them");
        disposed = true;
        current = outer;
        foreach (Tensor tensor in tensors)
        {
            // Kept or detached tensors are still listed here, but belong elsewhere by now.
            if (tensor.Scope == this) tensor.Dispose();
        }
        tensors.Clear();
    }

    internal static void Register(Tensor tensor)
    {
        if (current is null) return;
        tensor.Scope = current;
        current.tensors.Add(tensor);
    }
}
