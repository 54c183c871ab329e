using System.Reflection;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using System.Text.Json.Nodes;
using Permafrost.Kernels;

namespace Permafrost.Runs;

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
        foreach (string feature in new[] { "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_bf16" })
            if (known.Contains(feature)) yield return feature;
        if (known.Count == 0 && Avx2.IsSupported) yield return "avx2";
    }
}
