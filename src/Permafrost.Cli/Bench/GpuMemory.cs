using System.Diagnostics;
using System.Globalization;

namespace Permafrost.Cli.Bench;

/// <summary>
/// What the driver says of a GPU, through nvidia-smi. A side's memory is by how much the used memory rose from before its start to after its first
/// steps, with nobody else at work: libtorch's allocator gives nothing back, so that is its peak, and it counts the same for every program.
/// </summary>
internal static class GpuMemory
{
    /// <summary>Bytes in use, by whomever; null on the CPU or where nvidia-smi does not tell.</summary>
    public static long? Used(string device) =>
        Query("memory.used", device) is { } text && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long mebibytes) ? mebibytes << 20 : null;

    public static string? Name(string device) => Query("name", device);

    private static string? Query(string what, string device)
    {
        if (!device.StartsWith("cuda", StringComparison.Ordinal)) return null;
        string index = device.Contains(':', StringComparison.Ordinal) ? device[(device.IndexOf(':', StringComparison.Ordinal) + 1)..] : "0";
        try
        {
            string[] arguments = [$"--query-gpu={what}", "--format=csv,noheader,nounits", "--id", index];
            using Process process = Process.Start(new ProcessStartInfo("nvidia-smi", arguments) { RedirectStandardOutput = true })!;
            string text = process.StandardOutput.ReadToEnd().Trim();
            process.WaitForExit();
            return process.ExitCode == 0 ? text : null;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return null;
        }
    }
}
