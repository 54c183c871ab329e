using Permafrost.Torch.Interop;

namespace Permafrost.Torch;

/// <summary>
/// A random generator of its own (mt19937, on the CPU), independent of the default one that dropout draws from. The static members save and
/// restore the default generators.
/// </summary>
public sealed class RandomState : IDisposable
{
    private nint handle;

    /// <summary>A generator with its own seed.</summary>
    public RandomState(ulong seed)
    {
        Engine.EnsureLoaded();
        NativeMethods.Check(NativeMethods.pf_generator_new(seed, out handle), "new generator");
    }

    /// <summary>Frees a forgotten generator.</summary>
    ~RandomState() => Free();

    internal nint Handle => handle != 0 ? handle : throw new ObjectDisposedException(nameof(RandomState));

    /// <summary>Seeds the default generator of every device.</summary>
    public static void Seed(ulong seed)
    {
        Engine.EnsureLoaded();
        NativeMethods.Check(NativeMethods.pf_random_seed(seed), "seed");
    }

    /// <summary>The default generator's state on a device: bytes to give to <see cref="SetState"/>.</summary>
    public static byte[] GetState(Device device)
    {
        Engine.EnsureLoaded();
        NativeMethods.Check(NativeMethods.pf_random_state(0, (int)device.Type, device.Index, out nint state), "random state");
        using var tensor = new Tensor(state);
        return tensor.ToArray<byte>();
    }

    /// <summary>Restores a state taken by <see cref="GetState"/>: the same numbers follow.</summary>
    /// <exception cref="TorchException">The bytes are not a state of this libtorch's generator.</exception>
    public static void SetState(Device device, ReadOnlySpan<byte> state)
    {
        using Tensor tensor = Tensor.From(state, [state.Length]);
        NativeMethods.Check(NativeMethods.pf_random_state_set(0, (int)device.Type, device.Index, tensor.Handle), "set random state");
    }

    /// <summary>Frees the generator.</summary>
    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        nint old = Interlocked.Exchange(ref handle, 0);
        if (old != 0) NativeMethods.pf_generator_free(old);
    }
}
