using System.Reflection;
using System.Runtime.InteropServices;

namespace Permafrost.Torch.Interop;

/// <summary>Finds libpermafrost_torch.so: $PERMAFROST_NATIVE, beside the program, then as the system's loader would.</summary>
internal static partial class NativeLoader
{
    // libtorch's OpenMP threads and OpenBLAS's own threads each spin while they wait for work, on the very cores that the others need: on two cores
    // a small step ran 8 times slower so. And UCX, which Debian 13's libtorch brings along, takes over signals that .NET turns into exceptions, and ends
    // the process instead. All are read once, when the libraries load; what the user has set stays.
    private static readonly (string Name, string Value)[] LibraryDefaults = [("OMP_WAIT_POLICY", "passive"), ("OPENBLAS_THREAD_TIMEOUT", "4"), ("UCX_ERROR_SIGNALS", "")];

    private static int registered;

    /// <summary>The file that was loaded, for bug reports.</summary>
    internal static string LoadedFrom { get; private set; } = "(not loaded)";

    internal static void Register()
    {
        if (Interlocked.Exchange(ref registered, 1) == 0) NativeLibrary.SetDllImportResolver(typeof(NativeLoader).Assembly, Resolve);
    }

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? searchPath)
    {
        if (name != NativeMethods.Library) return 0;
        string? given = Environment.GetEnvironmentVariable("PERMAFROST_NATIVE");
        string file = given is { Length: > 0 } ? given : Path.Combine(AppContext.BaseDirectory, "libpermafrost_torch.so");
        if (!File.Exists(file) && given is not { Length: > 0 }) file = "libpermafrost_torch.so";
        // .NET's SetEnvironmentVariable does not reach C libraries.
        foreach ((string variable, string value) in LibraryDefaults) setenv(variable, value, overwrite: 0);
        try
        {
            nint handle = NativeLibrary.Load(file);
            LoadedFrom = file;
            return handle;
        }
        catch (Exception error) when (error is DllNotFoundException or BadImageFormatException)
        {
            throw new TorchException("load", $"The native library {file} or the libtorch behind it cannot be loaded: {error.Message.ReplaceLineEndings(" ").Trim()}. {WaysOut}");
        }
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int setenv(string name, string value, int overwrite);

    internal const string WaysOut =
        "Three ways out: `apt-get install --no-install-recommends libtorch-dev libopenblas0-pthread` (Debian 12 and 13), or LIBTORCH=/folder/with/include/and/lib, " +
        "or LIBTORCH_USE_PYTORCH=1 with a Python that has PyTorch; then start through ./permafrost, which rebuilds.";
}
