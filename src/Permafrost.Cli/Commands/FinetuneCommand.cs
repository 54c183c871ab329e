using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Formats;
using Permafrost.Training;
using Permafrost.Tuning;

namespace Permafrost.Cli.Commands;

internal static class FinetuneCommand
{
    public static Command Create()
    {
        var command = new Command("finetune", "train the chosen groups of a frozen backbone on a task, score them, and write a run folder");
        IReadOnlyList<(OptionField Field, Option Option)> flags = CommonOptions.RunFlags();
        Option<string[]> config = CommonOptions.Config();
        Option<string[]> set = CommonOptions.Set();
        var dryRun = new Option<bool>("--dry-run") { Description = "load everything, print options and parameter counts, and stop" };
        var resume = new Option<string?>("--resume-from-checkpoint")
        {
            Description = "go on where a run stopped: DIR is its folder or one of its checkpoints; without DIR the newest in --output-dir. The run's own config.yaml is read first",
            Arity = ArgumentArity.ZeroOrOne,
            HelpName = "DIR",
        };
        var allow = new Option<string[]>("--allow-changes") { Description = "differences to accept when resuming, by name (repeatable)", HelpName = "NAME", AllowMultipleArgumentsPerToken = false };
        Option<bool> json = CommonOptions.Json();
        foreach ((_, Option option) in flags) command.Add(option);
        foreach (Option option in new Option[] { config, set, resume, allow, dryRun, json }) command.Add(option);
        command.SetAction(parsed =>
        {
            string line = "permafrost " + Quoted(parsed);
            if (parsed.GetResult(resume) is not { Implicit: false })
                return Run(CommonOptions.Collect(new RunOptions(), parsed, flags, config, set), parsed.GetValue(dryRun), parsed.GetValue(json), line);
            string path = parsed.GetValue(resume) ?? CommonOptions.Collect(new RunOptions(), parsed, flags, config, set).OutputDir
                ?? throw new UsageException("--resume-from-checkpoint needs the run's folder, here or as --output-dir");
            string run = Checkpoint.IsCheckpointPath(path) ? Path.GetDirectoryName(Path.GetFullPath(path.TrimEnd('/')))! : path;
            RunOptions saved = RunFolder.Open(run).ReadOptions(), options = CommonOptions.Collect(saved, parsed, flags, config, set);
            if (options.OutputDir != saved.OutputDir && (options.OutputDir is null || RunFolder.Full(options.OutputDir) != RunFolder.Full(run)))
                throw new UsageException($"--output-dir {options.OutputDir}: a run goes on in its own folder, {run}; leave the option out");
            return Resume(options with { OutputDir = run }, run, path, parsed.GetValue(allow) ?? [], parsed.GetValue(dryRun), parsed.GetValue(json), line);
        });
        return command;
    }

    private static int Run(RunOptions options, bool dryRun, bool json, string command)
    {
        options.Validate();
        string path = options.OutputDir ?? RunFolder.DefaultPath(options, DateTime.Now);
        RunFolder? folder = dryRun ? null : options.OutputDir is null ? RunFolder.CreateUnused(path) : RunFolder.Create(path);
        path = folder?.Path ?? path;
        options = options with { OutputDir = path };
        using RunLock? held = dryRun ? null : new RunLock(path);
        folder?.CheckNew();
        using FinetuneRun run = Prepare(options, folder, held);
        NoteMemory(run);
        if (dryRun) return DryRun(run, json);
        Output.Note(run.Model.CountsLine);
        return Print(TrainingProgress.Train(run, folder!, command), path, json);
    }

    private static void NoteMemory(FinetuneRun run)
    {
        if (run.MicroBatchSize < run.Options.PerDeviceTrainBatchSize)
            Output.Note($"memory is short ({Output.Bytes(EnvironmentInfo.AvailableMemoryBytes)} free): batches of {run.Options.PerDeviceTrainBatchSize} are computed {run.MicroBatchSize} at a time and their gradients added up; --gradient-checkpointing true needs less");
        if (run.EvalBatchSize < run.Options.PerDeviceEvalBatchSize)
            Output.Note($"memory is short ({Output.Bytes(EnvironmentInfo.AvailableMemoryBytes)} free): {run.EvalBatchSize} examples are scored at a time, not {run.Options.PerDeviceEvalBatchSize}");
    }

