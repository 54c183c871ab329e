using System.Diagnostics;
using System.Runtime.InteropServices;
using Permafrost.Runs;

namespace Permafrost.Cli.Terminal;

/// <summary>
/// More processes that run the same study in the same folder: each takes what no other has, so that runs and results are those of one process. Their lines are passed on with
/// their number in front.
/// </summary>
internal sealed partial class StudyJobs : IDisposable
{
    private const int Sigterm = 15;
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    private readonly List<Process> processes = [];
    private readonly CancellationTokenRegistration registration;

    /// <param name="arguments">Of each process, behind the program's name.</param>
    /// <param name="count">How many processes.</param>
    /// <param name="stop">Ends them too, with a checkpoint.</param>
    /// <exception cref="PermafrostException">A process cannot be started.</exception>
    public StudyJobs(IReadOnlyList<string> arguments, int count, StopRequest stop)
    {
        for (int number = 2; number < count + 2; number++) processes.Add(Start(arguments, number));
        registration = stop.Token.Register(Stop);
    }

    /// <summary>Waits for them to end.</summary>
    public void Wait()
    {
        foreach (Process process in processes) process.WaitForExit();
    }

    /// <summary>Asks those that still run to end, and waits for them.</summary>
    public void Dispose()
    {
        registration.Dispose();
        Stop();
        foreach (Process process in processes)
        {
            if (!process.WaitForExit(Patience)) process.Kill(entireProcessTree: true);
            process.Dispose();
        }
    }

    private static Process Start(IReadOnlyList<string> arguments, int number)
    {
        string program = Environment.ProcessPath ?? throw new PermafrostException("this program's own path is not known, so that it cannot be started again; leave `jobs` at 1");
        var start = new ProcessStartInfo(program) { RedirectStandardError = true, RedirectStandardOutput = true, RedirectStandardInput = true };
        if (Path.GetFileNameWithoutExtension(program) == "dotnet") start.ArgumentList.Add(typeof(StudyJobs).Assembly.Location);
        foreach (string argument in arguments) start.ArgumentList.Add(argument);
        var process = new Process { StartInfo = start };
        process.ErrorDataReceived += (_, line) => { if (line.Data is { } text) Output.Note($"[{number}] {text}"); };
        process.OutputDataReceived += (_, _) => { };
        try
        {
            process.Start();
        }
        catch (System.ComponentModel.Win32Exception error)
        {
            throw new PermafrostException($"{program} cannot be started a second time: {error.Message.TrimEnd('.')}");
        }
        process.StandardInput.Close();
        process.BeginErrorReadLine();
        process.BeginOutputReadLine();
        return process;
    }

    private void Stop()
    {
        foreach (Process process in processes.Where(process => !process.HasExited))
        {
            if (OperatingSystem.IsWindows()) process.Kill();
            else _ = kill(process.Id, Sigterm);
        }
    }

    [LibraryImport("libc")]
    private static partial int kill(int process, int signal);
}
