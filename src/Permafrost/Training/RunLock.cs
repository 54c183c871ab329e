namespace Permafrost.Training;

/// <summary>Keeps a second process from training in the same run folder; freed by the system when the process ends, however it ends.</summary>
public sealed class RunLock : IDisposable
{
    private readonly FileStream stream;

    /// <summary>Locks a folder.</summary>
    /// <exception cref="PermafrostException">Another process has it.</exception>
    public RunLock(string folder)
    {
        try
        {
            stream = new FileStream(Path.Combine(folder, ".lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException($"{folder} is in use by another process, or cannot be written; wait for it to end, or choose another --output-dir");
        }
    }

    /// <summary>Unlocks the folder.</summary>
    public void Dispose() => stream.Dispose();
}
