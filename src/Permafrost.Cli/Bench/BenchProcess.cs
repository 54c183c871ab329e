using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Permafrost.Cli.Bench;

/// <summary>The environment that a measuring process gets: the user's own, and what was changed in it.</summary>
/// <param name="KeepsCoreType">Whether OPENBLAS_CORETYPE, which picks OpenBLAS's kernels, stays as the user has set it; unset otherwise.</param>
/// <param name="Waits">
/// Whether OMP_WAIT_POLICY=passive and OPENBLAS_THREAD_TIMEOUT=4 are set. Our own process sets them for itself (NativeLoader); PyTorch does not, and
/// its plain default is what people have, so the peer is measured both ways.
/// </param>
internal sealed record BenchEnvironment(bool KeepsCoreType, bool Waits)
{
    // Taken before libtorch is loaded here, because NativeLoader sets variables.
    private static readonly Dictionary<string, string?> Users = new(new ProcessStartInfo().Environment);

    public static bool CoreTypeIsSet => Users.GetValueOrDefault("OPENBLAS_CORETYPE") is { Length: > 0 };

    public override string ToString() => string.Join(", ", new[] { KeepsCoreType || !CoreTypeIsSet ? "" : "OPENBLAS_CORETYPE unset", Waits ? "passive waiting" : "" }.Where(text => text.Length > 0));

    public void Fill(IDictionary<string, string?> environment)
    {
        environment.Clear();
        foreach ((string name, string? value) in Users) environment[name] = value;
        if (!KeepsCoreType) environment.Remove("OPENBLAS_CORETYPE");
        if (!Waits) return;
        environment.TryAdd("OMP_WAIT_POLICY", "passive");
        environment.TryAdd("OPENBLAS_THREAD_TIMEOUT", "4");
    }
}

/// <summary>A measuring process, ours or the PyTorch peer, driven by one JSON line for a command and one for its answer.</summary>
internal sealed class BenchProcess : IDisposable
{
    private static readonly Lazy<(string Python, string Script)?> LazyPeer = new(() => FindScript() is { } script && FindPython() is { } python ? (python, script) : null);

    private readonly Process process;

    private BenchProcess(string name, Process process)
    {
        Name = name;
        this.process = process;
    }

    public string Name { get; }

    /// <summary>Whether the peer's scripts and a Python with PyTorch are here.</summary>
    public static bool HasPeer => LazyPeer.Value is not null;

    /// <summary>The Python that has PyTorch.</summary>
    public static string Python => LazyPeer.Value!.Value.Python;

    /// <summary>Starts our own worker.</summary>
    public static BenchProcess Own(string name, BenchEnvironment environment)
    {
        (string program, string[] arguments) = OwnCommand("bench", "--worker");
        return new BenchProcess(name, Start(program, arguments, environment));
    }

    /// <summary>Starts the PyTorch peer.</summary>
    public static BenchProcess Peer(string name, BenchEnvironment environment) => new(name, Start(Python, [LazyPeer.Value!.Value.Script], environment));

    /// <summary>How this program is started.</summary>
    public static (string Program, string[] Arguments) OwnCommand(params string[] arguments)
    {
        string program = Environment.ProcessPath!;
        bool hosted = Path.GetFileNameWithoutExtension(program) == "dotnet";
        return (program, hosted ? [Path.Combine(AppContext.BaseDirectory, "Permafrost.Cli.dll"), .. arguments] : arguments);
    }

    /// <summary>Seconds from starting a program to its end; what it prints is thrown away.</summary>
    public static double Time(string program, string[] arguments, BenchEnvironment environment, string input = "")
    {
        long start = Stopwatch.GetTimestamp();
        using Process process = Start(program, arguments, environment);
        process.StandardInput.Write(input);
        process.StandardInput.Close();
        process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return process.ExitCode == 0 ? seconds : throw new PermafrostException($"{program} {string.Join(' ', arguments)} failed with exit code {process.ExitCode}");
    }

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

    private static Process Start(string program, string[] arguments, BenchEnvironment environment)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, UseShellExecute = false };
        environment.Fill(start.Environment);
        try
        {
            return Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception error)
        {
            throw new PermafrostException($"cannot start {program}: {error.Message}");
        }
    }

    // Beside the program's folder or any above it, or, for a program that was published elsewhere, the working directory.
    private static string? FindScript()
    {
        foreach (string origin in new[] { AppContext.BaseDirectory, Environment.CurrentDirectory })
            for (DirectoryInfo? folder = new(origin); folder is not null; folder = folder.Parent)
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
