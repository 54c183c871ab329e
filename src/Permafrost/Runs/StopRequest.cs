namespace Permafrost.Runs;

/// <summary>Why a run is asked to stop.</summary>
public enum StopReason
{
    /// <summary>It is not.</summary>
    None,
    /// <summary>Ctrl-C.</summary>
    Interrupt,
    /// <summary>SIGTERM or SIGUSR1: a scheduler wants the machine back.</summary>
    Preempted,
    /// <summary>The time limit has passed.</summary>
    OutOfTime,
}

/// <summary>A wish to stop after the current step, set from a signal handler and read by the training loop.</summary>
public sealed class StopRequest : IDisposable
{
    private readonly CancellationTokenSource source = new();
    private int reason;

    /// <summary>Why; <see cref="StopReason.None"/> to go on.</summary>
    public StopReason Reason => (StopReason)Volatile.Read(ref reason);

    /// <summary>The reason in words.</summary>
    public string Why => Reason switch { StopReason.Interrupt => "Ctrl-C", StopReason.OutOfTime => "`max_time`", _ => "a signal" };

    /// <summary>Cancelled with the first request: for evaluations, which can be repeated.</summary>
    public CancellationToken Token => source.Token;

    /// <summary>Asks to stop; the first reason stays.</summary>
    public void Ask(StopReason why)
    {
        if (Interlocked.CompareExchange(ref reason, (int)why, (int)StopReason.None) != (int)StopReason.None) return;
        try
        {
            source.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // A timer or signal that comes when nobody waits for it any more.
        }
    }

    /// <summary>Frees the token.</summary>
    public void Dispose() => source.Dispose();
}

/// <summary>A run stopped when asked to, with a checkpoint: exit code 75, or 130 after Ctrl-C.</summary>
/// <param name="message">What was stopped, and where.</param>
/// <param name="reason">Why.</param>
/// <param name="folder">The run's folder, to go on in; null where the message says how.</param>
public sealed class StoppedException(string message, StopReason reason, string? folder = null) : PermafrostException(message)
{
    /// <summary>Why.</summary>
    public StopReason Reason => reason;

    /// <summary>The run's folder, to go on in; null where the message says how.</summary>
    public string? Folder => folder;

    /// <inheritdoc/>
    public override int ExitCode => reason == StopReason.Interrupt ? 130 : 75;
}
