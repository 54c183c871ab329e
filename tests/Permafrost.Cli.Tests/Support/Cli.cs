using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;

namespace Permafrost.Cli.Tests;

/// <summary>Runs the built program as a process of its own, the way a shell does, with an environment that holds nothing of the developer's.</summary>
internal static class Cli
{
    /// <summary>Ctrl-C.</summary>
    public const int Interrupt = 2;

    /// <summary>What `kill` sends.</summary>
    public const int Terminate = 15;

    /// <summary>What a scheduler sends before it takes the machine.</summary>
    public const int User = 10;

    private static readonly string Program = Path.Combine(AppContext.BaseDirectory, "Permafrost.Cli.dll");

    /// <summary>Runs to the end.</summary>
    public static CliResult Run(params string[] arguments) => Run(new CliSettings(), arguments);

    /// <summary>Runs to the end.</summary>
    public static CliResult Run(CliSettings settings, params string[] arguments)
    {
        using CliProcess process = Start(settings, arguments);
        return process.WaitForExit(settings.Timeout);
    }

    /// <summary>Starts, for tests that watch it or send it signals.</summary>
    public static CliProcess Start(CliSettings settings, params string[] arguments) => Start(settings, Host, arguments.Prepend(Program), arguments);

    /// <summary>Runs a line of bash, to which `permafrost` and `./permafrost` are the program.</summary>
    public static CliResult Shell(CliSettings settings, string line)
    {
        using CliProcess process = StartShell(settings, line);
        return process.WaitForExit(settings.Timeout);
    }

    /// <summary>Starts a line of bash, for tests that watch it or send it signals.</summary>
    public static CliProcess StartShell(CliSettings settings, string line)
    {
        string functions = $"permafrost() {{ '{Host}' '{Program}' \"$@\"; }}; ./permafrost() {{ permafrost \"$@\"; }}; export -f permafrost";
        return Start(settings, "bash", ["-c", $"{functions}; {line}"], [line]);
    }

    // A signal that the tests' own parent ignores (nohup, a shell's background job) stays ignored in everything they start, and no test of signals could pass.
    // GNU's env undoes that, and then becomes the program; where there is another env, programs start as they are.
    private static readonly string[] DefaultSignals = WithDefaultSignals();

    private static string[] WithDefaultSignals()
    {
        string[] words = ["env", "--default-signal=HUP,INT,QUIT,USR1,TERM"];
        try
        {
            using Process check = Process.Start(new ProcessStartInfo(words[0], [words[1], "true"]) { RedirectStandardError = true })!;
            check.StandardError.ReadToEnd();
            check.WaitForExit();
            return check.ExitCode == 0 ? words : [];
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return [];
        }
    }

    private static string Host => Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") is { Length: > 0 } host ? host : "dotnet";

    private static CliProcess Start(CliSettings settings, string program, IEnumerable<string> words, string[] shown)
    {
        words = [.. DefaultSignals, program, .. words];
        var start = new ProcessStartInfo(words.First())
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.UTF8,
            StandardErrorEncoding = Encoding.UTF8,
            WorkingDirectory = settings.WorkingDirectory ?? Path.GetTempPath(),
        };
        foreach (string word in words.Skip(1)) start.ArgumentList.Add(word);
        // One thread each: tests run side by side. Caches that are not there: what the developer has downloaded must not matter.
        string nowhere = Path.Combine(Path.GetTempPath(), "permafrost-tests-have-no-such-folder");
        start.Environment["OMP_NUM_THREADS"] = "1";
        start.Environment["PERMAFROST_HOME"] = nowhere;
        start.Environment["HF_HUB_CACHE"] = nowhere;
        // Nobody answers there: a test that means to fetch names its own server.
        start.Environment["HF_ENDPOINT"] = "http://127.0.0.1:1";
        foreach (string name in new[] { "PERMAFROST_DATA", "HF_HOME", "HF_TOKEN", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE" }) start.Environment.Remove(name);
        foreach ((string name, string? value) in settings.Environment ?? new Dictionary<string, string?>())
        {
            if (value is null) start.Environment.Remove(name);
            else start.Environment[name] = value;
        }
        return new CliProcess(Process.Start(start)!, shown, settings);
    }
}

/// <summary>How to start the program.</summary>
internal sealed record CliSettings
{
    /// <summary>Standard input; closed at once where there is none.</summary>
    public string Input { get; init; } = "";

    /// <summary>Whether the test writes standard input and reads standard output while it runs.</summary>
    public bool Interactive { get; init; }

    /// <summary>Where it starts; the folder for temporary files otherwise.</summary>
    public string? WorkingDirectory { get; init; }

    /// <summary>Variables to set, or with null to remove.</summary>
    public IReadOnlyDictionary<string, string?>? Environment { get; init; }

