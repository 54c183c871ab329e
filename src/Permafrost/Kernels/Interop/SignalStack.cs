using System.Runtime.InteropServices;
using System.Runtime.Versioning;

namespace Permafrost.Kernels.Interop;

/// <summary>
/// Runs code of others that may end in a null reference on a thread whose signal handlers have room. Where a process has used AMX (our kernels do, and libtorch's), what the system
/// saves for a handler grows by 8 KiB of tiles, and the alternate stack that .NET gives its threads has no room left for its own handler: a NullReferenceException anywhere would
/// end the process.
/// </summary>
internal static unsafe partial class SignalStack
{
    private const int Bytes = 256 << 10;

    /// <summary>What a function gives, or throws; computed on a thread of its own.</summary>
    public static T Run<T>(Func<T> compute)
    {
        T result = default!;
        Exception? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                result = OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64 ? OnLargeStack(compute) : compute();
            }
            catch (Exception error)
            {
                failure = error;
            }
        })
        { IsBackground = true };
        thread.Start();
        thread.Join();
        if (failure is not null) System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(failure);
        return result;
    }

    // The thread's own is put back before it ends: .NET frees what it finds there.
    [SupportedOSPlatform("linux")]
    private static T OnLargeStack<T>(Func<T> compute)
    {
        void* memory = NativeMemory.Alloc(Bytes);
        var large = new SignalStackOf { Start = memory, Size = Bytes };
        bool isSet = Set(&large, out SignalStackOf own) == 0;
        try
        {
            return compute();
        }
        finally
        {
            if (isSet) _ = Set(&own, out _);
            NativeMemory.Free(memory);
        }
    }

    [LibraryImport("libc", EntryPoint = "sigaltstack")]
    private static partial int Set(SignalStackOf* given, out SignalStackOf before);

    // stack_t of signal.h.
    [StructLayout(LayoutKind.Sequential)]
    private struct SignalStackOf
    {
        public void* Start;
        public int Flags;
        public nuint Size;
    }
}
