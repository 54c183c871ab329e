using Permafrost.Torch.Interop;

namespace Permafrost.Torch;

/// <summary>Switches gradient recording off on this thread until disposed: <c>using (new NoGrad()) ...</c>.</summary>
public sealed class NoGrad : IDisposable
{
    private readonly int previous;

    /// <summary>Switches gradient recording off.</summary>
    public NoGrad()
    {
        Engine.EnsureLoaded();
        previous = NativeMethods.pf_grad_mode();
        NativeMethods.pf_grad_mode_set(0);
    }

    /// <summary>Whether operators on this thread record what a gradient needs.</summary>
    public static bool GradientsEnabled { get { Engine.EnsureLoaded(); return NativeMethods.pf_grad_mode() != 0; } }

    /// <summary>Restores what was before.</summary>
    public void Dispose() => NativeMethods.pf_grad_mode_set(previous);
}
