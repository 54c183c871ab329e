using Permafrost.Formats;

namespace Permafrost.Runs;

/// <summary>Keeps a second process from training in the same run folder; freed by the system when the process ends, however it ends.</summary>
public sealed class RunLock : IDisposable
{
    private readonly FileStream stream;

    private RunLock(FileStream stream) => this.stream = stream;

    /// <summary>Locks a folder, or returns null where another process has it.</summary>
    /// <exception cref="PermafrostException">It cannot be written.</exception>
    internal static RunLock? TryTake(string folder)
    {
        try
        {
            return new RunLock(Open(folder));
        }
        catch (IOException error) when (FileLock.IsHeld(error))
        {
            return null;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException($"{folder} cannot be written: {error.Message.TrimEnd('.')}");
        }
    }

    /// <summary>Locks a folder.</summary>
    /// <exception cref="PermafrostException">Another process has it, or it cannot be written.</exception>
    public RunLock(string folder)
    {
        try
        {
            stream = Open(folder);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException(error is IOException refusal && FileLock.IsHeld(refusal)
                ? $"{folder} is in use by another process; wait for it to end, or choose another `output_dir`"
                : $"{folder} cannot be written: {error.Message.TrimEnd('.')}; make it writable, or choose another `output_dir`");
        }
    }

    private static FileStream Open(string folder) => new(Path.Combine(folder, ".lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);

    /// <summary>Unlocks the folder.</summary>
    public void Dispose() => stream.Dispose();
}
