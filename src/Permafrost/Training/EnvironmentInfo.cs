using System.Reflection;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using System.Text.Json.Nodes;
using Permafrost.Kernels;

namespace Permafrost.Training;

/// <summary>The facts about program, engine and machine that a bug report and a run's env.json need.</summary>
public static class EnvironmentInfo
{
    // Variables that change what is computed, or how fast.
    private static readonly string[] Variables =
        ["PERMAFROST_NATIVE", "PERMAFROST_KERNELS", "PERMAFROST_HOME", "PERMAFROST_DATA", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "MKL_NUM_THREADS",
         "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"];

    /// <summary>This program's version.</summary>
    public static string Version { get; } = typeof(EnvironmentInfo).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";

    /// <summary>Everything, as JSON.</summary>
    public static JsonObject Collect()
    {
        var variables = new JsonObject();
        foreach (string name in Variables) if (Environment.GetEnvironmentVariable(name) is { Length: > 0 } value) variables[name] = value;
        return new JsonObject
        {
            ["permafrost"] = Version,
            ["dotnet"] = RuntimeInformation.FrameworkDescription,
            ["os"] = OsName(),
            ["architecture"] = RuntimeInformation.ProcessArchitecture.ToString(),
            ["libtorch"] = Engine.Version,
            ["torchsharp"] = Engine.TorchSharpVersion,
            ["kernels"] = KernelSet.Name,
            ["kernels_library"] = KernelSet.LibraryPath,
            ["kernels_available"] = string.Join(" ", KernelSet.Available),
            ["cpu"] = CpuName(),
            ["cores"] = Environment.ProcessorCount,
            ["cpu_features"] = string.Join(" ", CpuFeatures()),
            ["threads"] = Engine.Threads,
            ["memory_bytes"] = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes,
            ["cuda_devices"] = Engine.CudaDevices,
            ["variables"] = variables,
        };
    }

    /// <summary>The largest resident memory so far, in bytes; 0 where the system does not tell.</summary>
    public static long PeakMemoryBytes => StatusBytes("VmHWM:");

    /// <summary>The resident memory now, in bytes; 0 where the system does not tell.</summary>
    public static long ResidentMemoryBytes => StatusBytes("VmRSS:");

    /// <summary>Memory that programs can still take without swapping, in bytes; long.MaxValue where the system does not tell.</summary>
    public static long AvailableMemoryBytes
    {
        get
        {
            const string Info = "/proc/meminfo";
            string? line = File.Exists(Info) ? File.ReadLines(Info).FirstOrDefault(text => text.StartsWith("MemAvailable:", StringComparison.Ordinal)) : null;
            long system = line is not null && long.TryParse(line["MemAvailable:".Length..].Replace("kB", "", StringComparison.Ordinal).Trim(), out long kilobytes) ? kilobytes * 1024 : long.MaxValue;
            // A container's or a job's own bound (cgroup v2) goes before the machine's.
            long Bound(string file) => File.Exists("/sys/fs/cgroup/" + file) && long.TryParse(File.ReadAllText("/sys/fs/cgroup/" + file), out long bytes) ? bytes : -1;
            (long most, long used) = (Bound("memory.max"), Bound("memory.current"));
            return most < 0 || used < 0 ? system : Math.Min(system, Math.Max(0, most - used));
        }
    }

    private static long StatusBytes(string key)
    {
        if (!File.Exists("/proc/self/status")) return 0;
        string? line = File.ReadLines("/proc/self/status").FirstOrDefault(text => text.StartsWith(key, StringComparison.Ordinal));
        return line is not null && long.TryParse(line[key.Length..].Replace("kB", "", StringComparison.Ordinal).Trim(), out long kilobytes) ? kilobytes * 1024 : 0;
    }

    private static string OsName()
    {
        const string Release = "/etc/os-release";
        string? pretty = File.Exists(Release) ? File.ReadLines(Release).FirstOrDefault(line => line.StartsWith("PRETTY_NAME=", StringComparison.Ordinal)) : null;
        string name = pretty is null ? RuntimeInformation.OSDescription : pretty["PRETTY_NAME=".Length..].Trim('"');
        return $"{name}, kernel {Environment.OSVersion.Version}";
    }

    private static string CpuName()
    {
        const string Info = "/proc/cpuinfo";
        string? line = File.Exists(Info) ? File.ReadLines(Info).FirstOrDefault(text => text.StartsWith("model name", StringComparison.Ordinal)) : null;
        return line?[(line.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim() ?? "unknown";
    }

    private static IEnumerable<string> CpuFeatures()
    {
        const string Info = "/proc/cpuinfo";
        string flags = File.Exists(Info) ? File.ReadLines(Info).FirstOrDefault(text => text.StartsWith("flags", StringComparison.Ordinal)) ?? "" : "";
        HashSet<string> known = [.. flags.Split(' ', StringSplitOptions.RemoveEmptyEntries)];
        foreach (string feature in new[] { "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_bf16" }) if (known.Contains(feature)) yield return feature;
        if (known.Count == 0 && Avx2.IsSupported) yield return "avx2";
    }
}
