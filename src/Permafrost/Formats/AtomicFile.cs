using System.Text;

namespace Permafrost.Formats;

/// <summary>Writes whole files so that a reader, or a crash, sees the old content or the new one, never half of it.</summary>
public static class AtomicFile
{
    /// <summary>Writes through <paramref name="write"/> to a temporary file beside the target, flushes it to the disk, and renames it.</summary>
    /// <exception cref="PermafrostException">The file cannot be written: no permission, no space, no such folder.</exception>
    public static void Write(string path, Action<Stream> write)
    {
        string temporary = $"{path}.{Environment.ProcessId}.tmp";
        if (Directory.Exists(path)) throw new PermafrostException($"cannot write {path}: it is a folder; name a file");
        // Renaming over a device or a pipe would replace it.
        if (File.Exists(path) && !IsRegular(path)) throw new PermafrostException($"cannot write {path}: it is not a regular file; name another one");
        try
        {
            using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 16))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }
            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception error) when (IsRefusal(error))
        {
            TryDelete(temporary);
            string reason = Reason(error).Replace(temporary, path, StringComparison.Ordinal);
            string hint = IsFull(error) ? "free some space, or choose another place" : "choose another place";
            throw new PermafrostException($"cannot write {path}: {reason}; {hint}", error);
        }
        catch
        {
            TryDelete(temporary);
            throw;
        }
    }

    /// <summary>Makes a folder, with those above it, where there is none.</summary>
    /// <exception cref="PermafrostException">It cannot be made.</exception>
    internal static void MakeFolder(string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException($"cannot write {folder}: {error.Message.TrimEnd('.')}; choose another folder");
        }
    }

    /// <summary>Writes a text in UTF-8 without a byte order mark.</summary>
    /// <exception cref="PermafrostException">The file cannot be written.</exception>
    public static void WriteText(string path, string text) => Write(path, stream => stream.Write(Encoding.UTF8.GetBytes(text)));

    /// <summary>Copies a file; the copy is written as <see cref="Write"/> does.</summary>
    /// <exception cref="PermafrostException">It cannot be read, or the copy cannot be written.</exception>
    public static void Copy(string source, string path)
    {
        FileStream from;
        try
        {
            from = File.OpenRead(source);
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(source, error);
        }
        using (from) Write(path, from.CopyTo);
    }

    /// <summary>Deletes what processes that were killed while writing left below a folder. For folders that this process alone writes in.</summary>
    public static void RemoveLeftovers(string folder)
    {
        foreach (string file in Directory.EnumerateFiles(folder, "*.tmp", SearchOption.AllDirectories))
            if (int.TryParse(Path.GetExtension(Path.GetFileNameWithoutExtension(file)).TrimStart('.'), out _)) TryDelete(file);
    }

    /// <summary>Whether the system refused to write. .NET reports a file that may not grow (ulimit -f, or a limit of the file system) as a wrong argument.</summary>
    internal static bool IsRefusal(Exception error) => error is IOException or UnauthorizedAccessException or ArgumentOutOfRangeException { ParamName: "value" };

    /// <summary>The system's message, without a full stop.</summary>
    internal static string Reason(Exception error) => error is ArgumentOutOfRangeException ? "it may not grow so large here" : error.Message.TrimEnd('.');

    /// <summary>Whether there was no room: ENOSPC, a quota (EDQUOT), or a limit on a file's size (EFBIG).</summary>
    internal static bool IsFull(Exception error) => error is ArgumentOutOfRangeException or IOException { HResult: 28 or 122 or 27 };

    // .NET tells devices, pipes and sockets from files by this attribute being absent, or by their having no length of their own.
    private static bool IsRegular(string path)
    {
        if ((File.GetAttributes(path) & FileAttributes.Device) != FileAttributes.None) return false;
        return !path.StartsWith("/dev/", StringComparison.Ordinal) && !path.StartsWith("/proc/", StringComparison.Ordinal);
    }

    private static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // The first failure is the one to report; a leftover temporary file harms nothing.
        }
    }
}
