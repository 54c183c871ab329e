using System.Runtime.InteropServices;
using System.Text;

namespace Permafrost.Cli.Bench;

/// <summary>
/// How OpenMP's idle threads wait. This program tells its own to wait passively (Engine); a plain TorchSharp program does not, so the peer must not inherit that.
/// </summary>
internal static partial class WaitPolicy
{
    private const string Variable = "OMP_WAIT_POLICY";

    /// <summary>What this process was started with; null where it was not set. Asked of the system, since the program has set its own value by now.</summary>
    private static string? Given
    {
        get
        {
            const string Started = "/proc/self/environ";
            if (!File.Exists(Started)) return null;
            string prefix = Variable + "=";
            return Encoding.UTF8.GetString(File.ReadAllBytes(Started)).Split('\0').FirstOrDefault(entry => entry.StartsWith(prefix, StringComparison.Ordinal))?[prefix.Length..];
        }
    }

    /// <summary>The environment of a process to be started: passive waiting, or what the user has set, or nothing.</summary>
    public static void Fill(IDictionary<string, string?> environment, bool passive)
    {
        string? value = passive ? "passive" : Given;
        if (value is null) environment.Remove(Variable);
        else environment[Variable] = value;
    }

    /// <summary>Takes back what this program has set for itself; before libtorch loads, which is when OpenMP reads it.</summary>
    public static void Restore()
    {
        if (Given is null && OperatingSystem.IsLinux()) _ = unsetenv(Variable);
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int unsetenv(string name);
}