    /// <summary>Longer than anything takes on a machine that is busy with something else; only a test that fails waits so long.</summary>
    public static TimeSpan Patience { get; } = TimeSpan.FromMinutes(5);

    /// <summary>A run that takes longer is killed, and the test fails.</summary>
    public TimeSpan Timeout { get; init; } = Patience;
}

/// <summary>A running program.</summary>
internal sealed partial class CliProcess : IDisposable
{
    private readonly Process process;
    private readonly string[] arguments;
    private readonly Task<string> output;
    private readonly StringBuilder error = new();
    private readonly TaskCompletionSource errorEnded = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public CliProcess(Process process, string[] arguments, CliSettings settings)
    {
        (this.process, this.arguments) = (process, arguments);
        process.ErrorDataReceived += (_, line) =>
        {
            if (line.Data is null) errorEnded.TrySetResult();
            else lock (error) error.Append(line.Data).Append('\n');
        };
        process.BeginErrorReadLine();
        output = settings.Interactive ? Task.FromResult("") : process.StandardOutput.ReadToEndAsync();
        if (settings.Interactive) return;
        try
        {
            process.StandardInput.Write(settings.Input);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It ended without reading its input; what it says tells why.
        }
    }

    /// <summary>Standard error so far.</summary>
    public string Error
    {
        get { lock (error) return error.ToString(); }
    }

    /// <summary>Whether it has ended.</summary>
    public bool HasExited => process.HasExited;

    /// <summary>Its largest resident memory so far, in bytes, as Linux tells it; 0 where it has ended.</summary>
    public long PeakMemory
    {
        get
        {
            try
            {
                string? line = File.ReadLines($"/proc/{process.Id}/status").FirstOrDefault(text => text.StartsWith("VmHWM:", StringComparison.Ordinal));
                return line is null ? 0 : 1024 * long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2], System.Globalization.CultureInfo.InvariantCulture);
            }
            catch (IOException)
            {
                return 0;
            }
        }
    }

    /// <summary>Writes a line to standard input.</summary>
    public async Task WriteLine(string line)
    {
        await process.StandardInput.WriteLineAsync(line);
        await process.StandardInput.FlushAsync();
    }

    /// <summary>The next line of standard output; null at its end.</summary>
    public async Task<string?> ReadLine(CancellationToken cancellation) => await process.StandardOutput.ReadLineAsync(cancellation);

    /// <summary>Ends standard input.</summary>
    public void CloseInput() => process.StandardInput.Close();

    /// <summary>Waits until standard error holds a text.</summary>
    public void WaitForError(string text) => WaitFor(() => Error.Contains(text, StringComparison.Ordinal), $"said '{text}'");

    /// <summary>Waits until it has done something; one that ended without, or takes minutes, fails the test.</summary>
    public void WaitFor(Func<bool> done, string what)
    {
        var clock = Stopwatch.StartNew();
        while (!done())
        {
            bool ended = process.HasExited && errorEnded.Task.IsCompleted;
            Assert.True(!ended || done(), $"permafrost {string.Join(' ', arguments)} ended before it {what}:\n{Error}");
            Assert.True(clock.Elapsed < CliSettings.Patience, $"permafrost {string.Join(' ', arguments)} never {what}:\n{Error}");
            Thread.Sleep(10);
        }
    }

    /// <summary>Whether it handles SIGUSR1 itself by now, and so the others too.</summary>
    public bool CatchesSignals => !process.HasExited && File.ReadLines($"/proc/{process.Id}/status").FirstOrDefault(line => line.StartsWith("SigCgt:", StringComparison.Ordinal)) is { } caught
        && (Convert.ToUInt64(caught[7..].Trim(), 16) >> (Cli.User - 1) & 1) == 1;

    /// <summary>Sends a signal.</summary>
    public void Signal(int signal) => Assert.Equal(0, kill(process.Id, signal));

    /// <summary>Waits for the end; a process that takes longer is killed, and the test fails.</summary>
    public CliResult WaitForExit(TimeSpan timeout)
    {
        bool ended = process.WaitForExit(timeout);
        if (!ended) process.Kill(entireProcessTree: true);
        // What it started in the background may hold these open for longer.
        Task.WaitAll([output, errorEnded.Task], CliSettings.Patience);
        var result = new CliResult(arguments, ended ? process.ExitCode : -1, output.IsCompleted ? output.Result : "(still open)", Error);
        Assert.True(ended, $"not done after {timeout.TotalSeconds:F0} s: {result}");
        return result;
    }

    public void Dispose()
    {
        if (!process.HasExited) process.Kill(entireProcessTree: true);
        process.Dispose();
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int kill(int pid, int signal);
}