    // The folder is tried first, because an hour of loading must not end in "cannot be written"; but a run that cannot begin leaves none behind.
    private static FinetuneRun Prepare(RunOptions options, RunFolder? folder, RunLock? held)
    {
        FinetuneRun? run = null;
        try
        {
            run = FinetuneRun.Prepare(options, fitMemory: true);
            run.CheckRates();
            return run;
        }
        catch
        {
            run?.Dispose();
            held?.Dispose();
            folder?.RemoveIfUnused();
            throw;
        }
    }

    private static int Resume(RunOptions options, string path, string wanted, string[] allowed, bool dryRun, bool json, string command)
    {
        RunFolder folder = RunFolder.Open(path);
        using var held = new RunLock(path);
        string? checkpoint = Choose(folder, wanted == path ? null : wanted);
        using FinetuneRun run = FinetuneRun.Prepare(options, fitMemory: checkpoint is null);
        if (checkpoint is null) run.CheckSameOptions(folder, allowed);
        else run.CheckSameRun(checkpoint, allowed);
        if (checkpoint is null) NoteMemory(run);
        Output.Note(checkpoint is null ? $"{path} was ended before its first checkpoint: it begins again" : $"going on from {checkpoint}");
        if (dryRun) return DryRun(run, json);
        return Print(TrainingProgress.Train(run, folder, command, checkpoint), path, json);
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

    private static int Print(JsonObject results, string path, bool json)
    {
        ReportFile.Write(path, [path]);
        if (json) Output.Json(results);
        else ResultTable.Print(results, path);
        return 0;
    }

    private static int DryRun(FinetuneRun run, bool json)
    {
        if (json)
        {
            var options = new JsonObject();
            foreach (OptionField field in OptionTable.All.Where(field => !field.IsMap)) options[field.Key] = field.Property.GetValue(run.Options) is null ? null : field.Format(run.Options);
            foreach (OptionField field in OptionTable.All.Where(field => field.IsMap))
                options[field.Key] = new JsonObject(((IReadOnlyDictionary<string, string>)field.Property.GetValue(run.Options)!).Select(pair => KeyValuePair.Create(pair.Key, (JsonNode?)pair.Value)));
            Output.Json(new JsonObject { ["options"] = options, ["parameters"] = run.ParameterCounts(), ["steps"] = run.Steps, ["backbone_sha256"] = run.BackboneSha256, ["frozen_dtype"] = run.FrozenType.ToString().ToLowerInvariant(), ["peak_memory_bytes"] = MemoryEstimate.Of(run).Total });
            return 0;
        }
        Output.Line(RunConfig.ToYaml(run.Options, "resolved options"));
        Output.Line(run.Model.CountsLine);
        foreach (IGrouping<Models.GroupName, TunedParameter> group in run.Model.Parameters.GroupBy(parameter => parameter.Group))
        {
            long trained = group.Where(p => p.Trained).Sum(p => p.Parameter.Elements);
            long unused = group.Where(p => p.Unused).Sum(p => p.Parameter.Elements);
            Output.Line(FormattableString.Invariant($"  {group.Key.ToString().ToLowerInvariant(),-8} {group.Sum(p => p.Parameter.Elements),14:N0}  trained {trained,12:N0}") + (unused > 0 ? FormattableString.Invariant($"  unused {unused:N0}") : ""));
        }
        Output.Line($"steps: {run.Steps:N0}");
        MemoryEstimate memory = MemoryEstimate.Of(run);
        Output.Line($"memory at its peak, about: {Output.Bytes(memory.Total)} (loaded {Output.Bytes(memory.Loaded)}, gradients {Output.Bytes(memory.Gradients)}, optimizer {Output.Bytes(memory.Optimizer)}, activations {Output.Bytes(memory.Activations)})");
        return 0;
    }

    private static string Quoted(ParseResult parsed) => string.Join(' ', parsed.Tokens.Select(token => ShellWord.Quoted(token.Value)));
}
