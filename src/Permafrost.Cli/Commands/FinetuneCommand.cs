using System.CommandLine;
using Permafrost.Baselines;
using Permafrost.Cli.Terminal;
using Permafrost.Formats;
using Permafrost.Runs;
using Permafrost.Tasks;

namespace Permafrost.Cli.Commands;

internal static class FinetuneCommand
{
    public static Command Create(StopRequest stop)
    {
        var command = new Command("finetune", "train the chosen groups of a frozen backbone on a task, score them, and write a run folder");
        var flags = new RunFlags();
        var dryRun = new Option<bool>("--dry-run") { Description = "load everything, print options, what was understood of the data, parameter counts and memory, and stop" };
        var resume = new Option<string?>("--resume-from-checkpoint")
        {
            Description = "go on where a run stopped: DIR is its folder or one of its checkpoints; without DIR the newest in --output-dir. The run's own config.yaml is read first",
            Arity = ArgumentArity.ZeroOrOne,
            HelpName = "DIR",
        };
        var allow = new Option<string[]>("--allow-changes") { Description = "differences to accept when resuming, by name (repeatable)", HelpName = "NAME" };
        Option<bool> json = CommonOptions.Json();
        flags.AddTo(command);
        foreach (Option option in new Option[] { resume, allow, dryRun, json }) command.Add(option);
        command.SetAction(parsed =>
        {
            string line = "permafrost " + string.Join(' ', parsed.Tokens.Select(token => ShellWord.Quoted(token.Value)));
            var how = new How(parsed.GetValue(dryRun), parsed.GetValue(json), line, stop);
            if (parsed.GetResult(resume) is not { Implicit: false }) return Run(flags.Collect(new RunOptions(), parsed), how);
            return Resume(parsed, flags, parsed.GetValue(resume), parsed.GetValue(allow) ?? [], how);
        });
        return command;
    }

    private static int Run(RunOptions options, How how)
    {
        options.Validate();
        string? given = options.Checkpoints.OutputDir;
        string path = given ?? RunFolder.DefaultPath(options, DateTime.Now);
        RunFolder? folder = how.DryRun ? null : given is null ? RunFolder.CreateUnused(path) : RunFolder.Create(path);
        path = folder?.Path ?? path;
        options = options with { Checkpoints = options.Checkpoints with { OutputDir = path } };
        using RunLock? held = how.DryRun ? null : new RunLock(path);
        folder?.CheckNew();
        using Finetuning run = Prepare(options, folder, held);
        MemoryNote.Print(run);
        if (how.DryRun) return DryRun.Print(run, how.Json);
        Output.Note(run.Model.Counts.ToString());
        return Train(run, folder!, null, how);
    }

    // The folder is tried first, because an hour of loading must not end in "cannot be written"; but a run that cannot begin leaves none behind.
    private static Finetuning Prepare(RunOptions options, RunFolder? folder, RunLock? held)
    {
        try
        {
            return Finetuning.Prepare(options, fitMemory: true);
        }
        catch
        {
            held?.Dispose();
            folder?.RemoveIfUnused();
            throw;
        }
    }

    private static int Resume(ParseResult parsed, RunFlags flags, string? wanted, string[] allowed, How how)
    {
        string path = wanted ?? flags.Collect(new RunOptions(), parsed).Checkpoints.OutputDir
            ?? throw new UsageException("--resume-from-checkpoint needs the run's folder, here or as --output-dir");
        string runPath = Checkpoint.IsCheckpointPath(path) ? Path.GetDirectoryName(Path.GetFullPath(path.TrimEnd('/')))! : path;
        RunFolder folder = RunFolder.Open(runPath);
        RunOptions saved = folder.ReadOptions(), options = flags.Collect(saved, parsed);
        string? output = options.Checkpoints.OutputDir;
        if (output != saved.Checkpoints.OutputDir && (output is null || RunFolder.Full(output) != RunFolder.Full(runPath)))
            throw new UsageException($"--output-dir {output}: a run goes on in its own folder, {runPath}; leave the option out");
        options = options with { Checkpoints = options.Checkpoints with { OutputDir = runPath } };
        using var held = new RunLock(runPath);
        string? checkpoint = Choose(folder, runPath == path ? null : path);
        using Finetuning run = Finetuning.Prepare(options, fitMemory: checkpoint is null);
        if (checkpoint is null) run.CheckSameOptions(folder, allowed);
        else run.CheckSameRun(checkpoint, allowed);
        if (checkpoint is null) MemoryNote.Print(run);
        Output.Note(checkpoint is null ? $"{runPath} was ended before its first checkpoint: it begins again" : $"going on from {checkpoint}");
        if (how.DryRun) return DryRun.Print(run, how.Json);
        return Train(run, folder, checkpoint, how);
    }

    // The checkpoint to go on from; null for a run that has come to none yet.
    private static string? Choose(RunFolder folder, string? wanted)
    {
        Checkpoint.Recover(folder);
        if (wanted is null) return folder.HasOnlyBegun() ? null : Checkpoint.Newest(folder, Output.Note);
        try
        {
            Checkpoint.Verify(wanted);
            return wanted;
        }
        catch (PermafrostException error) when (Directory.Exists(wanted))
        {
            throw new PermafrostException($"{error.Message}; --resume-from-checkpoint {ShellWord.Quoted(folder.Path)} takes the newest sound one");
        }
    }

    private static int Train(Finetuning run, RunFolder folder, string? checkpoint, How how)
    {
        // Not of pictures: boosted trees on as many pixels take longer than a run does.
        if (run.Task is TextTask or TimeSeriesTask or FastaTask) run.StrongBaselines = StrongBaselines.All;
        RunResult result = TrainingProgress.Train(run, folder, how.Line, how.Stop, checkpoint);
        ReportFile.Write(folder.Path, [folder.Path]);
        if (how.Json) Output.Json(result.ToJson());
        else ResultTable.Print(result, folder.Path);
        return 0;
    }

    private sealed record How(bool DryRun, bool Json, string Line, StopRequest Stop);
}
