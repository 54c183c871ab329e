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
        try
        {
            using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 16))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }
            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            TryDelete(temporary);
            throw new PermafrostException($"cannot write {path}: {error.Message.TrimEnd('.')}; free some space or choose another folder with --output-dir", error);
        }
        catch
        {
            TryDelete(temporary);
            throw;
        }
    }

    /// <summary>Writes a text in UTF-8 without a byte order mark.</summary>
    /// <exception cref="PermafrostException">The file cannot be written.</exception>
    public static void WriteText(string path, string text) => Write(path, stream => stream.Write(Encoding.UTF8.GetBytes(text)));

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
