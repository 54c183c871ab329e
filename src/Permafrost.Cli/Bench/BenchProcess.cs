using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Permafrost.Cli.Bench;

/// <summary>A measuring process, ours or the PyTorch peer, driven by one JSON line for a command and one for its answer.</summary>
internal sealed class BenchProcess : IDisposable
{
    private readonly Process process;

    private BenchProcess(string name, Process process)
    {
        Name = name;
        this.process = process;
    }

    public string Name { get; }

    /// <summary>Starts our own worker.</summary>
    public static BenchProcess Own(string name, bool keepCoreType)
    {
        string program = Environment.ProcessPath!;
        bool hosted = Path.GetFileNameWithoutExtension(program) == "dotnet";
        return Start(name, program, hosted ? [Path.Combine(AppContext.BaseDirectory, "Permafrost.Cli.dll"), "bench", "--worker"] : ["bench", "--worker"], keepCoreType);
    }

    /// <summary>Starts the PyTorch peer; null when its scripts or a Python with PyTorch are not here.</summary>
    public static BenchProcess? Peer(string name, bool keepCoreType) =>
        FindScript() is { } script && FindPython() is { } python ? Start(name, python, [script], keepCoreType) : null;

    public JsonObject Ask(JsonObject command)
    {
        process.StandardInput.WriteLine(command.ToJsonString());
        process.StandardInput.Flush();
        string line = process.StandardOutput.ReadLine() ?? throw new PermafrostException($"the measuring process '{Name}' ended without an answer");
        try
        {
            JsonObject answer = JsonNode.Parse(line)!.AsObject();
            return answer["error"] is { } error ? throw new PermafrostException($"the measuring process '{Name}' says: {error}") : answer;
        }
        catch (JsonException)
        {
            throw new PermafrostException($"the measuring process '{Name}' answered '{line}', which is not JSON");
        }
    }

    public void Dispose()
    {
        try
        {
            process.StandardInput.Close();
            if (!process.WaitForExit(5000)) process.Kill(entireProcessTree: true);
        }
        catch (Exception error) when (error is InvalidOperationException or IOException)
        {
            // It is gone already.
        }
        process.Dispose();
    }

    private static BenchProcess Start(string name, string program, string[] arguments, bool keepCoreType)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, UseShellExecute = false };
        if (!keepCoreType) start.Environment.Remove("OPENBLAS_CORETYPE");
        // Our own process sets these for itself (NativeLoader); the peer gets them too, because they help it as much.
        start.Environment.TryAdd("OMP_WAIT_POLICY", "passive");
        start.Environment.TryAdd("OPENBLAS_THREAD_TIMEOUT", "4");
        try
        {
            return new BenchProcess(name, Process.Start(start)!);
        }
        catch (System.ComponentModel.Win32Exception error)
        {
            throw new PermafrostException($"cannot start {program}: {error.Message}");
        }
    }

    private static string? FindScript()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string script = Path.Combine(folder.FullName, "bench", "peer", "peer.py");
            if (File.Exists(script)) return script;
        }
        return null;
    }

    private static string? FindPython()
    {
        foreach (string? python in new[] { Environment.GetEnvironmentVariable("PYTHON"), "python3", "/usr/bin/python3" })
        {
            if (string.IsNullOrEmpty(python)) continue;
            try
            {
                using Process probe = Process.Start(new ProcessStartInfo(python, ["-c", "import torch"]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
                probe.StandardError.ReadToEnd();
                probe.WaitForExit();
                if (probe.ExitCode == 0) return python;
            }
            catch (System.ComponentModel.Win32Exception)
            {
                // Not there: try the next.
            }
        }
        return null;
    }
}
