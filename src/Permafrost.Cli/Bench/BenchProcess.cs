using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Permafrost.Cli.Bench;

/// <summary>A measuring process, driven by one JSON line for a command and one for its answer.</summary>
internal sealed class BenchProcess : IDisposable
{
    private static readonly string[] OwnWorker = ["bench", "--worker"], PeerWorker = ["bench", "--peer-worker"];

    private readonly Process process;
    private readonly string name;

    private BenchProcess(string name, Process process)
    {
        this.name = name;
        this.process = process;
    }

    /// <summary>Starts a side's worker.</summary>
    public static BenchProcess Start(BenchSide side)
    {
        (string program, string[] arguments) = WorkerCommand(side);
        return new BenchProcess(side.Name, Start(program, arguments, side.IsPassive));
    }

    /// <summary>The command that starts this program.</summary>
    public static (string Program, string[] Arguments) OwnCommand(params string[] arguments)
    {
        string program = Environment.ProcessPath!;
        return IsHost(program) ? (program, [Path.Combine(AppContext.BaseDirectory, "Permafrost.Cli.dll"), .. arguments]) : (program, arguments);
    }

    /// <summary>The command that starts another build of this program: a dll runs on the .NET that runs this one, anything else by itself.</summary>
    public static (string Program, string[] Arguments) OtherCommand(string path, params string[] arguments)
    {
        if (!path.EndsWith(".dll", StringComparison.OrdinalIgnoreCase)) return (path, arguments);
        return (IsHost(Environment.ProcessPath!) ? Environment.ProcessPath! : "dotnet", [path, .. arguments]);
    }

    /// <summary>The command that starts a side's worker.</summary>
    /// <exception cref="PermafrostException">It is ONNX Runtime's, which is not built.</exception>
    public static (string Program, string[] Arguments) WorkerCommand(BenchSide side) =>
        side.Kind == BenchSide.Onnx ? OtherCommand(OnnxWorker()) : side.Program is { } other ? OtherCommand(other, OwnWorker) : OwnCommand(side.IsOurs ? OwnWorker : PeerWorker);

    // Built beside this program, of a project of its own.
    private static string OnnxWorker()
    {
        string path = Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", "..", "Permafrost.Bench", "release", "Permafrost.Bench.dll"));
        return File.Exists(path)
            ? path
            : throw new PermafrostException($"{path} is not there, the program that runs ONNX Runtime and Tokenizers.DotNet; build it with `dotnet build -c Release bench/Permafrost.Bench`");
    }

    /// <summary>Seconds from starting a program to its end; what it prints is thrown away.</summary>
    public static double Time((string Program, string[] Arguments) command, string input = "")
    {
        long start = Stopwatch.GetTimestamp();
        using Process process = Start(command.Program, command.Arguments, passive: false);
        process.StandardInput.Write(input);
        process.StandardInput.Close();
        process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return process.ExitCode == 0 ? seconds : throw new PermafrostException($"{command.Program} {string.Join(' ', command.Arguments)} failed with exit code {process.ExitCode}");
    }

    public JsonObject Ask(JsonObject command)
    {
        string? line;
        try
        {
            process.StandardInput.WriteLine(command.ToJsonString());
            process.StandardInput.Flush();
            line = process.StandardOutput.ReadLine();
        }
        catch (IOException)
        {
            line = null;  // the process has ended, and the pipe is closed
        }
        if (line is null) throw new PermafrostException($"the measuring process '{name}' ended without an answer");
        try
        {
            JsonObject answer = JsonNode.Parse(line)!.AsObject();
            return answer["error"] is { } error ? throw new PermafrostException($"the measuring process '{name}' says: {error}") : answer;
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            throw new PermafrostException($"the measuring process '{name}' answered '{line}', which is not a JSON object");
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
            // The process has ended already.
        }
        process.Dispose();
    }

    private static bool IsHost(string program) => Path.GetFileNameWithoutExtension(program) == "dotnet";

    private static Process Start(string program, string[] arguments, bool passive)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, UseShellExecute = false };
        WaitPolicy.Fill(start.Environment, passive);
        try
        {
            return Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception error)
        {
            throw new PermafrostException($"cannot start {program}: {error.Message}");
        }
    }
}
