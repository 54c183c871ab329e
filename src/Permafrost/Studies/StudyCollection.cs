using Permafrost.Formats;
using Permafrost.Runs;

namespace Permafrost.Studies;

/// <summary>Brings the runs of several machines, which shared no folder, into one.</summary>
public static class StudyCollection
{
    /// <summary>Copies finished runs that are not there yet; what has not finished is left.</summary>
    /// <param name="root">The folder of all studies' runs.</param>
    /// <param name="folders">Folders of the same kind.</param>
    /// <returns>How many were copied.</returns>
    /// <exception cref="UsageException">One of the folders has no runs.</exception>
    /// <exception cref="PermafrostException">A run is damaged, or the folder cannot be written.</exception>
    public static int Into(string root, IReadOnlyList<string> folders)
    {
        int copied = 0;
        foreach (string folder in folders)
        {
            string runs = Path.Combine(folder, "runs");
            if (!Directory.Exists(runs)) throw new UsageException($"{folder} is not a folder of studies' runs: it has no folder `runs`");
            foreach (string run in Directory.EnumerateDirectories(runs).Order(StringComparer.Ordinal))
            {
                if (!File.Exists(Path.Combine(run, "results.json"))) continue;
                string target = Path.Combine(root, "runs", Path.GetFileName(run));
                bool better = RunResult.Read(RunFolder.Open(run)).Test is not null;
                if (File.Exists(Path.Combine(target, "results.json")) && (!better || RunResult.Read(RunFolder.Open(target)).Test is not null)) continue;
                // A run that is being trained here is left to whoever trains it.
                AtomicFile.MakeFolder(target);
                using (RunLock? mine = RunLock.TryTake(target)) if (mine is null) continue;
                Copy(run, target, Path.Combine(root, "incoming"));
                copied++;
            }
        }
        return copied;
    }

    // Beside the place, then renamed: a copy that is broken off is no run.
    private static void Copy(string run, string target, string incoming)
    {
        string temporary = Path.Combine(incoming, Path.GetRandomFileName());
        try
        {
            foreach (string file in Directory.EnumerateFiles(run, "*", SearchOption.AllDirectories).Where(file => Path.GetFileName(file) != ".lock"))
            {
                string copy = Path.Combine(temporary, Path.GetRelativePath(run, file));
                Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
                File.Copy(file, copy);
            }
            if (Directory.Exists(target)) Directory.Delete(target, recursive: true);
            Directory.Move(temporary, target);
            Directory.Delete(incoming);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException($"{run} cannot be copied to {target}: {error.Message.TrimEnd('.')}");
        }
    }
}
