using System.Runtime.InteropServices;

namespace Permafrost.Kernels.Interop;

/// <summary>
/// Room for signal handlers on threads that use AMX, as our kernels and libtorch do. What the system saves for a handler grows by 8 KiB of tiles there, and the alternate stack
/// that .NET gives its threads has no room left for its own handler: a NullReferenceException on such a thread, whoever throws it, would end the process.
/// </summary>
internal static unsafe partial class SignalStack
{
    private const int Bytes = 256 << 10;

    [ThreadStatic] private static bool isLarge;

    /// <summary>Gives the calling thread a larger stack for its signal handlers, the first time. .NET frees what it finds there when the thread ends.</summary>
    public static void Enlarge()
    {
        if (isLarge) return;
        isLarge = true;
        if (OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64) Replace();
    }

    // The pages are the system's until something is written to them.
    private static void Replace()
    {
        const int Disabled = 2;
        if (sigaltstack(null, out AlternateStack own) != 0 || (own.Flags & Disabled) != 0 || own.Size >= Bytes) return;
        nint memory = NativeMethods.MapMemory(Bytes);
        var large = new AlternateStack { Start = memory, Size = Bytes };
        if (sigaltstack(&large, out _) == 0) NativeMethods.UnmapMemory(own.Start, (long)own.Size);
        else NativeMethods.UnmapMemory(memory, Bytes);
    }

    [LibraryImport("libc")]
    private static partial int sigaltstack(AlternateStack* given, out AlternateStack before);

    // stack_t of signal.h.
    [StructLayout(LayoutKind.Sequential)]
    private struct AlternateStack
    {
        public nint Start;
        public int Flags;
        public nuint Size;
    }
}
