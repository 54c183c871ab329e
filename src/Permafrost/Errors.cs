namespace Permafrost;

/// <summary>Something the user can put right, said in one sentence that names the file, line or option and what to do. Exit code 1.</summary>
public class PermafrostException : Exception
{
    /// <summary>An error with its one sentence. Line breaks and other control characters, which names in hostile files may hold, become spaces.</summary>
    public PermafrostException(string message, Exception? inner = null) : base(string.Concat(message.Select(c => char.IsControl(c) ? ' ' : c)), inner) { }

    /// <summary>The process's exit code for this error.</summary>
    public virtual int ExitCode => 1;
}

/// <summary>A wrong option, configuration or combination of them. Exit code 2.</summary>
public sealed class UsageException(string message) : PermafrostException(message)
{
    /// <inheritdoc/>
    public override int ExitCode => 2;
}

/// <summary>The loss became infinite or not a number. Exit code 3.</summary>
public sealed class DivergedException(string message) : PermafrostException(message)
{
    /// <inheritdoc/>
    public override int ExitCode => 3;
}
