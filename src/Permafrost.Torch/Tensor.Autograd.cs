using Permafrost.Torch.Interop;

namespace Permafrost.Torch;

// Gradients.
public sealed unsafe partial class Tensor
{
    /// <summary>Whether operators on this tensor are recorded for a gradient. Setting it is for leaves: parameters and inputs.</summary>
    public bool RequiresGrad
    {
        get { long* sizes = stackalloc long[MaxDimensions]; return Info(sizes).RequiresGrad != 0; }
        set
        {
            NativeMethods.Check(NativeMethods.pf_requires_grad_set(Handle, value ? 1 : 0), "set requires_grad");
            GC.KeepAlive(this);
        }
    }

    /// <summary>A new handle to the accumulated gradient, or null when there is none. Setting null drops it.</summary>
    public Tensor? Grad
    {
        get
        {
            NativeMethods.Check(NativeMethods.pf_gradient(Handle, out nint result), "gradient");
            GC.KeepAlive(this);
            return result == 0 ? null : new Tensor(result);
        }
        set
        {
            NativeMethods.Check(NativeMethods.pf_gradient_set(Handle, value?.Handle ?? 0), "set gradient");
            GC.KeepAlive(this);
            GC.KeepAlive(value);
        }
    }

    /// <summary>Computes the gradients of this tensor (a scalar, unless <paramref name="gradient"/> is given) and adds them to the leaves' <see cref="Grad"/>.</summary>
    public void Backward(Tensor? gradient = null)
    {
        NativeMethods.Check(NativeMethods.pf_backward(Handle, gradient?.Handle ?? 0), "backward");
        GC.KeepAlive(this);
        GC.KeepAlive(gradient);
    }

    private static readonly Operator DetachOp = new("aten::detach");

    /// <summary>The same data without its history.</summary>
    public Tensor Detach() => DetachOp.Call(this);
}
