using System.Runtime.InteropServices;

namespace Permafrost.Kernels;

/// <summary>This process's memory, as Linux reports it.</summary>
public static partial class ProcessMemory
{
    private static long earlierPeak;

    /// <summary>The largest resident memory so far, in bytes; 0 where the system does not report it.</summary>
    public static long Peak => Math.Max(Volatile.Read(ref earlierPeak), StatusBytes("VmHWM:"));

    /// <summary>The resident memory now, in bytes; 0 where the system does not report it.</summary>
    public static long Resident => StatusBytes("VmRSS:");

    /// <summary>Memory that programs can still take without swapping, in bytes; long.MaxValue where the system does not report it.</summary>
    public static long Available
    {
        get
        {
            long system = Bytes("/proc/meminfo", "MemAvailable:") ?? long.MaxValue;
            // A container's or a job's own limit (cgroup v2) may be lower than the machine's.
            long Bound(string file) => File.Exists("/sys/fs/cgroup/" + file) && long.TryParse(File.ReadAllText("/sys/fs/cgroup/" + file), out long bytes) ? bytes : -1;
            (long most, long used) = (Bound("memory.max"), Bound("memory.current"));
            return most < 0 || used < 0 ? system : Math.Min(system, Math.Max(0, most - used));
        }
    }

    /// <summary>The most bytes by which the resident memory grows while something is done; 0 where the system does not report it.</summary>
    public static long Growth(Action work)
    {
        Workspace.Trim();
        TrimHeap();
        long before = Resident;
        bool watched = ForgetPeak();
        work();
        return Math.Max(0, (watched ? StatusBytes("VmHWM:") : Resident) - before);
    }

    // Linux starts a new peak when 5 is written to clear_refs (proc(5)); the highest one so far is kept here.
    private static bool ForgetPeak()
    {
        Volatile.Write(ref earlierPeak, Peak);
        try
        {
            File.WriteAllText("/proc/self/clear_refs", "5");
            return true;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    // Memory that the C library keeps back after it was freed would hide what is allocated again.
    private static void TrimHeap()
    {
        try
        {
            if (OperatingSystem.IsLinux()) _ = malloc_trim(0);
        }
        catch (EntryPointNotFoundException)
        {
            // A C library other than GNU's does not have it.
        }
    }

    [LibraryImport("libc")]
    private static partial int malloc_trim(nuint pad);

    private static long StatusBytes(string key) => Bytes("/proc/self/status", key) ?? 0;

    // A line such as "VmRSS:    1234 kB" of one of the kernel's files (proc(5)); null where there is no such file or line.
    private static long? Bytes(string file, string key)
    {
        if (!File.Exists(file)) return null;
        string? line = File.ReadLines(file).FirstOrDefault(text => text.StartsWith(key, StringComparison.Ordinal));
        return line is not null && long.TryParse(line[key.Length..].Replace("kB", "", StringComparison.Ordinal).Trim(), out long kilobytes) ? kilobytes * 1024 : null;
    }
}
