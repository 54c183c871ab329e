using System.Runtime.InteropServices;
using Permafrost.Torch.Interop;

namespace Permafrost.Torch;

/// <summary>A failure inside libtorch, with the operator and the shapes and types it was called with.</summary>
public sealed class TorchException : Exception
{
    /// <summary>A failure of <paramref name="operation"/>.</summary>
    /// <param name="operation">Operator or function name, such as <c>aten::addmm</c>.</param>
    /// <param name="reason">What libtorch said, one line or more.</param>
    /// <param name="arguments">The call's arguments, such as <c>Float[2, 3], Long[4]</c>; empty when there are none.</param>
    public TorchException(string operation, string reason, string arguments = "")
        : base(arguments.Length == 0 ? $"{operation}: {reason}" : $"{operation}({arguments}): {reason}")
    {
        Operation = operation;
        Reason = reason;
        Arguments = arguments;
    }

    /// <summary>The operator or native function that failed.</summary>
    public string Operation { get; }

    /// <summary>libtorch's own message.</summary>
    public string Reason { get; }

    /// <summary>Types and shapes of the call's arguments.</summary>
    public string Arguments { get; }

    /// <summary>Whether memory ran out, on the host or on a device.</summary>
    public bool IsOutOfMemory => Reason.Contains("out of memory", StringComparison.OrdinalIgnoreCase) || Reason.Contains("can't allocate memory", StringComparison.OrdinalIgnoreCase);

    internal static TorchException FromNative(string operation)
    {
        string message = Marshal.PtrToStringUTF8(NativeMethods.pf_last_error()) ?? "unknown failure";
        return new TorchException(operation, message.Trim());
    }

    /// <summary>For operator calls, whose last line describes the arguments (native/operators.cpp).</summary>
    internal static TorchException FromNativeCall(string operation)
    {
        string message = (Marshal.PtrToStringUTF8(NativeMethods.pf_last_error()) ?? "unknown failure").TrimEnd();
        int line = message.LastIndexOf('\n');
        return line < 0 ? new TorchException(operation, message) : new TorchException(operation, message[..line].Trim(), message[(line + 1)..]);
    }
}
