namespace Permafrost.Training;

/// <summary>Why a run is asked to stop.</summary>
public enum StopReason
{
    /// <summary>It is not.</summary>
    None,
    /// <summary>Ctrl-C.</summary>
    Interrupt,
    /// <summary>SIGTERM or SIGUSR1: a scheduler wants the machine back.</summary>
    Preempted,
    /// <summary>--max-time has passed.</summary>
    OutOfTime,
}

/// <summary>A wish to stop after the current step, set from a signal handler and read by the training loop.</summary>
public sealed class StopRequest : IDisposable
{
    private readonly CancellationTokenSource source = new();
    private int reason;

    /// <summary>Why; <see cref="StopReason.None"/> to go on.</summary>
    public StopReason Reason => (StopReason)Volatile.Read(ref reason);

    /// <summary>Cancelled with the first request: for evaluations, which can be repeated.</summary>
    public CancellationToken Token => source.Token;

    /// <summary>Asks to stop; the first reason stays.</summary>
    public void Ask(StopReason why)
    {
        if (Interlocked.CompareExchange(ref reason, (int)why, (int)StopReason.None) == (int)StopReason.None) source.Cancel();
    }

    /// <summary>Frees the token.</summary>
    public void Dispose() => source.Dispose();
}

/// <summary>A run stopped when asked to, with a checkpoint: exit code 75, or 130 after Ctrl-C.</summary>
public sealed class StoppedException(string message, StopReason reason) : PermafrostException(message)
{
    /// <summary>Why.</summary>
    public StopReason Reason => reason;

    /// <inheritdoc/>
    public override int ExitCode => reason == StopReason.Interrupt ? 130 : 75;
}
