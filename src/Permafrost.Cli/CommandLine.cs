using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Permafrost.Cli.Commands;
using Permafrost.Cli.Terminal;
using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Runs;

namespace Permafrost.Cli;

/// <summary>The verbs, and how failures become one sentence and an exit code.</summary>
internal static partial class CommandLine
{
    private const int Interrupted = 130;
    private const int Terminated = 143;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);

    // Linux's raw number: Slurm sends it ahead of the end of a job.
    private const int Sigusr1 = 10;

    /// <param name="stop">What signals ask of the command that runs.</param>
    public static Command Root(StopRequest stop)
    {
        // Where a terminal is narrower, the program's lines are better broken by it than words by us.
        var help = new HelpAction();
        help.MaxWidth = Math.Max(help.MaxWidth, 60);
        // Not a RootCommand: that one calls itself after the program's file.
        var root = new Command("permafrost", "Freeze a sequence model, train a sliver of it, and compute on anything.") { new HelpOption { Action = help }, new VersionOption() };
        root.Add(QuickstartCommand.Create(stop));
        root.Add(FinetuneCommand.Create(stop));
        root.Add(PretrainCommand.Create(stop));
        root.Add(EvaluateCommand.Create());
        root.Add(PredictCommand.Create());
        root.Add(ServeCommand.Create());
        root.Add(GenerateCommand.Create());
        root.Add(ForwardCommand.Create());
        root.Add(TokenizerCommand.Create());
        root.Add(BaselinesCommand.Create());
        root.Add(StudyCommand.Create(stop));
        root.Add(CompareCommand.Create());
        root.Add(ReportCommand.Create());
        root.Add(ExportCommand.Create());
        root.Add(LsCommand.Create());
        root.Add(ShowCommand.Create());
        root.Add(DataCommand.Create());
        root.Add(BenchCommand.Create());
        root.Add(EnvCommand.Create());
        return root;
    }

    public static int Run(string[] arguments)
    {
        using var stop = new StopRequest();
        bool cleansUp = false;
        Command? verb = null;
        void OnSignal(PosixSignalContext context)
        {
            // The second Ctrl-C ends the process at once.
            if (stop.Reason == StopReason.Interrupt && context.Signal == PosixSignal.SIGINT) return;
            context.Cancel = true;
            bool first = stop.Reason == StopReason.None;
            stop.Ask(context.Signal == PosixSignal.SIGINT ? StopReason.Interrupt : StopReason.Preempted);
            // What has nothing to save may be waiting for input, or be deep in a computation.
            if (first) _ = Task.Delay(Patience).ContinueWith(_ => { if (!Volatile.Read(ref cleansUp)) EndNow(stop.Reason); }, TaskScheduler.Default);
        }
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal);
        using var user = PosixSignalRegistration.Create((PosixSignal)Sigusr1, OnSignal);
        try
        {
            // A shell cannot pass one on; whoever else starts the program can, and no file has such a name.
            if (arguments.FirstOrDefault(argument => argument.Contains('\0', StringComparison.Ordinal)) is { } impossible)
                throw new UsageException($"the argument '{impossible}' holds a null character");
            // No response files: an argument that starts with @ means itself.
            string[] words = arguments.Length == 0 ? ["--help"] : [.. arguments.Select(WithDashes)];
            ParseResult parsed = Root(stop).Parse(words, new ParserConfiguration { ResponseFileTokenReplacer = null });
            verb = parsed.CommandResult.Command;
            if (parsed.Errors.Count > 0) return Fail(Sentence(parsed, arguments), 2);
            if (Empty(parsed) is { } empty) return Fail($"{empty} is empty; see `permafrost {Verb(parsed)}--help`", 2);
            Processes.Check(parsed);
            Volatile.Write(ref cleansUp, parsed.CommandResult.Command.Name is "finetune" or "pretrain" or "quickstart" or "bench" or "run" or "serve");
            return parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null }, stop.Token).GetAwaiter().GetResult();
        }
        catch (StoppedException stopped)
        {
            string how = stopped.Folder is { } folder ? $"; go on with: permafrost {verb?.Name ?? "finetune"} --resume-from-checkpoint {ShellWord.Quoted(folder)}" : "";
            return Fail(OptionWords.AsFlags(stopped.Message) + how, stopped.ExitCode);
        }
        catch (PermafrostException error)
        {
            return Fail(OptionWords.AsFlags(error.Message, verb), error.ExitCode);
        }
        catch (OperationCanceledException)
        {
            return Stopped(stop.Reason);
        }
        catch (Exception error) when (error is EngineException or ExternalException && EngineException.IsOutOfMemory(error))
        {
            return Fail("memory ran out; lower --per-device-train-batch-size or --per-device-eval-batch-size, or take a smaller backbone", 1);
        }
        catch (EngineException error)
        {
            return Fail(error.Message, 1);
        }
        catch (ExternalException error)
        {
            return Fail($"libtorch refused: {EngineException.Reason(error).ReplaceLineEndings(" ")}", 1);
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
        catch (Exception error) when (Environment.GetEnvironmentVariable("PERMAFROST_TRACE") != "1")
        {
            // A defect of ours: still one sentence, and a way to see more.
            string message = error.Message.ReplaceLineEndings(" ").TrimEnd('.');
            return Fail(
                $"internal error ({error.GetType().Name}: {message}); " +
                "please report it with the command and the output of `permafrost env` (PERMAFROST_TRACE=1 shows where)",
                1);
        }
    }

    private static int Fail(string message, int code)
    {
        if (Processes.Speaks(code)) Output.Note($"{Processes.Name}: {string.Concat(message.Select(c => char.IsControl(c) ? ' ' : c))}");
        return code;
    }

    private static int Stopped(StopReason reason) => reason == StopReason.Preempted ? Fail("stopped by a signal", Terminated) : Fail("stopped by Ctrl-C", Interrupted);

    // Without the destructors of libraries that other threads are still in, and without the sentence where nobody takes it.
    private static void EndNow(StopReason reason)
    {
        Task.Run(() => Stopped(reason)).Wait(TimeSpan.FromSeconds(1));
        ExitAtOnce(reason == StopReason.Preempted ? Terminated : Interrupted);
    }

    [LibraryImport("libc", EntryPoint = "_exit")]
    private static partial void ExitAtOnce(int code);

    // The first option or argument whose value is the empty text, which no verb has a use for; a run's own options say themselves what it means to them.
    private static string? Empty(ParseResult parsed)
    {
        bool isFinetune = parsed.CommandResult.Command.Name == "finetune";
        foreach (SymbolResult result in parsed.CommandResult.Children)
        {
            if (result.Tokens.All(token => token.Value.Length > 0)) continue;
            if (result is OptionResult option && !(isFinetune && OptionTable.All.Any(field => $"--{field.Dashed}" == option.Option.Name))) return option.Option.Name;
            if (result is ArgumentResult argument) return argument.Argument.Name;
        }
        return null;
    }

    // Hugging Face's users write --learning_rate as often as --learning-rate.
    private static string WithDashes(string argument)
    {
        if (!argument.StartsWith("--", StringComparison.Ordinal)) return argument;
        string[] parts = argument.Split('=', 2);
        return string.Join('=', [parts[0].Replace('_', '-'), .. parts[1..]]);
    }

    private static string Sentence(ParseResult parsed, string[] arguments)
    {
        string help = $"; see `permafrost {Verb(parsed)}--help`";
        Command command = parsed.CommandResult.Command;
        if (parsed.UnmatchedTokens.Count == 0)
        {
            if (command.Subcommands.Count > 0)
                return $"`permafrost {Verb(parsed).TrimEnd()}` needs one of {string.Join(", ", command.Subcommands.Select(verb => verb.Name))}{help}";
            if (Unparsed().Match(parsed.Errors[0].Message) is { Success: true } wrong)
                return $"{wrong.Groups["option"].Value}: '{wrong.Groups["word"].Value}' is {Wanted(wrong.Groups["word"].Value, wrong.Groups["type"].Value)}{help}";
            // The library's own words, as one sentence: "Argument 'x' not recognized. Must be one of: 'a' 'b'".
            string[] words = parsed.Errors[0].Message.Split(['\n', '\r', '\t'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            string said = words.Length == 1 ? words[0].TrimEnd('.')
                : $"{words[0].Replace(". Must be", "; it must be", StringComparison.Ordinal)} {string.Join(", ", words[1..])}";
            return said.Replace(". ", "; ", StringComparison.Ordinal) + help;
        }
        string word = parsed.UnmatchedTokens[0];
        if (arguments.FirstOrDefault(argument => argument.StartsWith("--", StringComparison.Ordinal) && argument.EndsWith("=" + word, StringComparison.Ordinal)) is { } given)
            return $"{given[..^(word.Length + 1)]}: '{word}' is not true or false{help}";
        if (word.StartsWith("--", StringComparison.Ordinal) && OptionTable.Find(word[2..].Split('.', '=')[0].Replace('-', '_')) is { IsMap: true } map)
            return $"the option '{word}' does not exist; write --set {map.Key}.NAME=VALUE";
        return word.StartsWith('-')
            ? $"the option '{word}' does not exist{Spelling.Hint(word, command.Options.Where(option => !option.Hidden).Select(option => option.Name), help)}"
            : command.Subcommands.Count > 0
            ? $"the verb '{word}' does not exist{Spelling.Hint(word, command.Subcommands.Select(verb => verb.Name), help)}"
            : $"'{word}' is one word too many{help}";
    }

    // "Cannot parse argument 'x' for option '--max-length' as expected type 'System.Nullable`1[System.Int32]'."
    [GeneratedRegex(
        @"^Cannot parse argument '(?<word>.*)' for (?:option|command) '(?<option>[^']*)' as expected type '[^']*System\.(?<type>Boolean|U?Int\d+|Double|Single|Decimal)\W",
        RegexOptions.Singleline)]
    private static partial Regex Unparsed();

    private static string Wanted(string word, string type)
    {
        if (type == "Boolean") return "not true or false";
        if (!type.Contains("Int", StringComparison.Ordinal)) return "no number";
        return word.TrimStart('-') is { Length: > 0 } digits && digits.All(char.IsAsciiDigit) ? "too large a number" : "no whole number";
    }

    private static string Verb(ParseResult parsed)
    {
        var names = new List<string>();
        for (SymbolResult? result = parsed.CommandResult; result is CommandResult command && command.Parent is not null; result = result.Parent)
            names.Insert(0, command.Command.Name);
        return names.Count == 0 ? "" : string.Join(' ', names) + " ";
    }
}
