namespace Permafrost.Kernels;

/// <summary>The engine cannot be loaded or used: libtorch, TorchSharp's own library or the kernels are missing, damaged or of another version.</summary>
public sealed class EngineException : Exception
{
    /// <summary>An error whose message says in one sentence what is wrong and what to do.</summary>
    public EngineException(string message) : base(message) { }

    /// <summary>An error whose message says in one sentence what is wrong and what to do.</summary>
    public EngineException(string message, Exception inner) : base(message, inner) { }

    /// <summary>Whether an exception of TorchSharp says that memory ran out, on the host or on a device.</summary>
    public static bool IsOutOfMemory(Exception error) =>
        error is OutOfMemoryException
        || error.Message.Contains("out of memory", StringComparison.OrdinalIgnoreCase)
        || error.Message.Contains("can't allocate memory", StringComparison.OrdinalIgnoreCase);

    /// <summary>What libtorch said, without its C++ stack trace.</summary>
    public static string Reason(Exception error)
    {
        string message = error.Message.Trim();
        int trace = message.IndexOf("\nException raised from", StringComparison.Ordinal);
        if (trace < 0) trace = message.IndexOf("\nframe #", StringComparison.Ordinal);
        return (trace < 0 ? message : message[..trace]).Trim();
    }
}
