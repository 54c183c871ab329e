using System.Globalization;
using System.Runtime.InteropServices;

namespace Permafrost.Kernels;

/// <summary>How the system holds this process's memory: pages of mapped files, which it can read again at any time, and the size of others.</summary>
internal static partial class ResidentPages
{
    /// <summary>Lets go of the whole pages in a range of a mapped file that is only read.</summary>
    public static void Release(nint address, long bytes)
    {
        const int DontNeed = 4;
        nint page = Environment.SystemPageSize, from = (address + page - 1) / page * page, to = (nint)(address + bytes) / page * page;
        if (OperatingSystem.IsLinux() && to > from) _ = madvise(from, (nuint)(to - from), DontNeed);
    }

    /// <summary>Asks for pages of 2 MB in mapped memory that nothing was written to yet.</summary>
    public static void PreferLarge(nint address, long bytes)
    {
        const int HugePages = 14;
        if (OperatingSystem.IsLinux()) _ = madvise(address, (nuint)bytes, HugePages);
    }

    /// <summary>Lets go of a library's code: most of what was read when it was loaded is not run again, and the rest comes back from the page cache.</summary>
    public static void ReleaseCode(string library)
    {
        const string Maps = "/proc/self/maps";
        if (!OperatingSystem.IsLinux() || !File.Exists(Maps)) return;
        // "7f0000000000-7f0000001000 r-xp 00000000 08:01 123    /path/libx.so" (proc(5)); code is mapped privately and never written to.
        foreach (string line in File.ReadLines(Maps))
        {
            if (!line.EndsWith("/" + library, StringComparison.Ordinal) || !line.Contains(" r-xp ", StringComparison.Ordinal)) continue;
            string[] ends = line[..line.IndexOf(' ', StringComparison.Ordinal)].Split('-');
            nint from = nint.Parse(ends[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture), to = nint.Parse(ends[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            Release(from, to - from);
        }
    }

    [LibraryImport("libc")]
    private static partial int madvise(nint address, nuint length, int advice);
}
