using System.CommandLine;
using System.CommandLine.Parsing;
using Permafrost.Kernels;

namespace Permafrost.Cli.Terminal;

/// <summary>A start by mpirun or srun: which verbs take part in it, and which of the processes speaks.</summary>
internal static class Processes
{
    // What all processes come to together, after the same update: done, diverged, stopped.
    private static readonly int[] Together = [0, 3, 75, 130];
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);

    private static LaunchedProcesses? refused;

    /// <summary>Those that were joined; this one alone before.</summary>
    public static ProcessGroup Group { get; private set; } = ProcessGroup.Alone;

    /// <summary>Joins the processes that were started together.</summary>
    /// <exception cref="UsageException">They cannot be joined.</exception>
    public static ProcessGroup Join()
    {
        refused = Launched();
        Group = ProcessGroup.Join(refused);
        refused = null;
        return Group;
    }

    /// <summary>Refuses several processes of a verb that trains in one: they would all do the same, or get into each other's way.</summary>
    /// <exception cref="UsageException">There are several.</exception>
    public static void Check(ParseResult parsed)
    {
        string verb = parsed.CommandResult.Command.Name;
        // A part of a study is one process's own.
        bool alone = verb is "finetune" or "quickstart" || (verb == "run" && parsed.GetResult("--index") is not OptionResult { Implicit: false });
        if (!alone || Launched() is not { } launched) return;
        refused = launched;
        string instead = verb == "run" ? "give each a part of the study by --index" : "start one process; `permafrost pretrain` alone trains in several";
        throw new UsageException($"this is one of {launched.Count} processes ({launched.Variable} says so), and each would do all of the work by itself: {instead}");
    }

    /// <summary>Whether this process says why it ends, rather than another that ends for the same reason.</summary>
    public static bool Speaks(int code)
    {
        int rank = refused?.Rank ?? Group.Rank;
        if (rank == 0) return true;
        if (refused is null && Together.Contains(code)) return false;
        // Where the first process fails too, it says so and ends this one.
        Thread.Sleep(Patience);
        return refused is null;
    }

    /// <summary>Leaves together with the others, or ends them.</summary>
    public static int End(int code)
    {
        if (Together.Contains(code)) Group.Dispose();
        else Group.Abort(code);
        return code;
    }

    /// <summary>Goes before a sentence about why this process ends.</summary>
    public static string Name => Group.IsFirst ? "permafrost" : FormattableString.Invariant($"permafrost, process {Group.Rank} of {Group.Size}");

    private static LaunchedProcesses? Launched() => LaunchedProcesses.Find(Environment.GetEnvironmentVariable) is { Count: > 1 } several ? several : null;
}
