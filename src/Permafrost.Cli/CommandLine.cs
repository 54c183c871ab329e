using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using System.Runtime.InteropServices;
using Permafrost.Cli.Commands;
using Permafrost.Cli.Terminal;
using Permafrost.Torch;

namespace Permafrost.Cli;

/// <summary>The verbs, and how failures become one sentence and an exit code (DESIGN section 5).</summary>
internal static class CommandLine
{
    private const int Interrupted = 130;
    private const int Terminated = 143;

    public static Command Root()
    {
        // Not a RootCommand: that one calls itself after the program's file.
        var root = new Command("permafrost", "Freeze a sequence model, train a sliver of it, and compute on anything.") { new HelpOption(), new VersionOption() };
        root.Add(QuickstartCommand.Create());
        root.Add(FinetuneCommand.Create());
        root.Add(EvaluateCommand.Create());
        root.Add(PredictCommand.Create());
        root.Add(ForwardCommand.Create());
        root.Add(LsCommand.Create());
        root.Add(ShowCommand.Create());
        root.Add(DataCommand.Create());
        root.Add(BenchCommand.Create());
        root.Add(EnvCommand.Create());
        return root;
    }

    public static int Run(string[] arguments)
    {
        using var stop = new CancellationTokenSource();
        int signalCode = 0;
        void OnSignal(PosixSignalContext context)
        {
            // The second Ctrl-C ends the process at once.
            if (signalCode != 0) return;
            signalCode = context.Signal == PosixSignal.SIGINT ? Interrupted : Terminated;
            context.Cancel = true;
            stop.Cancel();
        }
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal);
        try
        {
            ParseResult parsed = Root().Parse(arguments);
            if (parsed.Errors.Count > 0) return Fail(Sentence(parsed.Errors[0]) + $"; see `permafrost {Verb(parsed)}--help`", 2);
            return parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null }, stop.Token).GetAwaiter().GetResult();
        }
        catch (PermafrostException error)
        {
            return Fail(error.Message, error.ExitCode);
        }
        catch (OperationCanceledException)
        {
            return Fail(signalCode == Terminated ? "stopped by SIGTERM" : "stopped by Ctrl-C", signalCode == 0 ? Interrupted : signalCode);
        }
        catch (TorchException error) when (error.IsOutOfMemory)
        {
            return Fail("memory ran out; lower --per-device-train-batch-size or --per-device-eval-batch-size, or take a smaller backbone", 1);
        }
        catch (TorchException error)
        {
            return Fail($"libtorch refused: {error.Message.ReplaceLineEndings(" ")}", 1);
        }
        catch (OutOfMemoryException)
        {
            return Fail("memory ran out; take smaller data, batches or a smaller backbone", 1);
        }
        catch (IOException error)
        {
            return Fail(error.Message.TrimEnd('.'), 1);
        }
        catch (UnauthorizedAccessException error)
        {
            return Fail(error.Message.TrimEnd('.'), 1);
        }
    }

    private static int Fail(string message, int code)
    {
        Output.Note($"permafrost: {message}");
        return code;
    }

    private static string Sentence(ParseError error) => error.Message.TrimEnd('.').ReplaceLineEndings(" ");

    private static string Verb(ParseResult parsed)
    {
        var names = new List<string>();
        for (SymbolResult? result = parsed.CommandResult; result is CommandResult command && command.Parent is not null; result = result.Parent) names.Insert(0, command.Command.Name);
        return names.Count == 0 ? "" : string.Join(' ', names) + " ";
    }
}
